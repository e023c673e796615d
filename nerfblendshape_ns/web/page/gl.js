// What the passes need of WebGL2: programs, textures, uniform blocks.

import { PageError } from "./data.js";

/** @typedef {{type: string, shape: number[], data: any}} NamedArray */

/** Texels along a row of a texture that holds a table. */
export const TABLE_WIDTH = 2048;

const VERTEX = `#version 300 es
void main() { gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0); }
`;

/**
 * @param {HTMLCanvasElement} canvas
 * @returns {WebGL2RenderingContext}
 * @throws {PageError} the browser has no WebGL2 that can do it
 */
export function makeContext(canvas) {
  const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, preserveDrawingBuffer: true });
  if (!gl) throw new PageError("This browser offers no WebGL2; try another one, or switch hardware acceleration on.");
  if (!gl.getExtension("EXT_color_buffer_float") && !gl.getExtension("EXT_color_buffer_half_float")) {
    throw new PageError("This device cannot draw into textures of floating point, which the avatar needs; try another one.");
  }
  return gl;
}

/**
 * A pass over all pixels of its target.
 * @param {WebGL2RenderingContext} gl @param {string} source of the fragment shader, without its version
 * @returns {{program: WebGLProgram, at: (name: string) => WebGLUniformLocation|null}}
 */
export function makePass(gl, source) {
  const program = gl.createProgram();
  const header = "#version 300 es\nprecision highp float;\nprecision highp int;\n";
  const precisions = ["sampler2D", "sampler2DArray", "sampler3D", "usampler2D", "usampler3D"].map((type) => `precision highp ${type};\n`);
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, header + precisions.join("") + source]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
      throw new PageError(`This device refuses a shader of the avatar (${gl.getShaderInfoLog(shader)}); try another browser.`);
    }
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new PageError(`This device refuses a shader of the avatar (${gl.getProgramInfoLog(program)}); try another browser.`);
  }
  const places = new Map();
  return {
    program,
    at: (name) => {
      if (!places.has(name)) places.set(name, gl.getUniformLocation(program, name));
      return places.get(name);
    },
  };
}

/**
 * Internal format, format and type of a texture.
 * @param {WebGL2RenderingContext} gl @param {string} type of an array @param {number} channels 1, 2 or 4
 */
function formats(gl, type, channels) {
  const index = [1, 2, 4].indexOf(channels);
  const format = [gl.RED, gl.RG, gl.RGBA][index];
  const integer = [gl.RED_INTEGER, gl.RG_INTEGER, gl.RGBA_INTEGER][index];
  if (type === "float32") return [[gl.R32F, gl.RG32F, gl.RGBA32F][index], format, gl.FLOAT];
  if (type === "float16") return [[gl.R16F, gl.RG16F, gl.RGBA16F][index], format, gl.HALF_FLOAT];
  if (type === "int8") return [[gl.R8_SNORM, gl.RG8_SNORM, gl.RGBA8_SNORM][index], format, gl.BYTE];
  if (type === "color") return [gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE];
  return [[gl.R8UI, gl.RG8UI, gl.RGBA8UI][index], integer, gl.UNSIGNED_BYTE];
}

/**
 * @param {WebGL2RenderingContext} gl
 * @param {{target?: number, type: string, channels?: number, size: number[], data?: ArrayBufferView|null, linear?: boolean}} options
 *   size is width, height and, of a 3D texture or an array, depth; without data the texture is drawn into
 * @returns {WebGLTexture}
 */
export function makeTexture(gl, { target = gl.TEXTURE_2D, type, channels = 4, size, data = null, linear = false }) {
  const limit = gl.getParameter(target === gl.TEXTURE_3D ? gl.MAX_3D_TEXTURE_SIZE : gl.MAX_TEXTURE_SIZE);
  const layers = target === gl.TEXTURE_2D_ARRAY ? gl.getParameter(gl.MAX_ARRAY_TEXTURE_LAYERS) : limit;
  if (Math.max(size[0], size[1]) > limit || (size[2] ?? 1) > layers) {
    throw new PageError(`The avatar needs textures of ${size.join(" x ")}, more than this device has; try another one.`);
  }
  const texture = gl.createTexture();
  const [internal, format, kind] = formats(gl, type, channels);
  gl.bindTexture(target, texture);
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  if (size.length === 2) gl.texImage2D(target, 0, internal, size[0], size[1], 0, format, kind, data);
  else gl.texImage3D(target, 0, internal, size[0], size[1], size[2], 0, format, kind, data);
  const filter = linear ? gl.LINEAR : gl.NEAREST;
  for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(target, side, filter);
  for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) gl.texParameteri(target, side, gl.CLAMP_TO_EDGE);
  return texture;
}

/** Texels of a row of a table. @param {number} features */
export function texelsOf(features) {
  return Math.max(1, features / 4);
}

/** Size of a texture that holds one table. @param {number} rows @param {number} features */
export function tableSize(rows, features) {
  const texels = rows * texelsOf(features);
  return [Math.min(texels, TABLE_WIDTH), Math.ceil(texels / TABLE_WIDTH)];
}

/**
 * A texture of tables, row after row, table after table.
 * @param {WebGL2RenderingContext} gl @param {NamedArray} array [tables, rows, features] or [rows, features]
 */
export function makeTables(gl, array) {
  const [rows, features] = array.shape.slice(-2);
  const layers = array.shape.length === 3 ? array.shape[0] : 1;
  const [width, height] = tableSize(rows, features);
  const channels = Math.min(features, 4);
  const row = rows * features;
  const padded = new array.data.constructor(width * height * channels * Math.max(1, layers));
  for (let layer = 0; layer < layers; layer++) {
    padded.set(array.data.subarray(layer * row, (layer + 1) * row), layer * width * height * channels);
  }
  const size = [width, height, Math.max(1, layers)];
  return makeTexture(gl, { target: gl.TEXTURE_2D_ARRAY, type: array.type, channels, size, data: padded });
}

/** Binds textures to the samplers of a pass. */
export function bindTextures(gl, pass, textures) {
  Object.entries(textures).forEach(([name, [target, texture]], unit) => {
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(target, texture);
    gl.uniform1i(pass.at(name), unit);
  });
}

/** Values of a uniform block. */
export class Block {
  /** @param {WebGL2RenderingContext} gl @param {number} count of floats, a multiple of four */
  constructor(gl, count) {
    if (count * 4 > gl.getParameter(gl.MAX_UNIFORM_BLOCK_SIZE)) {
      throw new PageError("The avatar's networks are wider than this device's shaders can hold; try another one.");
    }
    this.gl = gl;
    this.buffer = gl.createBuffer();
    gl.bindBuffer(gl.UNIFORM_BUFFER, this.buffer);
    gl.bufferData(gl.UNIFORM_BUFFER, count * 4, gl.DYNAMIC_DRAW);
  }

  /** @param {Float32Array} values */
  write(values) {
    this.gl.bindBuffer(this.gl.UNIFORM_BUFFER, this.buffer);
    this.gl.bufferSubData(this.gl.UNIFORM_BUFFER, 0, values);
    return this;
  }
}

/** Binds uniform blocks by their names in the shader. */
export function bindBlocks(gl, pass, blocks) {
  Object.entries(blocks).forEach(([name, block], place) => {
    const index = gl.getUniformBlockIndex(pass.program, name);
    if (index === gl.INVALID_INDEX) return;
    gl.uniformBlockBinding(pass.program, index, place);
    gl.bindBufferBase(gl.UNIFORM_BUFFER, place, block.buffer);
  });
}
