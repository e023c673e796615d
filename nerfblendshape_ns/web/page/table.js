// Tables of coefficients, a row a frame: CSV with a header, as Live Link Face and others write; see
// nerfblendshape_ns/expressions/tracks/csv_tables.py.

import { plainName } from "./coefficients.js";
import { PageError } from "./data.js";

const RATE = 60;
const DAY = 86400;
/** Frame counts per second that a timecode's last field is taken to run over. */
const TIMECODE_RATES = [24, 25, 30, 48, 50, 60, 90, 120, 240];
const TIMECODE = /^(\d+):(\d+):(\d+)[:;](\d+(?:\.\d+)?)$/;
/** No recording has steps of so many seconds; a column of such steps counts thousandths. */
const SLOWEST_SECONDS = 5;
/** ARKit's coefficients run from 0 to 1; beyond this a table is in percent. */
const LARGEST_ARKIT = 2;
/** Plain names of columns of time, and what one of them is in seconds. @type {Map<string, number>} */
const CLOCKS = new Map([
  ...["time", "timestamp", "seconds", "times", "timesec", "timestamps", "elapsed", "t"].map((name) => [name, 1]),
  ...["timems", "timestampms", "milliseconds", "elapsedms", "tms", "ms"].map((name) => [name, 1e-3]),
  ...["timeus", "timestampus"].map((name) => [name, 1e-6]),
  ...["timens", "timestampns"].map((name) => [name, 1e-9]),
]);
/** Plain names of columns that are 0 where no face was seen. */
const FLAGS = ["blendshapecount", "success", "detected", "facedetected", "facefound", "hasface", "tracked", "valid"];

/**
 * @param {string} text @param {import("./avatar.js").Avatar} avatar
 * @returns {{sequence: import("./playback.js").Sequence, note: string}}
 * @throws {PageError} it has no columns of the avatar's coefficients, no row with a face, or is in percent
 */
export function readTable(text, avatar) {
  const [names, ...rows] = cellsOf(text);
  const header = (names ?? []).map(plainName);
  const columns = avatar.names.flatMap((name) => {
    const column = header.indexOf(plainName(name));
    return column < 0 ? [] : [[name, column]];
  });
  if (!columns.length || !rows.length) throw new PageError("its first row names none of this avatar's coefficients.");
  const { times, note } = clock(header, rows);
  const flags = header.flatMap((name, column) => (FLAGS.includes(name) ? [column] : []));
  const keyframes = [];
  for (const [index, row] of rows.entries()) {
    const time = times ? times[index] : index / RATE;
    const values = columns.map(([name, column]) => [name, figure(row[column])]);
    const seen = flags.every((column) => !/^(|[+-]?0*\.?0*|false|no)$/i.test(row[column] ?? ""));
    const whole = seen && Number.isFinite(time) && values.every(([, value]) => Number.isFinite(value));
    const high = avatar.content.basis === "arkit52" && values.find(([, value]) => value > LARGEST_ARKIT);
    if (whole && high) throw new PageError(`${high[0]} is ${high[1]} in row ${index + 1}, but ARKit's coefficients run from 0 to 1; divide percent by 100.`);
    if (whole && (!keyframes.length || time > keyframes[keyframes.length - 1].time)) {
      keyframes.push({ time, expression: Object.fromEntries(values), easing: "linear" });
    }
  }
  if (!keyframes.length) throw new PageError("none of its rows has a number for each coefficient.");
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

/** A number, NaN where there is none. @param {string|undefined} cell */
function figure(cell) {
  return cell ? Number(cell) : NaN;
}

/**
 * Seconds of each row, null where no column tells, and what a person should know of them.
 * @param {string[]} header @param {string[][]} rows @returns {{times: number[]|null, note: string}}
 */
function clock(header, rows) {
  const coded = header.indexOf("timecode");
  const codes = rows.map((row) => TIMECODE.exec(row[coded] ?? ""));
  if (codes.every(Boolean)) return { times: timecodes(codes), note: "" };
  const name = [...CLOCKS.keys()].find((known) => header.includes(known));
  if (!name) return { times: null, note: `The table has no column of times; ${RATE} rows are played a second.` };
  const column = header.indexOf(name);
  const times = rows.map((row) => figure(row[column]));
  const said = CLOCKS.get(name);
  let unit = said;
  const steps = times.slice(1).map((time, index) => Math.abs(time - times[index])).filter(Number.isFinite).sort((a, b) => a - b);
  if (said === 1) while (steps[steps.length >> 1] * unit > SLOWEST_SECONDS && unit > 1e-9) unit *= 1e-3;
  const words = { 3: "milliseconds", 6: "microseconds", 9: "nanoseconds" }[Math.round(-Math.log10(unit))];
  return { times: times.map((time) => time * unit), note: unit === said ? "" : `Its times are taken for ${words}.` };
}

/** Seconds of timecodes, whose last field counts frames at the smallest usual rate that it fits. @param {RegExpExecArray[]} codes */
function timecodes(codes) {
  const fields = codes.map((code) => code.slice(1).map(Number));
  const seconds = fields.map(([hours, minutes, second]) => hours * 3600 + minutes * 60 + second);
  const largest = fields.reduce((most, [, , , frame]) => Math.max(most, Math.floor(frame)), 0);
  const rate = new Set(seconds).size < 2 ? RATE : (TIMECODE_RATES.find((known) => known > largest) ?? largest + 1);
  let days = 0;
  return seconds.map((second, index) => {
    if (index && second - seconds[index - 1] < -DAY / 2) days++;
    return days * DAY + second + fields[index][3] / rate;
  });
}
