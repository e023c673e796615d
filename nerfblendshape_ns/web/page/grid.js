// Look-ups in a multiresolution hash grid; see nerfblendshape_ns/ops/hash_grid_cells.py.

import { TABLE_WIDTH, texelsOf } from "./gl.js";

/** Fours of features of a position. @param {any} grid */
export function encodedFours(grid) {
  return grid.resolutions.length * texelsOf(grid.features);
}

/** Where a feature of the field's input lies among the shader's, whose levels are filled up to fours. @param {any} grid */
export function featurePlace(grid) {
  const width = 4 * texelsOf(grid.features);
  return (input) => Math.floor(input / grid.features) * width + (input % grid.features);
}

/** @param {any} grid @returns {string} constant arrays that shaders index by the level */
function constants(grid) {
  const levels = grid.resolutions.length;
  const sizes = grid.resolutions.map((_, level) => grid.offsets[level + 1] - grid.offsets[level]);
  const dense = grid.resolutions.map((resolution, level) => (resolution + 1) ** grid.dimensions <= sizes[level]);
  return `
const int RESOLUTIONS[${levels}] = int[](${grid.resolutions.join(", ")});
const int OFFSETS[${levels}] = int[](${grid.offsets.slice(0, levels).join(", ")});
const uint MASKS[${levels}] = uint[](${sizes.map((size) => `${size - 1}u`).join(", ")});
const bool DENSE[${levels}] = bool[](${dense.join(", ")});`;
}

/**
 * `void encode(vecN position, int layer, out vec4 features[…])`, positions in [0, 1].
 * @param {any} grid @param {string} table name of the sampler2DArray
 */
export function gridSource(grid, table) {
  const three = grid.dimensions === 3;
  const texels = texelsOf(grid.features);
  const [position, cell] = three ? ["vec3", "ivec3"] : ["vec2", "ivec2"];
  const row = three ? "x + side * (y + side * z)" : "x + side * y";
  const hash = three ? "x ^ (y * 2654435761u) ^ (z * 805459861u)" : "x ^ (y * 2654435761u)";
  return `${constants(grid)}
vec4 row(int layer, int index, int part) {
  int texel = index * ${texels} + part;
  return texelFetch(${table}, ivec3(texel % ${TABLE_WIDTH}, texel / ${TABLE_WIDTH}, layer), 0);
}
void encode(${position} position, int layer, out vec4 features[${encodedFours(grid)}]) {
  for (int level = 0; level < ${grid.resolutions.length}; level++) {
    int resolution = RESOLUTIONS[level];
    ${position} scaled = clamp(position, 0.0, 1.0) * float(resolution);
    ${cell} low = clamp(${cell}(scaled), 0, resolution - 1);
    ${position} f = scaled - ${position}(low);
    uint side = uint(resolution + 1);
    for (int part = 0; part < ${texels}; part++) features[level * ${texels} + part] = vec4(0.0);
    for (int corner = 0; corner < ${three ? 8 : 4}; corner++) {
      uint x = uint(low.x + (corner & 1)), y = uint(low.y + ((corner >> 1) & 1))${three ? ", z = uint(low.z + (corner >> 2))" : ""};
      float weight = ((corner & 1) == 1 ? f.x : 1.0 - f.x) * ((corner & 2) == 2 ? f.y : 1.0 - f.y)${three ? " * ((corner & 4) == 4 ? f.z : 1.0 - f.z)" : ""};
      int index = OFFSETS[level] + int(DENSE[level] ? ${row} : (${hash}) & MASKS[level]);
      for (int part = 0; part < ${texels}; part++) features[level * ${texels} + part] += weight * row(layer, index, part);
    }
  }
}`;
}
