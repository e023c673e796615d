// The head's pass: premultiplied colour and opacity along the rays of a camera.

import { clamp, correctedPose, poseNumbers, times, viewTurn } from "./algebra.js";
import { Blend } from "./blend.js";
import { setCamera } from "./camera_source.js";
import { bindBlocks, bindTextures, makePass, makeTexture } from "./gl.js";
import { encodedFours, featurePlace } from "./grid.js";
import { headSource } from "./head_source.js";
import { Motion } from "./motion.js";
import { blockOf, fours, layersOf, matrices, networkBlocks } from "./network.js";

const HARMONICS = 16;

export class Head {
  /** @param {WebGL2RenderingContext} gl @param {any} head content @param {Object<string, any>} arrays */
  constructor(gl, head, arrays) {
    this.gl = gl;
    this.content = head;
    this.arrays = arrays;
    this.variants = head.parts ? 3 : 1;
    this.density = layersOf(arrays, "head.density", head.layers.density);
    const color = layersOf(arrays, "head.color", head.layers.color);
    const cells = arrays["head.occupancy"].shape;
    this.blend = new Blend(gl, head, arrays, this.variants);
    this.motion = head.motion ? new Motion(gl, head, arrays) : null;
    this.occupancy = makeTexture(gl, {
      target: gl.TEXTURE_3D, type: "uint8", channels: 1, size: [...cells], data: turned(arrays["head.occupancy"]),
    });
    const [deep, across] = head.parts ? arrays["head.face"].shape : [1, 1];
    /** @type {ArrayLike<number>} */
    this.captured = head.poseCode.reference;
    this.face = head.parts && makeTexture(gl, { type: "uint8", channels: 1, size: [across, deep], data: arrays["head.face"].data });
    const opening = arrays["head.opening"];
    this.opening = head.eyes && makeTexture(gl, { type: "float16", channels: 1, size: [...opening.shape], data: opening.data, linear: true });
    /** Radians about x and z of either eye. */
    this.turns = new Float32Array(4);
    const [geometry, ofDirection] = apart(color[0]);
    const colors = [geometry, ...color.slice(1)];
    const fed = fours(this.density[this.density.length - 1].outputs);
    this.pass = makePass(gl, headSource(head, this.density, colors, cells));
    this.hidden = 4 * fours(this.density[0].outputs);
    this.frameBias = blockOf(gl, new Float32Array(this.variants * this.hidden));
    this.blocks = {
      ...networkBlocks(gl, "density", this.density, featurePlace(head.grid), 4 * encodedFours(head.grid)),
      // The first of the density network's outputs is the density.
      ...networkBlocks(gl, "color", colors, (input) => input + 1, 4 * fed),
      ColorDirection: blockOf(gl, matrices(ofDirection)),
      FrameBias: this.frameBias,
    };
  }

  /** @param {ArrayLike<number>} expression raw coefficients @returns {number[]} */
  scaled(expression) {
    return this.content.scale.map((scale, index) => scale * expression[index]);
  }

  /**
   * What the parts of the head are conditioned on: the scaled coefficients, then the head pose's numbers.
   * @param {ArrayLike<number>} expression raw coefficients @param {ArrayLike<number>} pose captured, camera-to-head
   * @returns {number[][]}
   */
  conditions(expression, pose) {
    const { content, arrays } = this;
    const condition = this.scaled(expression);
    if (content.eyes) {
      const gaze = arrays["head.gaze"].data;
      condition.forEach((value, index) => (condition[index] = clamp(value, gaze[index], gaze[condition.length + index])));
    }
    if (content.withPose) condition.push(...poseNumbers(content.poseCode, pose));
    if (!content.parts) return [condition];
    const still = arrays["head.still"].data;
    const reference = arrays["head.reference"].data;
    return [0, 1, 2].map((part) =>
      condition.map((value, index) => (still[part * condition.length + index] ? reference[index] : value)),
    );
  }

  /**
   * Prepare tables, motion and networks.
   * @param {ArrayLike<number>} expression @param {ArrayLike<number>} pose see conditions
   */
  prepare(expression, pose) {
    const { arrays } = this;
    this.captured = pose;
    const conditions = this.conditions(expression, pose);
    const mixing = arrays["head.mixing"];
    const components = conditions.map((condition) => Array.from(times(mixing.data, condition, mixing.shape[0])));
    this.blend.draw(components);
    if (this.motion) this.motion.draw(this.scaled(expression));
    if (this.content.eyes) {
      const furthest = arrays["head.furthest"].data;
      const angles = times(arrays["head.turns"].data, this.scaled(expression), 4);
      this.turns = angles.map((angle, index) => clamp(angle, furthest[index], furthest[4 + index]));
    }
    const biases = new Float32Array(this.variants * this.hidden);
    const { bias, outputs } = this.density[0];
    components.forEach((values, variant) => {
      const reads = arrays["head.inputs"].shape[1] > 0;
      const added = reads ? times(arrays["head.inputs"].data, values, outputs) : new Float32Array(outputs);
      bias.forEach((value, index) => (biases[variant * this.hidden + index] = value + added[index]));
    });
    this.frameBias.write(biases);
  }

  /**
   * Draw into the bound framebuffer.
   * @param {import("./camera_source.js").Camera} camera @param {number} width @param {number} height
   */
  draw(camera, width, height) {
    const { gl, pass } = this;
    gl.viewport(0, 0, width, height);
    gl.useProgram(pass.program);
    const pose = correctedPose(this.content, this.captured, camera.pose);
    setCamera(gl, pass, { ...camera, pose }, width, height);
    gl.uniformMatrix3fv(pass.at("viewTurn"), false, viewTurn(this.content.view, [pose[3], pose[7], pose[11]]));
    /** @type {Object<string, any>} */
    const textures = { tables: [gl.TEXTURE_2D_ARRAY, this.blend.tables], occupancy: [gl.TEXTURE_3D, this.occupancy] };
    if (this.motion) textures.motion = [gl.TEXTURE_3D, this.motion.field];
    if (this.opening) {
      textures.opening = [gl.TEXTURE_2D, this.opening];
      gl.uniform2fv(pass.at("turns"), this.turns);
    }
    if (this.face) textures.face = [gl.TEXTURE_2D, this.face];
    bindTextures(gl, pass, textures);
    bindBlocks(gl, pass, this.blocks);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

/** Cells indexed x, y, z in a texture's order, x fastest. */
function turned({ data, shape: [width, height, depth] }) {
  const result = new Uint8Array(data.length);
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      for (let z = 0; z < depth; z++) result[(z * height + y) * width + x] = data[(x * height + y) * depth + z];
    }
  }
  return result;
}

/** The colour network's first layer, taken apart into geometry features and directions. */
function apart({ weight, bias, outputs, inputs }) {
  const features = inputs - HARMONICS;
  const take = (first, count) => {
    const part = new Float32Array(outputs * count);
    for (let output = 0; output < outputs; output++) {
      for (let input = 0; input < count; input++) part[output * count + input] = weight[output * inputs + first + input];
    }
    return { weight: part, bias, outputs, inputs: count };
  };
  return [take(0, features), take(features, HARMONICS)];
}
