// The controls of playback, and files that a person opens.

import { element } from "./coefficients.js";
import { readFile } from "./files.js";
import { makeSlider } from "./slider.js";

export class Player {
  /** @param {import("./avatar.js").Avatar} avatar @param {(text: string) => void} say */
  constructor(avatar, say) {
    this.avatar = avatar;
    this.say = say;
    /** @type {Map<string, import("./playback.js").Sequence|"track">} */
    this.sequences = new Map(avatar.track ? [["the clip", "track"]] : []);
    this.seek = makeSlider({ name: "Seconds", low: 0, high: 1, value: 0, onInput: (value) => this.go(value) });
    this.speed = makeSlider({ name: "Speed", low: 0.1, high: 3, value: 1, onInput: (value) => (avatar.playback.speed = value) });
    element("clock").append(this.seek.row, this.speed.row);
    element("play").addEventListener("click", () => this.toggle());
    element("sequence").addEventListener("change", () => this.start());
    element("repeat").addEventListener("change", (event) => (avatar.playback.repeat = event.target.checked));
    element("open").addEventListener("click", () => element("file").click());
    element("file").addEventListener("change", (event) => {
      for (const file of event.target.files) this.open(file);
      event.target.value = "";
    });
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      for (const file of event.dataTransfer?.files ?? []) this.open(file);
    });
    avatar.addEventListener("change", () => this.show());
    this.list();
    this.show();
  }

  list() {
    const options = [...this.sequences.keys()].map((name) => new Option(name, name));
    element("sequence").replaceChildren(...options);
    element("sequence").hidden = !options.length;
    element("play").disabled = !options.length;
  }

  /** Begin what is chosen. */
  start() {
    this.avatar.play(this.sequences.get(element("sequence").value));
  }

  toggle() {
    const { playback } = this.avatar;
    if (playback.playing) this.avatar.pause();
    else if (playback.sequence) this.avatar.play();
    else if (this.sequences.size) this.start();
    this.avatar.changed();
  }

  /** @param {number} time */
  go(time) {
    const { playback } = this.avatar;
    if (!playback.sequence) return;
    this.avatar.pause();
    playback.seek(time);
  }

  /** @param {File} file of keyframes, an expression, a table, or an image for the background */
  async open(file) {
    try {
      const opened = await readFile(file, this.avatar);
      if (opened.image) this.avatar.background({ image: opened.image });
      if (opened.expression) this.avatar.show(opened.expression);
      if (opened.sequence) {
        this.avatar.playback.keyframes(opened.sequence);
        this.sequences.set(file.name, opened.sequence);
        this.list();
        element("sequence").value = file.name;
        this.start();
      }
      this.say(opened.note ?? "");
    } catch (error) {
      this.say(`${file.name}: ${error.message}`);
    }
  }

  show() {
    const { playing, sequence, time, speed, repeat } = this.avatar.playback;
    element("play").textContent = playing ? "Pause" : "Play";
    this.seek.row.hidden = !sequence;
    if (sequence) this.seek.stretch(0, Math.max(sequence.duration, 0.01));
    this.seek.set(time);
    this.speed.set(speed);
    element("repeat").checked = repeat;
  }
}
