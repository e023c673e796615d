// A live face, from a program of this machine (nbs-bridge).

import { element, plainName } from "./coefficients.js";

/** How a connection ends that this page has closed. */
const DISCONNECTED = 1005;
const ADDRESS = /^ws:\/\/127\.0\.0\.1:\d+\//;

export class Live {
  /** @param {import("./avatar.js").Avatar} avatar @param {(text: string) => void} say */
  constructor(avatar, say) {
    this.avatar = avatar;
    this.say = say;
    this.plain = new Map(avatar.names.map((name, index) => [plainName(name), index]));
    /** @type {WebSocket|null} */
    this.socket = null;
    element("connect").addEventListener("click", () => (this.socket ? this.socket.close() : this.connect(element("address").value.trim())));
  }

  /** @param {string} address as nbs-bridge prints it */
  connect(address) {
    /** @type {WebSocket} */
    let socket;
    try {
      if (!ADDRESS.test(address)) throw new SyntaxError();
      socket = new WebSocket(address); // It also throws where the port is none.
    } catch {
      this.say("Enter the address that nbs-bridge prints; it begins with ws://127.0.0.1.");
      return;
    }
    let opened = false;
    socket.addEventListener("open", () => (opened = true));
    socket.addEventListener("message", ({ data }) => this.receive(data));
    socket.addEventListener("close", ({ code }) => {
      this.socket = null;
      element("connect").textContent = "Connect";
      if (!opened) this.say("There is no connection; is nbs-bridge running, and is this the address that it printed?");
      else if (code !== DISCONNECTED) this.say("nbs-bridge has ended the connection; start it again and enter the address that it then prints.");
    });
    this.socket = socket;
    element("connect").textContent = "Disconnect";
    this.say("");
  }

  /** Show a face; what the avatar lacks is left out. @param {string} text */
  receive(text) {
    let expression;
    try {
      ({ expression } = JSON.parse(text));
    } catch {
      return;
    }
    if (!expression || typeof expression !== "object") return;
    const { avatar } = this;
    const values = [...avatar.neutral];
    for (const [name, value] of Object.entries(expression)) {
      const index = this.plain.get(plainName(name));
      if (index !== undefined && Number.isFinite(value)) values[index] = value;
    }
    avatar.pause();
    avatar.setAll(values);
  }
}
