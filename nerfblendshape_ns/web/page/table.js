// Tables of coefficients, a row a frame: CSV with a header, as Live Link Face and others write.

import { plainName } from "./coefficients.js";
import { PageError } from "./data.js";

const RATE = 60;

/**
 * @param {string} text @param {import("./avatar.js").Avatar} avatar
 * @returns {{sequence: import("./playback.js").Sequence, note: string}}
 * @throws {PageError} it has no columns of the avatar's coefficients
 */
export function readTable(text, avatar) {
  const rows = text.trim().split(/\r?\n/).map((line) => line.split(/[,;\t]/).map((cell) => cell.trim()));
  const header = rows[0].map(plainName);
  const columns = avatar.names.flatMap((name) => {
    const column = header.indexOf(plainName(name));
    return column < 0 ? [] : [[name, column]];
  });
  if (!columns.length || rows.length < 2) throw new PageError("its first row names none of this avatar's coefficients.");
  const clock = header.findIndex((name) => ["time", "seconds", "timestamp"].includes(name));
  const keyframes = [];
  for (const [index, row] of rows.slice(1).entries()) {
    const time = clock < 0 ? index / RATE : Number(row[clock]);
    const values = columns.map(([name, column]) => [name, Number(row[column])]);
    const whole = Number.isFinite(time) && values.every(([, value]) => Number.isFinite(value));
    if (whole && (!keyframes.length || time > keyframes[keyframes.length - 1].time)) {
      keyframes.push({ time, expression: Object.fromEntries(values), easing: "linear" });
    }
  }
  const note = clock < 0 ? `The table has no column of times; ${RATE} rows are played a second.` : "";
  return { sequence: { keyframes }, note };
}
