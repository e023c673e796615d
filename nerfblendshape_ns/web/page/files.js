// Files that a person opens or drops: an expression, keyframes, a table of coefficients, an image.

import { PageError } from "./data.js";
import { readTable } from "./table.js";
import { readYaml } from "./yaml.js";

const MAX_BYTES = 64 << 20;
/** Longer side of a background; every device has textures of this size. */
const LARGEST_IMAGE = 2048;

/**
 * @param {File} file @param {import("./avatar.js").Avatar} avatar
 * @returns {Promise<{expression?: Object<string, number>, sequence?: any, image?: ImageBitmap, note?: string}>}
 * @throws {PageError} it is none of these
 */
export async function readFile(file, avatar) {
  if (file.size > MAX_BYTES) throw new PageError("it is larger than any file of expressions.");
  if (file.type.startsWith("image/")) return { image: await image(file, avatar.content.size) };
  const text = decoded(await file.arrayBuffer());
  if (/\.[ct]sv$/i.test(file.name)) return readTable(text, avatar);
  const document = /\.ya?ml$/i.test(file.name) ? readYaml(text) : json(text);
  if (Array.isArray(document?.keyframes)) return { sequence: document };
  const values = document?.expression ?? document;
  if (values && typeof values === "object" && !Array.isArray(values)) return named(values, avatar);
  throw new PageError("it holds neither keyframes nor an expression.");
}

/** Text in UTF-8, or in UTF-16 where its first bytes say so. @param {ArrayBuffer} buffer */
function decoded(buffer) {
  const [first, second] = new Uint8Array(buffer);
  const wide = { 0xfffe: "utf-16le", 0xfeff: "utf-16be" }[first * 256 + second];
  return new TextDecoder(wide ?? "utf-8").decode(buffer);
}

/** Its middle, in the proportions of the picture, which it fills. @param {File} file @param {number[]} size of the picture */
async function image(file, [width, height]) {
  /** @type {ImageBitmap|undefined} */
  let whole;
  try {
    whole = await createImageBitmap(file);
    const scale = Math.min(whole.width / width, whole.height / height);
    const sides = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
    const shrink = Math.min(1, LARGEST_IMAGE / Math.max(...sides));
    const [resizeWidth, resizeHeight] = sides.map((side) => Math.max(1, Math.round(side * shrink)));
    const [left, top] = [whole.width - sides[0], whole.height - sides[1]].map((rest) => Math.floor(rest / 2));
    return await createImageBitmap(whole, left, top, ...sides, { resizeWidth, resizeHeight, resizeQuality: "high" });
  } catch {
    throw new PageError("the browser cannot read it as an image.");
  } finally {
    whole?.close();
  }
}

/** @param {string} text */
function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new PageError("it is not JSON.");
  }
}

/** Coefficients by name, those that the avatar has. @param {Object<string, any>} values @param {any} avatar */
function named(values, avatar) {
  const known = Object.entries(values).filter(([name, value]) => avatar.names.includes(name) && Number.isFinite(value));
  if (!known.length) throw new PageError("it has none of this avatar's coefficients.");
  const left = Object.keys(values).length - known.length;
  return { expression: Object.fromEntries(known), note: left ? `${left} of its values are not of this avatar and were left out.` : "" };
}
