// The pass that puts the head over a torso and both over a background.

import { column, frequencies, poseNumbers, times } from "./algebra.js";
import { setCamera } from "./camera_source.js";
import { bindBlocks, bindTextures, makePass, makeTables, makeTexture } from "./gl.js";
import { encodedFours, featurePlace } from "./grid.js";
import { biasValues, layersOf, matrices, networkBlocks } from "./network.js";
import { encodedPosition, HEAD_ALONE, torsoSource } from "./torso_source.js";

/** @typedef {{color: number[]}|{image: TexImageSource}|null} Shown a colour in [0, 1], an image, or what the avatar has */

/** What is behind the person. */
class Background {
  /** @param {WebGL2RenderingContext} gl @param {number[]} color @param {any} [image] array */
  constructor(gl, color, image) {
    this.gl = gl;
    this.own = color;
    const [height, width] = image ? image.shape : [1, 1];
    const data = new Uint8Array(width * height * 4).fill(255);
    if (image) for (let index = 0; index < image.data.length; index++) data[Math.floor(index / 3) * 4 + (index % 3)] = image.data[index];
    this.plate = image ? makeTexture(gl, { type: "color", size: [width, height], data, linear: true }) : null;
    this.given = makeTexture(gl, { type: "color", size: [1, 1], data: data.subarray(0, 4), linear: true });
    /** @type {Shown} */
    this.shown = null;
  }

  /** @param {Shown} shown */
  show(shown) {
    const { gl } = this;
    this.shown = shown;
    if (shown && "image" in shown) {
      gl.bindTexture(gl.TEXTURE_2D, this.given);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, shown.image);
    }
  }

  /** Bind what is shown. @param {any} pass @param {Object<string, any>} textures of the pass */
  bind(pass, textures) {
    const { gl, shown } = this;
    const texture = shown ? ("image" in shown ? this.given : null) : this.plate;
    const color = shown && "color" in shown ? shown.color : this.own;
    bindTextures(gl, pass, { ...textures, behind: [gl.TEXTURE_2D, texture ?? this.given] });
    gl.uniform1i(pass.at("shown"), texture ? 1 : 0);
    gl.uniform3f(pass.at("plain"), color[0], color[1], color[2]);
  }
}

/** The second pass of a head without a torso. */
export class Alone {
  /** @param {WebGL2RenderingContext} gl @param {number} level of the background, 0 or 1 */
  constructor(gl, level) {
    this.gl = gl;
    this.background = new Background(gl, [level, level, level]);
    this.pass = makePass(gl, HEAD_ALONE);
  }

  prepare() {}

  /** @param {WebGLTexture} head @param {any} camera @param {number} width @param {number} height */
  draw(head, camera, width, height) {
    const { gl, pass } = this;
    gl.useProgram(pass.program);
    this.background.bind(pass, { head: [gl.TEXTURE_2D, head] });
    gl.uniform2f(pass.at("size"), width, height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

export class Torso {
  /** @param {WebGL2RenderingContext} gl @param {any} torso content @param {Object<string, any>} arrays */
  constructor(gl, torso, arrays) {
    this.gl = gl;
    this.content = torso;
    this.arrays = arrays;
    this.background = new Background(gl, torso.background, arrays["torso.background"]);
    this.table = makeTables(gl, arrays["torso.table"]);
    const [high, wide] = arrays["torso.occupancy"].shape;
    this.occupancy = makeTexture(gl, { type: "uint8", channels: 1, size: [wide, high], data: arrays["torso.occupancy"].data });
    const names = torso.linear ? ["deformation", "appearance", "skinning"] : ["deformation", "appearance"];
    const layers = Object.fromEntries(names.map((name) => [name, layersOf(arrays, `torso.${name}`, torso.layers[name])]));
    this.layers = layers;
    this.pass = makePass(gl, torsoSource(torso, layers));
    const width = 4 * encodedPosition(torso.positionFrequencies);
    /** @type {Object<string, import("./gl.js").Block>} */
    this.blocks = {
      ...networkBlocks(gl, "deformation", layers.deformation, undefined, width),
      ...networkBlocks(gl, "appearance", layers.appearance, featurePlace(torso.grid), 4 * encodedFours(torso.grid)),
      ...(torso.linear ? networkBlocks(gl, "skinning", layers.skinning, undefined, width) : {}),
    };
  }

  /** Prepare the networks for a captured head pose. @param {ArrayLike<number>} pose camera-to-head */
  prepare(pose) {
    const { gl, content, pass } = this;
    const numbers = poseNumbers(content.poseCode, pose);
    // Colours beyond the training poses would be no better known.
    const inside = numbers.map((value) => Math.min(Math.max(value, -1), 1));
    const condition = content.linear ? inside : frequencies(inside, content.poseFrequencies);
    this.setBiases("appearance", { 0: this.firstBias("appearance", condition) });
    if (content.linear) this.setDisplacements(numbers);
    else this.setBiases("deformation", { 0: this.firstBias("deformation", condition) });
    gl.useProgram(pass.program);
    const { reference } = content.poseCode;
    const axes = (of) => [0, 1, 2].flatMap((index) => column(of, index));
    gl.uniformMatrix3fv(pass.at("capturedAxes"), false, axes(pose));
    gl.uniform3f(pass.at("capturedOrigin"), ...column(pose, 3));
    gl.uniformMatrix3fv(pass.at("referenceAxes"), false, axes(reference));
    gl.uniform3f(pass.at("referenceOrigin"), ...column(reference, 3));
  }

  /** What the first layer adds for a condition. @param {string} name @param {number[]} condition */
  firstBias(name, condition) {
    const { bias, outputs } = this.layers[name][0];
    const added = times(this.arrays[`torso.${name}.condition`].data, condition, outputs);
    return bias.map((value, index) => value + added[index]);
  }

  /** @param {string} name of a network @param {Object<number, ArrayLike<number>>} changed biases by layer */
  setBiases(name, changed) {
    const biases = this.layers[name].map((layer, index) => changed[index] ?? layer.bias);
    this.blocks[`${name[0].toUpperCase()}${name.slice(1)}Biases`].write(biasValues(biases));
  }

  /** The last layer of the displacements, which are linear in the head pose. @param {number[]} numbers of the pose */
  setDisplacements(numbers) {
    const { arrays, layers, blocks } = this;
    const last = layers.deformation.length - 1;
    const { weight, bias, inputs, outputs } = layers.deformation[last];
    const slopes = arrays["torso.deformation.pose.weight"].data;
    const offsets = arrays["torso.deformation.pose.bias"].data;
    const sum = (of, constant) => constant.map((value, index) =>
      numbers.reduce((total, amount, number) => total + amount * of[number * constant.length + index], value));
    blocks[`Deformation${last}`].write(matrices({ weight: sum(slopes, weight), bias, inputs, outputs }));
    this.setBiases("deformation", { [last]: sum(offsets, bias) });
  }

  /**
   * Draw into the bound framebuffer.
   * @param {WebGLTexture} head from the head's pass @param {any} camera @param {number} width @param {number} height
   */
  draw(head, camera, width, height) {
    const { gl, pass } = this;
    gl.useProgram(pass.program);
    setCamera(gl, pass, camera, width, height);
    this.background.bind(pass, {
      head: [gl.TEXTURE_2D, head],
      table: [gl.TEXTURE_2D_ARRAY, this.table],
      occupancy: [gl.TEXTURE_2D, this.occupancy],
    });
    bindBlocks(gl, pass, this.blocks);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}
