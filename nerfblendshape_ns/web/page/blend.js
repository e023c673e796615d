// Blends the tables for the current coefficients into one table for each part of the head.

import { bindTextures, makePass, makeTables, makeTexture, tableSize, TABLE_WIDTH, texelsOf } from "./gl.js";

/** Of a head's tables; see nerfblendshape_ns/field_components/blendshape_encoding.py. */
export class Blend {
  /**
   * @param {WebGL2RenderingContext} gl @param {any} head content @param {Object<string, any>} arrays
   * @param {number} variants parts of the head, each with a table
   */
  constructor(gl, head, arrays, variants) {
    const grid = head.grid;
    const levels = grid.resolutions.length;
    const texels = texelsOf(grid.features);
    const channels = Math.min(grid.features, 4);
    this.gl = gl;
    this.count = head.tables;
    this.variants = variants;
    this.mean = makeTables(gl, arrays["head.mean"]);
    this.bases = this.count ? makeTables(gl, arrays["head.bases"]) : this.mean;
    this.scales = makeTexture(gl, {
      type: "float32", channels, size: [levels * texels, Math.max(1, this.count)],
      data: this.count ? arrays["head.scales"].data : new Float32Array(levels * texels * channels),
    });
    const rows = grid.offsets[levels];
    this.size = tableSize(rows, grid.features);
    const type = arrays["head.mean"].type;
    const target = gl.TEXTURE_2D_ARRAY;
    this.tables = makeTexture(gl, { target, type, channels, size: [...this.size, variants] });
    this.frame = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    const places = Array.from({ length: variants }, (_, variant) => gl.COLOR_ATTACHMENT0 + variant);
    places.forEach((place, variant) => gl.framebufferTextureLayer(gl.FRAMEBUFFER, place, this.tables, 0, variant));
    gl.drawBuffers(places);
    this.pass = makePass(gl, source(grid, this.count, variants, rows));
  }

  /** @param {number[][]} components of each variant */
  draw(components) {
    const { gl, pass, count } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.viewport(0, 0, ...this.size);
    gl.useProgram(pass.program);
    const array = gl.TEXTURE_2D_ARRAY;
    bindTextures(gl, pass, { mean: [array, this.mean], bases: [array, this.bases], scales: [gl.TEXTURE_2D, this.scales] });
    if (count) {
      const amounts = new Float32Array(count * 3);
      components.forEach((values, variant) => values.forEach((value, index) => (amounts[index * 3 + variant] = value)));
      gl.uniform3fv(pass.at("amounts"), amounts);
    }
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

function source(grid, count, variants, rows) {
  const levels = grid.resolutions.length;
  const texels = texelsOf(grid.features);
  const outputs = Array.from({ length: variants }, (_, variant) => `layout(location = ${variant}) out vec4 table${variant};`);
  const starts = Array.from({ length: variants }, (_, variant) => `table${variant} = mean_;`);
  const sums = Array.from({ length: variants }, (_, variant) => `table${variant} += amounts[k][${variant}] * basis;`);
  return `
uniform sampler2DArray mean, bases;
uniform sampler2D scales;
${count ? `uniform vec3 amounts[${count}];` : ""}
${outputs.join("\n")}
const int OFFSETS[${levels}] = int[](${grid.offsets.slice(0, levels).join(", ")});
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  int texel = at.y * ${TABLE_WIDTH} + at.x;
  int row = texel / ${texels};
  if (row >= ${rows}) discard;
  int level = 0;
  while (level < ${levels - 1} && row >= OFFSETS[level + 1]) level++;
  vec4 mean_ = texelFetch(mean, ivec3(at, 0), 0);
  ${starts.join(" ")}
  ${count ? `for (int k = 0; k < ${count}; k++) {
    if (amounts[k] == vec3(0.0)) continue;
    vec4 basis = texelFetch(bases, ivec3(at, k), 0) * texelFetch(scales, ivec2(level * ${texels} + texel % ${texels}, k), 0);
    ${sums.join(" ")}
  }` : ""}
}`;
}
