// Background, saved images and recorded video.

import { element } from "./coefficients.js";

const TYPES = ["video/mp4;codecs=avc1", "video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];
const BITS_PER_PIXEL = 24;

export class Picture {
  /** @param {import("./avatar.js").Avatar} avatar @param {HTMLCanvasElement} canvas @param {(text: string) => void} say */
  constructor(avatar, canvas, say) {
    this.avatar = avatar;
    this.canvas = canvas;
    this.say = say;
    /** @type {MediaRecorder|null} */
    this.recorder = null;
    element("behind").addEventListener("change", () => this.behind());
    element("color").addEventListener("input", () => this.behind());
    element("save").addEventListener("click", () => this.save());
    element("record").addEventListener("click", () => this.record());
    element("record").disabled = typeof MediaRecorder === "undefined" || !canvas.captureStream;
  }

  behind() {
    const choice = element("behind").value;
    element("color").hidden = choice !== "color";
    if (choice === "image") {
      element("file").click();
      element("behind").value = "own";
    } else if (choice === "own") this.avatar.background(null);
    else this.avatar.background({ color: levels(choice === "color" ? element("color").value : choice) });
  }

  /** Save what is shown in full size. */
  save() {
    this.avatar.image(this.avatar.schedule.fullSide);
    this.canvas.toBlob((blob) => blob && download(blob, "avatar.png"), "image/png");
  }

  /** Begin to record, or end and save. */
  record() {
    if (this.recorder) {
      this.recorder.stop();
      return;
    }
    const { schedule } = this.avatar;
    // A video's frames have one size, of even sides.
    schedule.hold = 2 * Math.round(Math.min(schedule.fullSide, Math.max(256, schedule.side(50))) / 2);
    this.avatar.changed();
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    const videoBitsPerSecond = BITS_PER_PIXEL * schedule.hold ** 2;
    const recorder = new MediaRecorder(this.canvas.captureStream(), { mimeType, videoBitsPerSecond });
    /** @type {Blob[]} */
    const parts = [];
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", () => {
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

  show() {
    element("record").textContent = this.recorder ? "Stop and save" : "Record video";
    element("record").classList.toggle("on", Boolean(this.recorder));
  }
}

/** @param {string} color #rrggbb @returns {number[]} in [0, 1] */
export function levels(color) {
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
