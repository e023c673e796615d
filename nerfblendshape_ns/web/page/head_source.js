// The fragment shader of the head: marches the occupancy, moves samples to canonical space, looks up, composites.

import { CAMERA_SOURCE } from "./camera_source.js";
import { encodedFours, gridSource } from "./grid.js";
import { fours, layerSource, networkSource } from "./network.js";

const HARMONICS = `
void harmonics(vec3 d, out vec4 y[4]) {
  vec3 s = d * d;
  y[0] = vec4(0.28209479177387814, 0.4886025119029199 * d.y, 0.4886025119029199 * d.z, 0.4886025119029199 * d.x);
  y[1] = vec4(1.0925484305920792 * d.x * d.y, 1.0925484305920792 * d.y * d.z, 0.9461746957575601 * s.z - 0.31539156525251999,
              1.0925484305920792 * d.x * d.z);
  y[2] = vec4(0.5462742152960396 * (s.x - s.y), 0.5900435899266435 * d.y * (3.0 * s.x - s.y), 2.890611442640554 * d.x * d.y * d.z,
              0.4570457994644658 * d.y * (5.0 * s.z - 1.0));
  y[3] = vec4(0.3731763325901154 * d.z * (5.0 * s.z - 3.0), 0.4570457994644658 * d.x * (5.0 * s.z - 1.0),
              1.445305721320277 * d.z * (s.x - s.y), 0.5900435899266435 * d.x * (s.x - 3.0 * s.y));
}`;

// Anderson's method of depth one, as in nerfblendshape_ns/ops/canonical_kernels.py.
const canonicalSource = (side) => `
uniform sampler3D motion;
vec3 displacement(vec3 p) { return textureLod(motion, (p * ${side - 1}.0 + 0.5) / ${side}.0, 0.0).xyz; }
vec3 canonical(vec3 unit) {
  vec3 found = unit, lastChange = unit, lastStep = unit;
  for (int iteration = 0; iteration < 4; iteration++) {
    vec3 next = unit - displacement(found) - found;
    vec3 change = next;
    if (iteration > 0) {
      vec3 difference = next - lastStep;
      float factor = dot(difference, next) / max(dot(difference, difference), 1.0e-12);
      change = next - clamp(factor, -2.0, 0.9) * (lastChange + difference);
    }
    found = clamp(found + change, 0.0, 1.0);
    lastStep = next;
    lastChange = change;
  }
  return found;
}`;

// What lies between the lids is turned back with its eye, as there.
const eyesSource = ({ centres, size, nearest, whole, end }) => `
uniform sampler2D opening;
uniform vec2 turns[2];
vec3 turnedBack(vec3 point) {
  bool right = point.x < ${number(0.5 * (centres[0][0] + centres[1][0]))};
  vec3 eye = right ? vec3(${centres[0].map(number).join(", ")}) : vec3(${centres[1].map(number).join(", ")});
  vec3 size = vec3(${size.map(number).join(", ")});
  vec3 offset = (point - eye) * size;
  float away = length(offset);
  float weight = clamp((${number(end)} - away) / ${number(end - whole)}, 0.0, 1.0);
  if (weight > 0.0) weight *= textureLod(opening, point.xz, 0.0).r;
  if (weight <= 0.0) return point;
  vec2 turn = (right ? turns[0] : turns[1]) / max(away, ${number(nearest)});
  vec2 s = sin(turn), c = cos(turn);
  vec3 back = vec3(c.y * offset.x + s.y * offset.y, c.y * offset.y - s.y * offset.x, offset.z);
  back = vec3(back.x, c.x * back.y + s.x * back.z, c.x * back.z - s.x * back.y);
  return point + weight * (back - offset) / size;
}`;

const partsSource = ({ rear, border }) => `
uniform usampler2D face;
int partOf(vec3 p) {
  ivec2 side = textureSize(face, 0);
  ivec2 cell = clamp(ivec2(p.xz * vec2(side)), ivec2(0), side - 1);
  bool onFace = texelFetch(face, cell, 0).r > 0u && p.y < ${number(rear)};
  return onFace ? (p.z < ${number(border)} ? 1 : 2) : 0;
}`;

/** A number as GLSL writes it. @param {number} value */
export function number(value) {
  const text = String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

/**
 * @param {any} head content @param {import("./network.js").Layer[]} density @param {import("./network.js").Layer[]} color
 * @param {number[]} cells of the occupancy along x, y and z
 */
export function headSource(head, density, color, cells) {
  const encoded = encodedFours(head.grid);
  const variants = head.parts ? 3 : 1;
  const hidden = fours(density[0].outputs);
  const features = fours(density[density.length - 1].outputs);
  const colorHidden = fours(color[0].outputs);
  const extent = head.box[1].map((high, axis) => high - head.box[0][axis]);
  const cell = Math.min(...extent.map((length, axis) => length / cells[axis]));
  const longest = Math.hypot(...extent) + head.step;
  return `
${CAMERA_SOURCE}
uniform sampler2DArray tables;
uniform usampler3D occupancy;
uniform mat3 viewTurn;
out vec4 result;
const vec3 LOW = vec3(${head.box[0].map(number).join(", ")}), HIGH = vec3(${head.box[1].map(number).join(", ")});
const vec3 CELLS = vec3(${cells.map(number).join(", ")});
const float STEP = ${number(head.step)};
layout(std140) uniform FrameBias { vec4 frameBias[${variants * hidden}]; };
${HARMONICS}
${head.motion ? canonicalSource(head.motion.grid) : "vec3 canonical(vec3 unit) { return unit; }"}
${head.eyes ? eyesSource(head.eyes) : "vec3 turnedBack(vec3 point) { return point; }"}
${head.parts ? partsSource(head.parts) : "int partOf(vec3 p) { return 0; }"}
${gridSource(head.grid, "tables")}
${networkSource("density", density, encoded)}
${layerSource("colorDirection", 4, colorHidden, false)}
${networkSource("color", color, features)}
vec2 span(vec3 origin, vec3 direction) {
  vec3 a = (LOW - origin) / direction, b = (HIGH - origin) / direction;
  vec3 near = min(a, b), far = max(a, b);
  return vec2(max(max(near.x, near.y), near.z), min(min(far.x, far.y), far.z));
}
void main() {
  vec3 direction = rayDirection();
  direction += vec3(equal(direction, vec3(0.0))) * 1.0e-9;
  vec2 ends = span(cameraOrigin, direction);
  vec3 seen = vec3(0.0);
  float passing = 1.0;
  if (ends.y > max(ends.x, 0.0)) {
    vec4 ys[4], ofDirection[${colorHidden}];
    harmonics(viewTurn * direction, ys);
    colorDirection(ys, colorBias0, ofDirection);
    float middle = STEP * (0.5 + max(0.0, ceil(ends.x / STEP - 0.5)));
    for (int count = 0; count < ${Math.ceil(longest / head.step) + 2}; count++) {
      if (middle >= ends.y || passing < ${number(head.stop)}) break;
      vec3 point = cameraOrigin + middle * direction;
      vec3 unit = (point - LOW) / (HIGH - LOW);
      uint empty = texelFetch(occupancy, clamp(ivec3(unit * CELLS), ivec3(0), ivec3(CELLS) - 1), 0).r;
      if (empty > 0u) {
        middle += STEP * max(1.0, floor(float(empty - 1u) * ${number(cell / head.step)} - 1.0e-3));
        continue;
      }
      vec3 place = turnedBack(canonical(clamp(unit, 0.0, 1.0)));
      int part = partOf(place);
      vec4 encoded[${encoded}], features[${features}], first[${hidden}], shade[1];
      encode(place, part, encoded);
      for (int i = 0; i < ${hidden}; i++) first[i] = frameBias[part * ${hidden} + i];
      density(encoded, first, features);
      float thickness = min(exp(features[0].x + ${number(head.densityBias)}), ${number(head.largestDensity)}) * STEP;
      float rest = passing * exp(-thickness);
      if (passing - rest > 1.0e-4) {
        color(features, ofDirection, shade);
        seen += (passing - rest) / (1.0 + exp(-shade[0].xyz));
      }
      passing = rest;
      middle += STEP;
    }
  }
  result = vec4(seen, 1.0 - passing);
}`;
}
