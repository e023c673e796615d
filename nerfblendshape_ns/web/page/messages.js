// The avatar's interface by postMessage, for pages of named origins that embed this one.

import { levels } from "./picture.js";

/**
 * A message is {avatar: COMMAND, …}: what it asks for, beside it the arguments, and `id` if the answer is wanted.
 * @type {Object<string, (avatar: import("./avatar.js").Avatar, message: any) => any>}
 */
const COMMANDS = {
  get: (avatar) => avatar.get(),
  set: (avatar, { values }) => avatar.set(values),
  pose: (avatar, { pose }) => avatar.pose(pose),
  play: (avatar, { sequence, repeat, speed }) => avatar.play(sequence, { repeat, speed }),
  pause: (avatar) => avatar.pause(),
  reset: (avatar) => avatar.reset(),
  background: (avatar, { color }) => avatar.background(color ? { color: levels(color) } : null),
};

/** @param {import("./avatar.js").Avatar} avatar @param {string[]} origins that may command and listen */
export function listen(avatar, origins) {
  // Files are of no website, though some browsers give all of them one origin.
  const allowed = new Set(location.protocol.startsWith("http") ? [location.origin, ...origins] : origins);
  addEventListener("message", ({ data, origin, source }) => {
    if (!allowed.has(origin) || !source || typeof data?.avatar !== "string" || !Object.hasOwn(COMMANDS, data.avatar)) return;
    const answer = { avatar: "answer", id: data.id };
    try {
      answer.value = COMMANDS[data.avatar](avatar, data);
    } catch (error) {
      answer.error = error.message;
    }
    if (data.id !== undefined || answer.error) source.postMessage(answer, { targetOrigin: origin });
  });
  if (parent === window) return;
  // Browsers report each message to another origin than the parent's as an error; most say what that is.
  const embedder = location.ancestorOrigins?.[0];
  const told = [...allowed].filter((origin) => embedder === undefined || origin === embedder);
  const tell = (message) => told.forEach((origin) => parent.postMessage(message, origin));
  avatar.addEventListener("change", () => tell({ avatar: "change", values: avatar.get(), playing: avatar.playback.playing }));
  avatar.addEventListener("end", () => tell({ avatar: "end" }));
  tell({ avatar: "ready", names: avatar.names, values: avatar.get() });
}
