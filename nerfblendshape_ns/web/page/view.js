// Turning and zooming: pointer, wheel, two fingers, keys and sliders.

import { element } from "./coefficients.js";
import { ROLL_RANGE, ZOOM_RANGE } from "./avatar.js";
import { makeSlider } from "./slider.js";

/** Degrees of a drag across the canvas, and of a key. */
const DRAG = 60;
const KEY = 2;

export class View {
  /** @param {import("./avatar.js").Avatar} avatar @param {HTMLCanvasElement} canvas */
  constructor(avatar, canvas) {
    this.avatar = avatar;
    this.canvas = canvas;
    /** @type {Map<number, PointerEvent>} */
    this.pointers = new Map();
    const ranges = { yaw: avatar.content.range.yaw, pitch: avatar.content.range.pitch, roll: ROLL_RANGE, zoom: ZOOM_RANGE };
    this.sliders = Object.entries(ranges).map(([name, [low, high]]) => {
      const onInput = (value) => avatar.pose({ [name]: value });
      const slider = makeSlider({ name: name[0].toUpperCase() + name.slice(1), low, high, value: avatar.turn[name], onInput });
      element("turns").append(slider.row);
      return { name, slider };
    });
    element("front").addEventListener("click", () => this.front());
    element("orbit").addEventListener("change", (event) => {
      avatar.orbit = event.target.checked;
      avatar.changed();
    });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return; // It opens a menu, after which the browser may not tell of its end.
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
    });
    canvas.addEventListener("pointermove", (event) => this.dragged(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(kind, (event) => this.pointers.delete(event.pointerId));
    }
    const zoomed = (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * 0.001));
    };
    canvas.addEventListener("wheel", zoomed, { passive: false });
    avatar.addEventListener("change", () => this.show());
    this.show(); // A browser that loads the page again fills in what was chosen.
  }

  show() {
    this.sliders.forEach(({ name, slider }) => slider.set(this.avatar.turn[name]));
    element("orbit").checked = this.avatar.orbit;
  }

  front() {
    this.avatar.pose({ yaw: 0, pitch: 0, roll: 0, zoom: 1 });
  }

  /** @param {number} factor */
  zoom(factor) {
    this.avatar.pose({ zoom: this.avatar.turn.zoom * factor });
  }

  /** @param {PointerEvent} event */
  dragged(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const { yaw, pitch } = this.avatar.turn;
    if (this.pointers.size === 1) {
      const side = Math.min(this.canvas.clientWidth, this.canvas.clientHeight);
      const degrees = DRAG / side;
      this.avatar.pose({ yaw: yaw + (event.clientX - before.clientX) * degrees, pitch: pitch + (event.clientY - before.clientY) * degrees });
    } else {
      const [other] = [...this.pointers.values()].filter((pointer) => pointer.pointerId !== event.pointerId);
      const apart = (pointer) => Math.hypot(pointer.clientX - other.clientX, pointer.clientY - other.clientY);
      this.zoom(apart(event) / Math.max(apart(before), 1));
    }
    this.pointers.set(event.pointerId, event);
  }

  /** @param {string} key @returns {boolean} whether it means something */
  key(key) {
    const { yaw, pitch } = this.avatar.turn;
    const actions = {
      ArrowLeft: () => this.avatar.pose({ yaw: yaw - KEY }),
      ArrowRight: () => this.avatar.pose({ yaw: yaw + KEY }),
      ArrowUp: () => this.avatar.pose({ pitch: pitch - KEY }),
      ArrowDown: () => this.avatar.pose({ pitch: pitch + KEY }),
      "+": () => this.zoom(1.1),
      "-": () => this.zoom(1 / 1.1),
      0: () => this.front(),
    };
    actions[key]?.();
    return key in actions;
  }
}
