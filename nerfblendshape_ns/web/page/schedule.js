// Draws at a size that the device can keep up with while something moves, and in full size when nothing does.

const MOVING_MS = 30;
const STRIP_MS = 60;
/** Longest time for an image in full size; a slow device draws a smaller one. */
const FULL_MS = 4000;
const SMALLEST = 64;
const SETTLE_MS = 200;

export class Schedule {
  /** @param {import("./avatar.js").Avatar} avatar */
  constructor(avatar) {
    this.avatar = avatar;
    /** Milliseconds of a pixel, as last measured; a slow start until then. */
    this.cost = MOVING_MS / 96 ** 2;
    this.waiting = false;
    this.asked = false;
    this.since = 0;
    /** Longer side of the canvas on the page, in the page's pixels. */
    this.wanted = 512;
    /** Longer side of all images while a video is recorded; else 0. */
    this.hold = 0;
    /** @type {any} what is being drawn in full size */
    this.full = null;
  }

  /** Something has changed. */
  ask() {
    this.asked = true;
    this.full = null;
    this.wait();
  }

  wait() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame((now) => {
      this.waiting = false;
      this.turn(now);
    });
  }

  /** @param {number} now milliseconds */
  turn(now) {
    const playing = this.avatar.playback.advance(now);
    if (this.avatar.renderer.lost) {
      this.asked = false; // Once it is restored, all is asked for.
      return;
    }
    if (this.asked) {
      this.asked = false;
      this.since = now;
      this.moving();
      this.wait();
    } else if (playing) this.wait();
    else if (now - this.since < SETTLE_MS) this.wait();
    else this.settled();
  }

  /** Longer side of an image that takes so long. @param {number} milliseconds */
  side(milliseconds) {
    const { content } = this.avatar;
    const share = Math.min(...content.size) / Math.max(...content.size);
    return Math.sqrt(milliseconds / this.cost / share);
  }

  /** Rows of an image that are drawn in one go. @param {number} width of the image */
  rows(width) {
    return Math.max(1, Math.floor(STRIP_MS / this.cost / width));
  }

  get fullSide() {
    // The window may have come to a screen of another density since.
    return Math.round(Math.min(this.wanted * devicePixelRatio, this.avatar.largest));
  }

  moving() {
    const { avatar } = this;
    const quick = Math.round(Math.min(Math.max(this.side(MOVING_MS), SMALLEST), this.fullSide));
    const longer = this.hold || quick;
    const { shape, camera } = avatar.scene();
    // Video encoders want even sides.
    const [width, height] = avatar.sizeOf(longer).map((length) => (this.hold ? 2 * Math.ceil(length / 2) : length));
    avatar.renderer.prepare(shape);
    const begun = performance.now();
    avatar.renderer.draw(camera, width, height);
    avatar.renderer.finish();
    this.measured(begun, width * height);
    const side = Math.round(Math.min(this.fullSide, Math.max(longer, this.side(FULL_MS))));
    this.full = { camera, side, row: 0, done: this.hold > 0 || side <= longer, begun };
    this.tell(begun, width, height);
  }

  /** Draw the next rows of the full image. */
  settled() {
    const { avatar, full } = this;
    if (!full || full.done) return;
    const [width, height] = avatar.sizeOf(full.side);
    const to = Math.min(height, full.row + this.rows(width));
    const begun = performance.now();
    if (full.row === 0) full.begun = begun;
    avatar.renderer.draw(full.camera, width, height, full.row, to);
    avatar.renderer.finish();
    this.measured(begun, width * (to - full.row), 0.5);
    full.row = to;
    full.done = to === height;
    if (full.done) this.tell(full.begun, width, height);
    else this.wait();
  }

  /** @param {number} begun @param {number} pixels @param {number} [weight] of the new figure */
  measured(begun, pixels, weight = 0.7) {
    const cost = (performance.now() - begun) / pixels;
    this.cost = weight * cost + (1 - weight) * this.cost;
  }

  tell(begun, width, height) {
    const detail = { milliseconds: performance.now() - begun, width, height, final: Boolean(this.full?.done) };
    this.avatar.dispatchEvent(new CustomEvent("drawn", { detail }));
  }
}
