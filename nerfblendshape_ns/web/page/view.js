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
      const onInput = (value) => (name === "zoom" ? avatar.pose({ zoom: value }) : this.turn({ [name]: value }));
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
    avatar.addEventListener("change", () => this.sliders.forEach(({ name, slider }) => slider.set(avatar.turn[name])));
  }

  /** @param {import("./avatar.js").Turn} turn */
  turn(turn) {
    if (this.avatar.captured) this.avatar.pause();
    this.avatar.pose(turn);
  }

  front() {
    this.turn({ yaw: 0, pitch: 0, roll: 0, zoom: 1 });
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
      this.turn({ yaw: yaw + (event.clientX - before.clientX) * degrees, pitch: pitch + (event.clientY - before.clientY) * degrees });
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
      ArrowLeft: () => this.turn({ yaw: yaw - KEY }),
      ArrowRight: () => this.turn({ yaw: yaw + KEY }),
      ArrowUp: () => this.turn({ pitch: pitch - KEY }),
      ArrowDown: () => this.turn({ pitch: pitch + KEY }),
      "+": () => this.zoom(1.1),
      "-": () => this.zoom(1 / 1.1),
      0: () => this.front(),
    };
    actions[key]?.();
    return key in actions;
  }
}
