// Plays the clip or keyframes in time; see nerfblendshape_ns/driving/keyframes.py.

import { clamp } from "./algebra.js";
import { plainName } from "./coefficients.js";
import { PageError } from "./data.js";

/**
 * @typedef {{time: number, expression?: Object<string, number|string>, easing?: string, head?: Object<string, number>}} Keyframe
 *   seconds; raw coefficients, or "60%" of the way from neutral to the maximum; degrees of yaw, pitch and roll
 * @typedef {{keyframes: Keyframe[], easing?: string}} Sequence
 */

/** How a keyframe is reached, from the fraction of the time. @type {Object<string, (fraction: number) => number>} */
export const EASINGS = {
  linear: (fraction) => fraction,
  smooth: (fraction) => fraction * fraction * (3 - 2 * fraction),
  "ease-in": (fraction) => fraction * fraction,
  "ease-out": (fraction) => fraction * (2 - fraction),
  hold: (fraction) => (fraction < 1 ? 0 : 1),
};
const ANGLES = ["yaw", "pitch", "roll"];
const ENTRIES = ["time", "expression", "easing", "head"];

export class Playback {
  /** @param {import("./avatar.js").Avatar} avatar */
  constructor(avatar) {
    this.avatar = avatar;
    this.playing = false;
    this.time = 0;
    this.repeat = true;
    this.speed = 1;
    /** Seconds, whether it turns the head, and what shows a time of it. @type {{duration: number, turns: boolean, show: (time: number) => void}|null} */
    this.sequence = null;
    /** @type {number|null} */
    this.last = null;
    /** Indices of the coefficients that a name means; a table has the same names in thousands of rows. @type {Map<string, number[]>} */
    this.meant = new Map();
  }

  /**
   * @param {Sequence|"track"} [sequence] without one it goes on @param {{repeat?: boolean, speed?: number}} [options]
   * @throws {PageError} there is nothing to play, or a keyframe or the speed is wrong
   */
  play(sequence, { repeat = this.repeat, speed = this.speed } = {}) {
    const pace = clamp(figure(speed, "the speed"), 0.1, 3);
    if (sequence !== undefined) {
      this.sequence = sequence === "track" ? this.clip() : this.keyframes(sequence);
      this.time = 0;
    }
    if (!this.sequence) throw new PageError("There is nothing to play; give keyframes, or export the page with its track.");
    [this.repeat, this.speed] = [repeat, pace];
    if (!this.repeat && this.time >= this.sequence.duration) this.time = 0;
    [this.playing, this.last] = [true, null];
    this.seek(this.time);
  }

  pause() {
    this.playing = false;
  }

  /** Show a time of the sequence. @param {number} time seconds */
  seek(time) {
    if (!this.sequence) return;
    this.time = clamp(time, 0, this.sequence.duration);
    this.sequence.show(this.time);
    this.avatar.changed();
  }

  /** Go on to the present. @param {number} now milliseconds @returns {boolean} whether it plays */
  advance(now) {
    if (!this.playing) return false;
    const passed = this.last === null ? 0 : ((now - this.last) / 1000) * this.speed;
    this.last = now;
    const { duration } = this.sequence;
    let time = this.time + passed;
    // What does not move is shown once, and then drawn in full size.
    if (time >= duration && this.repeat && duration > 0) time %= duration;
    const ended = time >= duration;
    if (passed > 0) this.seek(time);
    if (ended) {
      this.playing = false;
      this.avatar.dispatchEvent(new Event("end"));
      this.avatar.changed();
    }
    return this.playing;
  }

  /** The clip: each frame's coefficients and head pose. */
  clip() {
    const { track, content, names } = this.avatar;
    if (!track) throw new PageError("The page was exported without its clip's track, so there is no clip to play.");
    const count = names.length;
    return {
      duration: track.seconds[track.frames - 1] + 1 / content.fps,
      turns: true,
      show: (time) => {
        const later = track.seconds.findIndex((seconds) => seconds > time + 1e-4); // They are rounded to single precision.
        const frame = later < 0 ? track.frames - 1 : later - 1;
        this.avatar.values = Array.from(track.expression.subarray(frame * count, (frame + 1) * count));
        this.avatar.captured = track.pose.subarray(frame * 12, (frame + 1) * 12);
      },
    };
  }

  /** @param {Sequence} document */
  keyframes(document) {
    const list = document?.keyframes;
    if (!Array.isArray(list) || !list.length) throw new PageError("A sequence has a list of keyframes with a time each.");
    const frames = list.map((frame, index) => this.keyframe(frame, index, document.easing ?? "smooth"));
    frames.forEach((frame, index) => {
      if (index && frame.time <= frames[index - 1].time) throw new PageError(`Keyframe ${index} does not come after the one before.`);
    });
    const first = frames[0].time;
    const turns = frames.some((frame) => frame.turns);
    return {
      duration: frames[frames.length - 1].time - first,
      turns,
      show: (time) => {
        const found = frames.findIndex((frame) => frame.time >= first + time); // Rounding may leave none.
        const next = found < 0 ? frames.length - 1 : found;
        const [before, after] = [frames[Math.max(0, next - 1)], frames[next]];
        const share = after === before ? 1 : clamp((first + time - before.time) / (after.time - before.time), 0, 1);
        const fraction = EASINGS[after.easing](share > 1 - 1e-9 ? 1 : share);
        const between = (a, b) => a.map((value, index) => value + fraction * (b[index] - value));
        this.avatar.values = between(before.values, after.values);
        const angles = between(before.angles, after.angles);
        if (turns) this.avatar.turnTo(Object.fromEntries(ANGLES.map((name, index) => [name, angles[index]])));
        else this.avatar.captured = null;
      },
    };
  }

  /** @param {Keyframe} frame @param {number} index @param {string} usual easing */
  keyframe(frame, index, usual) {
    const easing = frame?.easing ?? usual;
    const [expression, head] = [frame?.expression ?? {}, frame?.head ?? {}];
    const time = figure(frame?.time, `the time of keyframe ${index}`);
    for (const [entry, known] of [[frame, ENTRIES], [head, ANGLES]]) {
      const other = Object.keys(entry).find((key) => !known.includes(key));
      if (other) throw new PageError(`Keyframe ${index} has the unknown entry ${other}; there may be ${known.join(", ")}.`);
    }
    if (!Object.hasOwn(EASINGS, easing)) throw new PageError(`Keyframe ${index} has the easing ${easing}; it may be ${Object.keys(EASINGS).join(", ")}.`);
    const values = [...this.avatar.neutral];
    for (const [name, value] of Object.entries(expression)) {
      for (const column of this.columns(name)) values[column] = this.valueOf(value, column, `${name} in keyframe ${index}`);
    }
    const angles = ANGLES.map((name) => figure(head[name] ?? 0, `${name} in keyframe ${index}`));
    return { time, easing, values, angles, turns: Object.keys(head).length > 0 };
  }

  /** Coefficients of a name; without a side it means both. @param {string} name */
  columns(name) {
    const before = this.meant.get(name);
    if (before) return before;
    for (const wanted of [[plainName(name)], [`${plainName(name)}left`, `${plainName(name)}right`]]) {
      const found = this.avatar.names.flatMap((known, index) => (wanted.includes(plainName(known)) ? [index] : []));
      if (found.length) {
        this.meant.set(name, found);
        return found;
      }
    }
    throw new PageError(`The avatar has no coefficient ${name}; it has ${this.avatar.names.slice(0, 6).join(", ")}, …`);
  }

  /** @param {number|string} value @param {number} column @param {string} what for messages */
  valueOf(value, column, what) {
    const percent = typeof value === "string" && /^\s*([+-]?\d+(\.\d+)?)%\s*$/.exec(value);
    if (!percent) return figure(value, what);
    const share = Number(percent[1]) / 100;
    const { neutral, minimum, maximum } = this.avatar;
    const end = share >= 0 ? maximum[column] : minimum[column];
    return neutral[column] + Math.abs(share) * (end - neutral[column]);
  }
}

/** @param {any} value @param {string} what for messages @returns {number} */
function figure(value, what) {
  if (typeof value !== "number" || !Number.isFinite(value)) throw new PageError(`${what} is ${value}, which is no number.`);
  return value;
}
