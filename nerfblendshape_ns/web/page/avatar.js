// The avatar: what may be asked of it, and when it is drawn.

import { clamp, turnedPose } from "./algebra.js";
import { PageError } from "./data.js";
import { Playback } from "./playback.js";
import { Renderer } from "./renderer.js";
import { Schedule } from "./schedule.js";

/** @typedef {{yaw?: number, pitch?: number, roll?: number, zoom?: number}} Turn degrees from the neutral pose, and a factor */

export const ROLL_RANGE = [-20, 20];
export const ZOOM_RANGE = [0.5, 4];
/** Longer side of the largest image, in units of the training images. */
const LARGEST = 4;

/**
 * Events: "change" (whatever may be asked of it has changed), "drawn" (detail: milliseconds, width, height, final),
 * "end" (a sequence that does not repeat has come to its end).
 */
export class Avatar extends EventTarget {
  /**
   * @param {HTMLCanvasElement} canvas @param {import("./data.js").PageData} data
   */
  constructor(canvas, data) {
    super();
    this.data = data;
    this.content = data.content;
    this.names = data.content.names;
    this.minimum = data.content.minimum;
    this.maximum = data.content.maximum;
    /** Neutral values: 0, or the nearest in the range. */
    this.neutral = this.minimum.map((low, index) => clamp(0, low, this.maximum[index]));
    this.values = [...this.neutral];
    /** Factor about neutral, after clamping. */
    this.gain = 1;
    /** Whether values are limited to what training showed. */
    this.clamped = true;
    /** @type {Required<Turn>} */
    this.turn = { yaw: 0, pitch: 0, roll: 0, zoom: 1 };
    /** Whether the camera turns about a head that keeps still. */
    this.orbit = false;
    /** @type {ArrayLike<number>|null} the captured pose of a frame that is played */
    this.captured = null;
    const { "track.expression": expression, "track.pose": pose, "track.seconds": seconds } = data.arrays;
    /** The clip, where the page has it. */
    this.track = expression ? { frames: expression.shape[0], expression: expression.data, pose: pose.data, seconds: seconds.data } : null;
    this.renderer = new Renderer(canvas, data);
    this.playback = new Playback(this);
    this.schedule = new Schedule(this);
    this.changed();
  }

  /** Coefficients by name, as they are shown. @returns {Object<string, number>} */
  get() {
    const shown = this.expression();
    return Object.fromEntries(this.names.map((name, index) => [name, shown[index]]));
  }

  /**
   * Set some coefficients, and end what plays.
   * @param {Object<string, number>} values by name, in the clip's units
   * @throws {PageError} a name that the avatar lacks, or a value that is no number
   */
  set(values) {
    const next = [...this.values];
    for (const [name, value] of Object.entries(values)) {
      const index = this.names.indexOf(name);
      if (index < 0) throw new PageError(`The avatar has no coefficient ${name}; it has ${this.names.slice(0, 6).join(", ")}, …`);
      if (!Number.isFinite(value)) throw new PageError(`The value of ${name} must be a number, not ${value}.`);
      next[index] = value;
    }
    this.pause();
    this.setAll(next);
  }

  /** Set all coefficients, in the order of `names`. @param {ArrayLike<number>} values */
  setAll(values) {
    this.values = Array.from(values);
    this.changed();
  }

  /**
   * Show exactly the coefficients given, the others neutral: without exaggeration, and without limits where it leaves them.
   * @param {Object<string, number>} values by name, in the clip's units
   * @throws {PageError} as `set`
   */
  show(values) {
    this.gain = 1;
    this.values = [...this.neutral];
    this.set(values);
    const inside = this.values.every((value, index) => Math.abs(clamp(value, this.minimum[index], this.maximum[index]) - value) <= 1e-5);
    if (!inside) this.clamped = false;
    this.changed();
  }

  /** The neutral face from the front. */
  reset() {
    this.playback.pause();
    [this.values, this.gain, this.captured] = [[...this.neutral], 1, null];
    this.turn = { yaw: 0, pitch: 0, roll: 0, zoom: 1 };
    this.changed();
  }

  /**
   * Turn the head (or the camera about it, see `orbit`) and zoom; what is left out stays. A sequence that turns it ends.
   * @param {Turn} turn limited to what training showed, and a little more
   */
  pose(turn) {
    if (this.playback.sequence?.turns && Object.keys(turn).some((name) => name !== "zoom")) this.pause();
    this.turnTo(turn);
  }

  /** As `pose`, of a sequence that goes on. @param {Turn} turn */
  turnTo(turn) {
    for (const [name, value] of Object.entries(turn)) {
      if (!Object.hasOwn(this.turn, name) || !Number.isFinite(value)) throw new PageError(`A pose has yaw, pitch, roll and zoom as numbers, not ${name}: ${value}.`);
      const [low, high] = this.rangeOf(name);
      this.turn[name] = clamp(value, low, high);
    }
    // Nearer or farther, a frame of the clip keeps its pose.
    if (Object.keys(turn).some((name) => name !== "zoom")) this.captured = null;
    this.changed();
  }

  /** @param {string} name of a part of the pose @returns {number[]} */
  rangeOf(name) {
    if (name === "zoom") return ZOOM_RANGE;
    return name === "roll" ? ROLL_RANGE : this.content.range[name];
  }

  /**
   * Play a sequence, or go on.
   * @param {import("./playback.js").Sequence|"track"} [sequence] keyframes, or the clip
   * @param {{repeat?: boolean, speed?: number}} [options]
   */
  play(sequence, options) {
    this.playback.play(sequence, options);
  }

  /** Stop where it is. */
  pause() {
    this.playback.pause();
  }

  /** What is behind the person: a CSS colour as [red, green, blue] in [0, 1], an image, or null. @param {import("./torso.js").Shown} shown */
  background(shown) {
    this.renderer.show(shown);
    this.changed();
  }

  /** Draw with graphics that the browser had taken away and gives back. */
  restore() {
    const { canvas, person } = this.renderer;
    this.renderer = new Renderer(canvas, this.data);
    this.background(person.background.shown);
  }

  /** The coefficients that are rendered. @returns {number[]} */
  expression() {
    return this.values.map((value, index) => {
      const inside = this.clamped ? clamp(value, this.minimum[index], this.maximum[index]) : value;
      return this.neutral[index] + this.gain * (inside - this.neutral[index]);
    });
  }

  /** What is rendered: the shape, and the camera that sees it. */
  scene() {
    const { content, turn } = this;
    const pose = this.captured ?? turnedPose(content.pose, turn);
    const captured = this.orbit && !this.captured ? content.pose : pose;
    const focal = content.focal.map((length) => length * turn.zoom);
    return { shape: { expression: this.expression(), captured }, camera: { pose, focal, centre: content.centre } };
  }

  /** Width and height of an image whose longer side has so many pixels. @param {number} longer */
  sizeOf(longer) {
    const [width, height] = this.content.size;
    const scale = longer / Math.max(width, height);
    return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  }

  /** Longer side of the largest image that is worth drawing. */
  get largest() {
    return Math.max(512, LARGEST * Math.max(...this.content.size));
  }

  /**
   * Draw an image at once; what the canvas shows is drawn again after it.
   * @param {number} longer side in pixels @returns {ImageData}
   * @throws {PageError} the browser has taken the graphics away
   */
  image(longer) {
    const { renderer } = this;
    if (renderer.lost) throw new PageError("There is no picture, for the browser has taken the graphics away.");
    const { shape, camera } = this.scene();
    const [width, height] = this.sizeOf(longer);
    renderer.prepare(shape);
    // Browsers take the graphics away from whoever draws for seconds without a pause.
    const rows = this.schedule.rows(width);
    for (let row = 0; row < height; row += rows) {
      renderer.draw(camera, width, height, row, Math.min(height, row + rows));
      renderer.finish();
    }
    const pixels = renderer.pixels();
    this.schedule.ask();
    return pixels;
  }

  /** Say that something has changed, and draw it. */
  changed() {
    this.schedule.ask();
    this.dispatchEvent(new Event("change"));
  }
}
