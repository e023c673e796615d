// Dense networks in shaders: weights in uniform blocks, four values at a time.

import { Block } from "./gl.js";

/** @typedef {{weight: any, bias: Float32Array, outputs: number, inputs: number}} Layer */

/** @param {number} count @returns {number} fours that hold so many values */
export function fours(count) {
  return Math.ceil(count / 4);
}

/**
 * @param {Object<string, import("./data.js").NamedArray>} arrays @param {string} name such as "head.density"
 * @param {number} count of layers
 * @returns {Layer[]}
 */
export function layersOf(arrays, name, count) {
  return Array.from({ length: count }, (_, number) => {
    const weight = arrays[`${name}.${number}.weight`];
    return { weight: weight.data, bias: arrays[`${name}.${number}.bias`].data, outputs: weight.shape[0], inputs: weight.shape[1] };
  });
}

/**
 * Weights as a block of 4x4 matrices: of four outputs those of all inputs, then the next four.
 * @param {Layer} layer @param {(input: number) => number} [place] of an input among those of the shader
 * @param {number} [width] inputs of the shader
 * @returns {Float32Array}
 */
export function matrices({ weight, outputs, inputs }, place = (input) => input, width = inputs) {
  const across = fours(width);
  const values = new Float32Array(fours(outputs) * across * 16);
  for (let output = 0; output < outputs; output++) {
    for (let input = 0; input < inputs; input++) {
      const at = place(input);
      const matrix = (output >> 2) * across + (at >> 2);
      values[matrix * 16 + (at & 3) * 4 + (output & 3)] = weight[output * inputs + input];
    }
  }
  return values;
}

/** Values filled up with zeros to a multiple of four. @param {ArrayLike<number>} values */
export function filled(values) {
  const result = new Float32Array(fours(values.length) * 4);
  result.set(values);
  return result;
}

/** @param {WebGL2RenderingContext} gl @param {Float32Array} values */
export function blockOf(gl, values) {
  return new Block(gl, values.length).write(values);
}

/**
 * A layer as a function of the shader.
 * @param {string} name of the function; its weights are the block of that name, first letter large
 * @param {number} inputs fours @param {number} outputs fours
 * @param {boolean} rectified whether negative outputs become 0
 */
export function layerSource(name, inputs, outputs, rectified) {
  return `
layout(std140) uniform ${label(name)} { mat4 ${name}Weights[${inputs * outputs}]; };
void ${name}(const in vec4 x[${inputs}], const in vec4 bias[${outputs}], out vec4 y[${outputs}]) {
  for (int o = 0; o < ${outputs}; o++) {
    vec4 sum = bias[o];
    for (int i = 0; i < ${inputs}; i++) sum += ${name}Weights[o * ${inputs} + i] * x[i];
    y[o] = ${rectified ? "max(sum, 0.0)" : "sum"};
  }
}`;
}

/**
 * A network as a function of the shader. The bias of its first layer is an argument, for it may change from image to image
 * or pixel to pixel; `…Bias0` is the constant one.
 * @param {string} name @param {Layer[]} layers @param {number} inputs fours of the first layer
 */
export function networkSource(name, layers, inputs) {
  const widths = [inputs, ...layers.map((layer) => fours(layer.outputs))];
  const last = layers.length;
  const biases = layers.map((_, index) => `vec4 ${name}Bias${index}[${widths[index + 1]}];`);
  const parts = layers.map((_, index) => layerSource(`${name}${index}`, widths[index], widths[index + 1], index + 1 < last));
  const steps = layers.map((_, index) => {
    const [from, bias] = index ? [`y${index}`, `${name}Bias${index}`] : ["x", "bias"];
    const to = index + 1 < last ? `y${index + 1}` : "y";
    return `${index + 1 < last ? `vec4 ${to}[${widths[index + 1]}]; ` : ""}${name}${index}(${from}, ${bias}, ${to});`;
  });
  return `
layout(std140) uniform ${label(name)}Biases { ${biases.join(" ")} };
${parts.join("\n")}
void ${name}(const in vec4 x[${inputs}], const in vec4 bias[${widths[1]}], out vec4 y[${widths[last]}]) {
  ${steps.join("\n  ")}
}`;
}

/** @param {string} name */
function label(name) {
  return name[0].toUpperCase() + name.slice(1);
}

/** The biases of all layers, as their block holds them. @param {ArrayLike<number>[]} biases */
export function biasValues(biases) {
  return new Float32Array(biases.flatMap((bias) => Array.from(filled(bias))));
}

/**
 * The blocks of a network.
 * @param {WebGL2RenderingContext} gl @param {string} name @param {Layer[]} layers
 * @param {(input: number) => number} [place] see matrices, of the first layer @param {number} [width]
 */
export function networkBlocks(gl, name, layers, place, width) {
  /** @type {Object<string, Block>} */
  const blocks = { [`${label(name)}Biases`]: blockOf(gl, biasValues(layers.map((layer) => layer.bias))) };
  layers.forEach((layer, index) => {
    blocks[`${label(name)}${index}`] = blockOf(gl, index ? matrices(layer) : matrices(layer, place, width));
  });
  return blocks;
}
