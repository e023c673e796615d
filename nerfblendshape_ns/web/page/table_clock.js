// When the rows of a table are: its column of timecodes, seconds or frame numbers; see
// nerfblendshape_ns/expressions/tracks/table_clock.py and timecodes.py there.

import { PageError } from "./data.js";

/** Rows (of numbered rows: frames) per second where a table says nothing of time, as nbs-drive takes them. */
const RATE = 25;
/** Frame counts per second of timecodes within a second, which do not show how far they go. */
const SHORT_RATE = 60;
const DAY = 86400;
/** Frame counts per second that a timecode's last field is taken to run over; of drop-frame timecodes the usual two. */
const TIMECODE_RATES = [24, 25, 30, 48, 50, 60, 90, 120, 240];
const DROP_FRAME_RATES = [30, 60];
const POINTED = /^(\d+:\d+:\d+)\.(\d+)$/;
/** Usual rates of recordings; a measured one within 2 % is taken for the nearest of them. */
const RECORDING_RATES = [23.976, 24, 25, 29.97, 30, 48, 50, 59.94, 60, 90, 100, 120, 240];
/** No recording has steps of so many seconds; a column of such steps counts thousandths. */
const SLOWEST_SECONDS = 5;
/** Plain names of columns of time, and what one of them is in seconds. @type {Map<string, number>} */
const CLOCKS = new Map([
  ...["time", "timestamp", "seconds", "times", "timesec", "timestamps", "elapsed", "t"].map((name) => [name, 1]),
  ...["timems", "timestampms", "milliseconds", "elapsedms", "tms", "ms"].map((name) => [name, 1e-3]),
  ...["timeus", "timestampus"].map((name) => [name, 1e-6]),
  ...["timens", "timestampns"].map((name) => [name, 1e-9]),
]);
const FRAMES = ["frame", "frameid", "frameindex", "framenumber", "framenum", "frameno", "frameidx", "imgid"];

/** A number, NaN where there is none. @param {string|undefined} cell */
export function figure(cell) {
  return cell ? Number(cell) : NaN;
}

/**
 * Seconds of each row, NaN where a row has none, and what a person should know of them.
 * @param {string[]} header plain names @param {string[][]} rows @returns {{times: number[], note: string}}
 * @throws {PageError} a timecode is none
 */
export function readClock(header, rows) {
  const name = ["timecode", ...CLOCKS.keys(), ...FRAMES].find((known) => header.includes(known));
  if (!name) return { times: rows.map((_, row) => row / RATE), note: `The table has no column of times; ${RATE} rows are played a second.` };
  const column = header.indexOf(name);
  const cells = rows.map((row) => row[column] ?? "");
  if (name === "timecode" && cells.some((cell) => /[:;]/.test(cell))) return timecodes(withColons(cells));
  const times = cells.map(figure);
  // Some programs write whole numbers under the name of a timecode.
  if (FRAMES.includes(name) || (name === "timecode" && !times.some((time) => time % 1))) {
    return { times: times.map((frame) => frame / RATE), note: `The table numbers frames and has no times; ${RATE} are played a second.` };
  }
  const said = CLOCKS.get(name) ?? 1;
  let unit = said;
  const between = steps(times).map(Math.abs).filter(Number.isFinite).sort((a, b) => a - b);
  if (CLOCKS.get(name) === 1) while (between[between.length >> 1] * unit > SLOWEST_SECONDS && unit > 1e-9) unit *= 1e-3;
  const words = { 3: "milliseconds", 6: "microseconds", 9: "nanoseconds" }[Math.round(-Math.log10(unit))];
  return { times: times.map((time) => time * unit), note: unit === said ? "" : `Its times are taken for ${words}.` };
}

/** @param {number[]} values @returns {number[]} from each to the next */
function steps(values) {
  return values.slice(1).map((value, index) => value - values[index]);
}

/**
 * HH:MM:SS.FF as HH:MM:SS:FF, where two digits below 60 are frames; fractions of a second with no frames behind them.
 * @param {string[]} cells
 */
function withColons(cells) {
  const found = cells.map((cell) => POINTED.exec(cell) ?? []);
  if (!found.every((parts) => parts.length)) return cells;
  const areFrames = found.every(([, , last]) => /^[0-5]\d$/.test(last));
  return found.map(([all, clock, last]) => (areFrames ? `${clock}:${last}` : `${all}:0`));
}

/**
 * Seconds of timecodes HH:MM:SS:FF.subframe, whose last field counts frames at the smallest usual rate that it fits.
 * @param {string[]} cells
 */
function timecodes(cells) {
  const fields = cells.map((cell, row) => {
    const parts = cell.replaceAll(";", ":").split(":").map((part) => figure(part.trim()));
    if (parts.length !== 4 || !parts.every(Number.isFinite)) throw new PageError(`row ${row + 1} has the timecode ${cell}, which is not HH:MM:SS:FF.`);
    return parts;
  });
  const clocks = fields.map(([hours, minutes, second]) => hours * 3600 + minutes * 60 + second);
  let days = 0;
  const whole = clocks.map((second, row) => {
    if (row && second - clocks[row - 1] < -DAY / 2) days++; // Midnight.
    return days * DAY + second;
  });
  const largest = fields.reduce((most, [, , , frame]) => Math.max(most, Math.floor(frame)), 0);
  const drop = cells.every((cell) => cell.includes(";"));
  const rates = drop ? [...DROP_FRAME_RATES, ...TIMECODE_RATES] : TIMECODE_RATES;
  const rate = new Set(clocks).size < 2 ? SHORT_RATE : (rates.find((known) => known > largest) ?? largest + 1);
  const times = whole.map((second, row) => {
    const frame = fields[row][3];
    if (!drop || !DROP_FRAME_RATES.includes(rate)) return second + frame / rate;
    // 2 numbers of 30 (4 of 60) are left out at the start of a minute, but not of every tenth.
    const minute = Math.floor(second / 60);
    return ((rate * second + frame - (rate / 15) * (minute - Math.floor(minute / 10))) * 1.001) / rate;
  });
  const implied = steps(times).every((step) => step > 0) || steps(whole).some((step) => step < 0) ? null : impliedRate(whole, largest + 1);
  if (!implied) return { times, note: "" };
  const note = `The frames of its timecodes step back while the seconds go on; ${Number(implied.toPrecision(6))} rows are played a second.`;
  return { times: times.map((_, row) => row / implied), note };
}

/**
 * Rows per second by the straight line through whole seconds, null where they are too few.
 * @param {number[]} whole @param {number} counted frames of a second; taken where the line does not speak against it
 */
function impliedRate(whole, counted) {
  const extent = whole[whole.length - 1] - whole[0];
  if (extent < 2) return null;
  const middle = (whole.length - 1) / 2;
  const rise = whole.reduce((sum, second, row) => sum + (row - middle) * (second - whole[0]), 0);
  const measured = whole.reduce((sum, _, row) => sum + (row - middle) ** 2, 0) / rise;
  // The seconds where the recording begins and ends are not whole, which tilts the line the less the longer it is.
  if (Math.abs(counted - measured) <= Math.max(5e-4, 1 / extent ** 2) * measured) return counted;
  const nearest = RECORDING_RATES.reduce((best, known) => (Math.abs(known - measured) < Math.abs(best - measured) ? known : best));
  return Math.abs(nearest - measured) <= 0.02 * measured ? nearest : measured;
}
