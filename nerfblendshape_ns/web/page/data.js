// Reads the page's data block; see nerfblendshape_ns/web/packing.py.

/** Something that a person is told in one sentence. */
export class PageError extends Error {}

/** @typedef {{type: string, shape: number[], data: Int8Array|Uint8Array|Uint16Array|Float32Array}} NamedArray */
/** @typedef {{content: any, arrays: Object<string, NamedArray>}} PageData */

const TYPES = { uint8: Uint8Array, int8: Int8Array, float16: Uint16Array, float32: Float32Array };
const ALIGNMENT = 8;
const VERSION = 1;

/**
 * @param {string} block base64 of the compressed data
 * @returns {Promise<PageData>}
 * @throws {PageError} the block is truncated, damaged or of another version, or the browser cannot unpack it
 */
export async function readData(block) {
  if (typeof DecompressionStream === "undefined") {
    throw new PageError("This browser is too old to unpack the page's data; update it, or try another one.");
  }
  let data;
  try {
    data = parse(await inflate(decode(block)));
  } catch (error) {
    throw new PageError(`The page's data are truncated or damaged (${error.message}); save or export the page again.`);
  }
  if (data.content.version !== VERSION) {
    throw new PageError(`The page's data are of version ${data.content.version}, its scripts read ${VERSION}; export it again.`);
  }
  return data;
}

/** @param {string} block @returns {Uint8Array} */
function decode(block) {
  const text = atob(block.trim());
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
  return bytes;
}

/** @param {Uint8Array} bytes @returns {Promise<ArrayBuffer>} */
async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** @param {ArrayBuffer} buffer @returns {PageData} */
function parse(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const start = Math.ceil((4 + length) / ALIGNMENT) * ALIGNMENT;
  /** @type {Object<string, NamedArray>} */
  const arrays = {};
  for (const [name, entry] of Object.entries(head.arrays)) {
    const count = entry.shape.reduce((product, side) => product * side, 1);
    arrays[name] = { type: entry.type, shape: entry.shape, data: new TYPES[entry.type](buffer, start + entry.offset, count) };
  }
  return { content: head.content, arrays };
}
