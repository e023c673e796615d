// The sliders of the coefficients: the most active first, as in the viewer.

import { clamp } from "./algebra.js";
import { makeSlider } from "./slider.js";

const FIRST = 12;

/** @param {string} id @returns {any} */
export function element(id) {
  return document.getElementById(id);
}

/** A coefficient's name without what writers of names differ in. @param {string} name @returns {string} */
export function plainName(name) {
  const sided = name.toLowerCase().replace(/[_\-. ]l$/, "left").replace(/[_\-. ]r$/, "right");
  return sided.replace(/[^\p{L}\p{N}]/gu, "");
}

export class Coefficients {
  /** @param {import("./avatar.js").Avatar} avatar */
  constructor(avatar) {
    this.avatar = avatar;
    const { content, names, minimum, maximum, values } = avatar;
    /** @type {Map<number, ReturnType<typeof makeSlider>>} */
    this.sliders = new Map();
    for (const index of content.order) {
      const [low, high] = [minimum[index], maximum[index]];
      const title = `${names[index]}: ${low.toPrecision(3)} to ${high.toPrecision(3)}`;
      const onInput = (value) => this.edit(index, value);
      this.sliders.set(index, makeSlider({ name: names[index], low, high, value: values[index], title, onInput }));
    }
    const unmoved = names.length - content.order.length;
    element("unmoved").textContent = unmoved ? `${unmoved} more never move in training.` : "";
    element("filter").addEventListener("input", () => this.arrange());
    element("symmetric").addEventListener("change", (event) => (this.symmetric = event.target.checked));
    element("limit").addEventListener("change", (event) => this.limit(event.target.checked));
    element("neutral").addEventListener("click", () => this.neutral());
    element("random").addEventListener("click", () => this.random());
    this.gain = makeSlider({ name: "Exaggerate", low: 0, high: 2, value: 1, onInput: (value) => this.exaggerate(value) });
    element("gain").append(this.gain.row);
    this.symmetric = element("symmetric").checked;
    this.arrange();
    avatar.addEventListener("change", () => this.show());
  }

  /** Set a coefficient, and with it its partner on the other side. @param {number} index @param {number} value */
  edit(index, value) {
    const { avatar } = this;
    avatar.pause();
    const values = [...avatar.values];
    values[index] = value;
    const partner = avatar.content.pairs[index];
    if (this.symmetric && partner !== undefined) values[partner] = value;
    avatar.setAll(values);
  }

  neutral() {
    this.avatar.pause();
    this.avatar.setAll(this.avatar.neutral);
  }

  /** A face that training never showed as a whole: each coefficient from a frame of the clip, or mostly near neutral. */
  random() {
    const { avatar } = this;
    const { track, names, neutral, minimum, maximum, content } = avatar;
    avatar.pause();
    const drawn = names.map(() => [Math.random(), Math.random()]);
    // Faces are nearly symmetric: both sides of a pair come from one frame.
    for (const [index, partner] of Object.entries(content.pairs)) if (Number(index) < partner) drawn[partner] = drawn[index];
    avatar.setAll(drawn.map(([first, second], index) => {
      if (track) return track.expression[Math.floor(first * track.frames) * names.length + index];
      const end = first < 0.5 ? minimum[index] : maximum[index];
      return neutral[index] + second ** 2 * (end - neutral[index]);
    }));
  }

  /** @param {number} gain */
  exaggerate(gain) {
    this.avatar.gain = gain;
    this.avatar.changed();
  }

  /** @param {boolean} on without it sliders go half a range further at both ends */
  limit(on) {
    this.avatar.clamped = on;
    this.avatar.changed();
  }

  /** Show the sliders whose names contain the filter's text. */
  arrange() {
    const text = element("filter").value.trim().toLowerCase();
    const wanted = this.avatar.content.order.filter((index) => this.avatar.names[index].toLowerCase().includes(text));
    const first = text ? wanted.length : FIRST;
    const rows = (indices) => indices.map((index) => this.sliders.get(index).row);
    element("first").replaceChildren(...rows(wanted.slice(0, first)));
    const rest = element("rest");
    rest.hidden = wanted.length <= first;
    rest.firstElementChild.textContent = `${wanted.length - first} more`;
    rest.lastElementChild.replaceChildren(...rows(wanted.slice(first)));
  }

  show() {
    const { values, gain, clamped, minimum, maximum } = this.avatar;
    for (const [index, slider] of this.sliders) {
      const beyond = clamped ? 0 : 0.5 * (maximum[index] - minimum[index]);
      slider.stretch(minimum[index] - beyond, maximum[index] + beyond);
      slider.set(clamp(values[index], minimum[index] - beyond, maximum[index] + beyond));
    }
    this.gain.set(gain);
    element("limit").checked = clamped;
  }
}
