// Draws the avatar: prepares what depends on the expression, marches the head, puts it over torso and background.

import { makeContext, makeTexture } from "./gl.js";
import { Head } from "./head.js";
import { Alone, Torso } from "./torso.js";

/**
 * @typedef {{expression: ArrayLike<number>, captured: ArrayLike<number>}} Shape raw coefficients and the captured
 *   camera-to-head pose, which may differ from that of the camera that renders
 */

export class Renderer {
  /**
   * @param {HTMLCanvasElement} canvas @param {import("./data.js").PageData} data
   */
  constructor(canvas, { content, arrays }) {
    const gl = makeContext(canvas);
    this.gl = gl;
    this.canvas = canvas;
    this.head = new Head(gl, content.head, arrays);
    this.person = content.torso ? new Torso(gl, content.torso, arrays) : new Alone(gl, content.head.background);
    this.target = gl.createFramebuffer();
    /** @type {WebGLTexture|null} */
    this.picture = null;
    this.size = [0, 0];
    /** What was prepared, so that a camera that moves prepares nothing. */
    this.prepared = "";
  }

  /** Whether the browser has taken the graphics away. */
  get lost() {
    return this.gl.isContextLost();
  }

  /** What is behind the person; null is what the avatar has. @param {import("./torso.js").Shown} shown */
  show(shown) {
    this.person.background.show(shown);
  }

  /** Prepare an expression and a head pose. @param {Shape} shape */
  prepare({ expression, captured }) {
    const wanted = [...expression, ...captured].join();
    if (wanted === this.prepared) return;
    this.prepared = wanted;
    this.head.prepare(expression, captured);
    this.person.prepare(captured);
  }

  /**
   * Draw rows of an image of what was prepared; with the last the canvas shows it.
   * @param {import("./camera_source.js").Camera} camera @param {number} width @param {number} height
   * @param {number} [from] first row, from the image's bottom @param {number} [to] end of the rows
   */
  draw(camera, width, height, from = 0, to = height) {
    const { gl, canvas } = this;
    if (this.size[0] !== width || this.size[1] !== height) this.resize(width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(0, from, width, to - from);
    this.head.draw(camera, width, height);
    gl.disable(gl.SCISSOR_TEST);
    if (to < height) return;
    // Not earlier: a canvas that gets another size is blank.
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    this.person.draw(this.picture, camera, width, height);
  }

  /** Wait until everything is drawn. */
  finish() {
    this.gl.bindFramebuffer(this.gl.FRAMEBUFFER, this.target);
    this.gl.readPixels(0, 0, 1, 1, this.gl.RGBA, this.gl.FLOAT, new Float32Array(4));
  }

  /** The image on the canvas, rows from its top. @returns {ImageData} */
  pixels() {
    const { gl } = this;
    const { width, height } = this.canvas;
    const upside = new Uint8Array(width * height * 4);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, upside);
    const image = new ImageData(width, height);
    for (let row = 0; row < height; row++) {
      image.data.set(upside.subarray((height - 1 - row) * width * 4, (height - row) * width * 4), row * width * 4);
    }
    return image;
  }

  /** @param {number} width @param {number} height */
  resize(width, height) {
    const { gl } = this;
    gl.deleteTexture(this.picture);
    this.picture = makeTexture(gl, { type: "float16", size: [width, height] });
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.picture, 0);
    gl.drawBuffers([gl.COLOR_ATTACHMENT0]);
    this.size = [width, height];
  }
}
