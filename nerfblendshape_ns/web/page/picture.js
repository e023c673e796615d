// Background, saved images and recorded video.

import { element } from "./coefficients.js";
import { PageError } from "./data.js";

const TYPES = ["video/mp4;codecs=avc1", "video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];
const BITS_PER_PIXEL = 24;
/** Time that a picture takes from the canvas into the video. */
const ENCODING_MS = 200;

export class Picture {
  /** @param {import("./avatar.js").Avatar} avatar @param {HTMLCanvasElement} canvas @param {(text: string) => void} say */
  constructor(avatar, canvas, say) {
    this.avatar = avatar;
    this.canvas = canvas;
    this.say = say;
    /** @type {MediaRecorder|null} */
    this.recorder = null;
    /** What is behind the person, and how that is called here. @type {import("./torso.js").Shown} */
    this.shown = null;
    this.choice = "own";
    /** The image that was opened last. @type {import("./torso.js").Shown} */
    this.given = null;
    element("behind").addEventListener("change", () => this.behind());
    element("color").addEventListener("input", () => this.behind());
    avatar.addEventListener("change", () => this.follow());
    element("save").addEventListener("click", () => this.save());
    element("record").addEventListener("click", () => this.record());
    this.choose(this.choice); // A browser that loads the page again fills in what was chosen.
    element("record").disabled = typeof MediaRecorder === "undefined" || !canvas.captureStream;
  }

  /** Show what is chosen. */
  behind() {
    const choice = element("behind").value;
    if (choice === "image") {
      element("file").click();
      this.choose(this.choice); // Until there is a file.
      return;
    }
    const color = choice === "color" ? element("color").value : choice;
    this.shown = choice === "own" ? null : choice === "given" ? this.given : { color: levels(color) };
    this.choose(choice);
    this.avatar.background(this.shown);
  }

  /** Let the controls say what a file, or whoever embeds the page, has put behind the person. */
  follow() {
    const { shown } = this.avatar.renderer.person.background;
    if (shown === this.shown) return;
    this.shown = shown;
    if (shown && "image" in shown) {
      if (!this.given) element("behind").append(new Option("the image", "given"));
      this.given = shown;
    } else if (shown) {
      element("color").value = `#${shown.color.map((level) => Math.round(255 * level).toString(16).padStart(2, "0")).join("")}`;
    }
    this.choose(!shown ? "own" : "image" in shown ? "given" : "color");
  }

  /** @param {string} choice */
  choose(choice) {
    this.choice = choice;
    element("behind").value = choice;
    element("color").hidden = choice !== "color";
  }

  /** Save what is shown in full size; while a video is recorded, in the size of its frames. */
  save() {
    try {
      if (!this.recorder) this.avatar.image(this.avatar.schedule.fullSide);
    } catch (error) {
      this.say(error.message);
      return;
    }
    this.canvas.toBlob((blob) => blob && download(blob, "avatar.png"), "image/png");
  }

  /** Begin to record, or end and save. */
  record() {
    if (this.recorder) {
      this.finish(this.recorder);
      return;
    }
    const { schedule } = this.avatar;
    // A video's frames have one size, of even sides.
    const side = 2 * Math.round(Math.min(schedule.fullSide, Math.max(256, schedule.side(50))) / 2);
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    const stream = this.canvas.captureStream();
    // Else the browser goes on to read every picture.
    const release = () => stream.getTracks().forEach((track) => track.stop());
    /** @type {MediaRecorder} */
    let recorder;
    try {
      recorder = new MediaRecorder(stream, { mimeType, videoBitsPerSecond: BITS_PER_PIXEL * side ** 2 });
    } catch (error) {
      release();
      this.say(`This browser cannot record a video (${error.message}); try another one.`);
      return;
    }
    schedule.hold = side;
    this.avatar.changed();
    /** @type {Blob[]} */
    const parts = [];
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", () => {
      release();
      const type = recorder.mimeType || "video/webm";
      download(new Blob(parts, { type }), `avatar.${type.includes("mp4") ? "mp4" : "webm"}`);
      [this.recorder, schedule.hold] = [null, 0];
      this.show();
      this.avatar.changed();
    });
    this.recorder = recorder;
    recorder.start();
    this.show();
  }

  /**
   * End once the last picture has been drawn again: it lasts until then.
   * @param {MediaRecorder} recorder
   */
  finish(recorder) {
    const stop = () => {
      if (recorder.state === "recording") recorder.stop();
    };
    if (this.avatar.renderer.lost) return stop(); // Nothing is drawn then.
    this.avatar.addEventListener("drawn", () => setTimeout(stop, ENCODING_MS), { once: true });
    this.avatar.changed();
  }

  show() {
    element("record").textContent = this.recorder ? "Stop and save" : "Record video";
    element("record").classList.toggle("on", Boolean(this.recorder));
  }
}

/** @param {string} color #rrggbb @returns {number[]} in [0, 1] @throws {PageError} it is written otherwise */
export function levels(color) {
  if (!/^#[0-9a-f]{6}$/i.test(color)) throw new PageError(`A colour is written #rrggbb, not ${color}.`);
  return [1, 3, 5].map((first) => parseInt(color.slice(first, first + 2), 16) / 255);
}

/** @param {Blob} blob @param {string} name */
function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
