// Tables of coefficients, a row a frame: CSV with a header, as Live Link Face and others write; see
// nerfblendshape_ns/expressions/tracks/csv_tables.py.

import { plainName } from "./coefficients.js";
import { PageError } from "./data.js";
import { figure, readClock } from "./table_clock.js";

/** ARKit's coefficients run from 0 to 1; beyond this a table is in percent. */
const LARGEST_ARKIT = 2;
/** Plain names of columns that are 0 where no face was seen. */
const FLAGS = ["blendshapecount", "success", "detected", "facedetected", "facefound", "hasface", "tracked", "valid"];

/**
 * @param {string} text @param {import("./avatar.js").Avatar} avatar
 * @returns {{sequence: import("./playback.js").Sequence, note: string}}
 * @throws {PageError} it has no columns of the avatar's coefficients, no row with a face, times that do not ascend, or is
 *   in percent
 */
export function readTable(text, avatar) {
  const [names, ...lines] = cellsOf(text);
  const header = (names ?? []).map((name) => plainName(name.replace(/^blendShapes\./i, ""))); // As Audio2Face writes them.
  const rows = lines.filter((row) => row.some(Boolean));
  const columns = avatar.names.flatMap((name) => {
    const column = header.indexOf(plainName(name));
    return column < 0 ? [] : [[name, column]];
  });
  if (!columns.length || !rows.length) throw new PageError("its first row names none of this avatar's coefficients.");
  const { times, note } = readClock(header, rows);
  const flags = header.flatMap((name, column) => (FLAGS.includes(name) ? [column] : []));
  const without = rows.map((row) => flags.some((column) => /^(|[+-]?0*\.?0*|false|no)$/i.test(row[column] ?? "")));
  const keyframes = [];
  let before = -Infinity;
  for (const [index, row] of rows.entries()) {
    const time = times[index];
    if (!Number.isFinite(time)) continue;
    if (time <= before) throw new PageError(`the time of row ${index + 1} is not after that of the row before; sort the rows.`);
    before = time;
    const values = columns.map(([name, column]) => [name, figure(row[column])]);
    if (without[index] || !values.every(([, value]) => Number.isFinite(value))) continue;
    const high = avatar.content.basis === "arkit52" && values.find(([, value]) => value > LARGEST_ARKIT);
    if (high) throw new PageError(`${high[0]} is ${high[1]} in row ${index + 1}, but ARKit's coefficients run from 0 to 1; divide percent by 100.`);
    keyframes.push({ time, expression: Object.fromEntries(values), easing: "linear" });
  }
  if (!keyframes.length) throw new PageError("none of its rows has a number for each coefficient.");
  // A recording whose face is not seen at its ends begins and ends when it did.
  if (without[0] && times[0] < keyframes[0].time) keyframes.unshift({ ...keyframes[0], time: times[0] });
  if (without[rows.length - 1] && before > keyframes[keyframes.length - 1].time) keyframes.push({ ...keyframes[keyframes.length - 1], time: before });
  return { sequence: { keyframes }, note };
}

/** Rows of cells: comma, semicolon or tab between them, decimal points or, beside the latter two, commas. @param {string} text */
function cellsOf(text) {
  const lines = text.split(/\r\n|\r|\n/).filter((line) => line.trim() && !line.startsWith("#"));
  if (/^sep=.\s*$/i.test(lines[0] ?? "")) lines.shift();
  const counts = [",", ";", "\t"].map((mark) => (lines[0] ?? "").split(mark).length);
  const mark = [",", ";", "\t"][counts.indexOf(Math.max(...counts))];
  const quoted = new RegExp(`${mark}(?=(?:[^"]*"[^"]*")*[^"]*$)`);
  return lines.map((line, index) =>
    line.split(line.includes('"') ? quoted : mark).map((cell) => {
      const plain = cell.trim().replace(/^"(.*)"$/, "$1").trim();
      return mark === "," || !index ? plain : plain.replace(",", ".");
    }),
  );
}
