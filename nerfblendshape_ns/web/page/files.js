// Files that a person opens or drops: an expression, keyframes, a table of coefficients, an image.

import { PageError } from "./data.js";
import { readTable } from "./table.js";
import { readYaml } from "./yaml.js";

const MAX_BYTES = 64 << 20;

/**
 * @param {File} file @param {import("./avatar.js").Avatar} avatar
 * @returns {Promise<{expression?: Object<string, number>, sequence?: any, image?: ImageBitmap, note?: string}>}
 * @throws {PageError} it is none of these
 */
export async function readFile(file, avatar) {
  if (file.size > MAX_BYTES) throw new PageError("it is larger than any file of expressions.");
  if (file.type.startsWith("image/")) return { image: await image(file) };
  const text = await file.text();
  if (/\.csv$/i.test(file.name)) return readTable(text, avatar);
  const document = /\.ya?ml$/i.test(file.name) ? readYaml(text) : json(text);
  if (Array.isArray(document?.keyframes)) return { sequence: document };
  const values = document?.expression ?? document;
  if (values && typeof values === "object" && !Array.isArray(values)) return named(values, avatar);
  throw new PageError("it holds neither keyframes nor an expression.");
}

/** @param {File} file */
async function image(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    throw new PageError("the browser cannot read it as an image.");
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
