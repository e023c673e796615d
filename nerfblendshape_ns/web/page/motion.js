// The skin's displacement as a 3D texture; see nerfblendshape_ns/model_components/conditioning/face_motion.py.

import { bindTextures, makePass, makeTexture } from "./gl.js";

const AT_ONCE = 4;

export class Motion {
  /** @param {WebGL2RenderingContext} gl @param {any} head content @param {Object<string, any>} arrays */
  constructor(gl, head, arrays) {
    this.gl = gl;
    this.grid = head.motion.grid;
    this.weights = arrays["head.motion"].data;
    this.points = arrays["head.landmarks"].shape[0];
    const places = new Float32Array(this.points * 4);
    const landmarks = arrays["head.landmarks"].data;
    for (let point = 0; point < this.points; point++) places.set(landmarks.subarray(point * 3, point * 3 + 3), point * 4);
    this.places = makeTexture(gl, { type: "float32", size: [this.points, 1], data: places });
    this.blended = makeTexture(gl, { type: "float32", size: [this.points, 1] });
    const side = this.grid;
    this.field = makeTexture(gl, { target: gl.TEXTURE_3D, type: "float16", size: [side, side, side], linear: true });
    this.frame = gl.createFramebuffer();
    this.pass = makePass(gl, source(this.points, side, head.motion.length, head.box));
  }

  /** @param {number[]} coefficients scaled */
  draw(coefficients) {
    const { gl, pass, points, grid } = this;
    const values = new Float32Array(points * 4);
    coefficients.forEach((coefficient, index) => {
      if (coefficient === 0) return;
      const first = index * points * 3;
      for (let point = 0; point < points; point++) {
        for (let axis = 0; axis < 3; axis++) values[point * 4 + axis] += coefficient * this.weights[first + point * 3 + axis];
      }
    });
    gl.bindTexture(gl.TEXTURE_2D, this.blended);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, points, 1, gl.RGBA, gl.FLOAT, values);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.viewport(0, 0, grid, grid);
    gl.useProgram(pass.program);
    bindTextures(gl, pass, { places: [gl.TEXTURE_2D, this.places], weights: [gl.TEXTURE_2D, this.blended] });
    const attachments = Array.from({ length: AT_ONCE }, (_, index) => gl.COLOR_ATTACHMENT0 + index);
    gl.drawBuffers(attachments);
    for (let layer = 0; layer < grid; layer += AT_ONCE) {
      attachments.forEach((place, index) => gl.framebufferTextureLayer(gl.FRAMEBUFFER, place, this.field, 0, layer + index));
      gl.uniform1i(pass.at("layer"), layer);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
    }
  }
}

function source(points, side, length, box) {
  const layers = Array.from({ length: AT_ONCE }, (_, index) => index);
  return `
uniform sampler2D places, weights;
uniform int layer;
${layers.map((index) => `layout(location = ${index}) out vec4 displacement${index};`).join("\n")}
const vec3 LOW = vec3(${box[0].join(", ")}), HIGH = vec3(${box[1].join(", ")});
void main() {
  vec4 sums[${AT_ONCE}];
  for (int i = 0; i < ${AT_ONCE}; i++) sums[i] = vec4(0.0);
  for (int point = 0; point < ${points}; point++) {
    vec3 place = texelFetch(places, ivec2(point, 0), 0).xyz;
    vec4 weight = texelFetch(weights, ivec2(point, 0), 0);
    for (int i = 0; i < ${AT_ONCE}; i++) {
      vec3 unit = vec3(floor(gl_FragCoord.xy), float(layer + i)) / ${side - 1}.0;
      float far = distance(LOW + unit * (HIGH - LOW), place) * ${Math.sqrt(3) / length};
      sums[i] += (1.0 + far) * exp(-far) * weight;
    }
  }
  ${layers.map((index) => `displacement${index} = sums[${index}];`).join(" ")}
}`;
}
