// Starts the page.

import { Avatar } from "./avatar.js";
import { Coefficients, element } from "./coefficients.js";
import { readData } from "./data.js";
import { Live } from "./live.js";
import { listen } from "./messages.js";
import { Picture } from "./picture.js";
import { Player } from "./player.js";
import { View } from "./view.js";

/** @param {string} text a sentence, or nothing */
function say(text) {
  element("message").textContent = text;
}

/** @param {Avatar} avatar @param {HTMLCanvasElement} canvas */
function addControls(avatar, canvas) {
  const coefficients = new Coefficients(avatar);
  const view = new View(avatar, canvas);
  const player = new Player(avatar, say);
  const picture = new Picture(avatar, canvas, say);
  const keys = { n: () => coefficients.neutral(), r: () => coefficients.random(), s: () => picture.save(), " ": () => player.toggle() };
  addEventListener("keydown", (event) => {
    /** @param {string} kinds of elements */
    const within = (kinds) => event.target instanceof Element && event.target.closest(kinds);
    if (within("input:not([type=range], [type=checkbox]), select") || event.ctrlKey || event.metaKey || event.altKey) return;
    // What was clicked last keeps the keys that it needs itself.
    if (within("input, button, summary") && (event.key === " " || event.key.startsWith("Arrow"))) return;
    const known = keys[event.key.toLowerCase()];
    if (!event.repeat) known?.(); // A key that is held would save image after image.
    if (known || view.key(event.key)) event.preventDefault();
  });
  const { schedule } = avatar;
  new ResizeObserver(([{ contentRect }]) => {
    const [width, height] = avatar.content.size;
    const scale = Math.min(contentRect.width / width, contentRect.height / height);
    schedule.wanted = Math.max(64, scale * Math.max(width, height));
    schedule.ask();
  }).observe(canvas);
  avatar.addEventListener("drawn", ({ detail }) => {
    element("figures").textContent = `${detail.width} x ${detail.height} pixels in ${detail.milliseconds.toFixed(0)} ms.`;
  });
  element("panel").hidden = false;
}

async function start() {
  const canvas = element("canvas");
  const block = element("data");
  const undress = () => document.body.classList.toggle("bare", location.hash === "#bare");
  undress();
  addEventListener("hashchange", undress);
  try {
    const avatar = new Avatar(canvas, await readData(block.textContent));
    block.remove();
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault(); // Else they are never given back.
      say("The browser has taken the graphics away; reload the page if it does not give them back.");
    });
    canvas.addEventListener("webglcontextrestored", () => {
      try {
        avatar.restore();
        say("");
      } catch (error) {
        say(error.message);
      }
    });
    addControls(avatar, canvas);
    if (block.dataset.live) {
      new Live(avatar, say);
      element("live").hidden = false;
    }
    listen(avatar, block.dataset.origins.split(" ").filter(Boolean));
    Object.assign(window, { avatar });
    say("");
    document.body.dataset.state = "ready";
    window.dispatchEvent(new CustomEvent("avatar", { detail: avatar }));
  } catch (error) {
    say(error.message);
    document.body.dataset.state = "failed";
  }
}

start();
