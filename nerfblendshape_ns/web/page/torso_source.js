// The fragment shader of the whole person: head over torso over background.

import { CAMERA_SOURCE } from "./camera_source.js";
import { encodedFours, gridSource } from "./grid.js";
import { number } from "./head_source.js";
import { fours, networkSource } from "./network.js";

const vector = (values) => `vec${values.length}(${values.map(number).join(", ")})`;

/** Sines and cosines of both coordinates, then the coordinates; as many fours as encodedPosition says. */
const positionSource = (count) => `
void encodePosition(vec2 coordinates, out vec4 x[${encodedPosition(count)}]) {
  float values[${4 * encodedPosition(count)}];
  for (int i = 0; i < ${4 * encodedPosition(count)}; i++) values[i] = 0.0;
  vec2 p = coordinates * 2.0 - 1.0;
  for (int i = 0; i < ${count}; i++) {
    vec2 angle = ${number(2 * Math.PI)} * p * exp2(float(i) - 2.0);
    values[i] = sin(angle.x);
    values[${count} + i] = sin(angle.y);
    values[${2 * count} + i] = cos(angle.x);
    values[${3 * count} + i] = cos(angle.y);
  }
  values[${4 * count}] = p.x;
  values[${4 * count + 1}] = p.y;
  for (int i = 0; i < ${encodedPosition(count)}; i++) x[i] = vec4(values[4 * i], values[4 * i + 1], values[4 * i + 2], values[4 * i + 3]);
}`;

/** Fours of an encoded position. @param {number} count of frequencies */
export function encodedPosition(count) {
  return fours(4 * count + 2);
}

// Torso coordinates that move as if fixed to the head, and the skinning weights that say how far they follow.
const skinningSource = (torso, layers, width) => `
uniform mat3 referenceAxes;
uniform vec3 referenceOrigin;
${networkSource("skinning", layers, width)}
vec2 movedWithHead(vec2 coordinates) {
  vec2 plane = (coordinates - CENTRE) / FOCAL * DEPTH;
  vec3 scene = referenceAxes * vec3(plane.x, -plane.y, -DEPTH) + referenceOrigin;
  vec3 there = (scene - capturedOrigin) * capturedAxes;
  return CENTRE + FOCAL * vec2(there.x, -there.y) / max(-there.z, 0.1 * DEPTH);
}
vec2 pointOfBody(vec2 coordinates) {
  vec2 point = coordinates;
  for (int iteration = 0; iteration < ${torso.iterations}; iteration++) {
    vec4 x[${width}], y[1];
    encodePosition(point, x);
    skinning(x, skinningBias0, y);
    point = coordinates + (point - movedWithHead(point)) / (1.0 + exp(-y[0].x));
  }
  return point;
}`;

/**
 * @param {any} torso content @param {Object<string, import("./network.js").Layer[]>} layers
 */
export function torsoSource(torso, layers) {
  const width = encodedPosition(torso.positionFrequencies);
  const encoded = encodedFours(torso.grid);
  const { deformation, appearance, skinning } = layers;
  return `
${CAMERA_SOURCE}
uniform sampler2D head;
uniform sampler2DArray table;
uniform usampler2D occupancy;
uniform sampler2D behind;
uniform int shown;
uniform vec3 plain;
uniform mat3 capturedAxes;
uniform vec3 capturedOrigin;
out vec4 result;
const vec2 FOCAL = ${vector(torso.focal)}, CENTRE = ${vector(torso.centre)};
const float DEPTH = ${number(torso.depth)};
${positionSource(torso.positionFrequencies)}
${gridSource(torso.grid, "table")}
${networkSource("deformation", deformation, width)}
${networkSource("appearance", appearance, encoded)}
${torso.linear ? skinningSource(torso, skinning, width) : "vec2 pointOfBody(vec2 coordinates) { return coordinates; }"}
vec4 torsoAt(vec2 coordinates) {
  vec4 x[${width}], moved[1], encoded[${encoded}], y[1];
  vec2 body = pointOfBody(coordinates);
  encodePosition(body, x);
  deformation(x, deformationBias0, moved);
  vec2 place = body + ${number(torso.largestShift)} * tanh(moved[0].xy * 0.1);
  encode(place, 0, encoded);
  appearance(encoded, appearanceBias0, y);
  return 1.0 / (1.0 + exp(-y[0]));
}
void main() {
  vec3 start = (cameraOrigin - capturedOrigin) * capturedAxes;
  vec3 direction = rayDirection() * capturedAxes;
  bool meets = -direction.z > 1.0e-4;
  float along = meets ? (DEPTH + start.z) / -direction.z : 0.0;
  meets = meets && along > 0.0;
  vec3 point = start + (meets ? along : 0.0) * direction;
  vec2 coordinates = CENTRE + FOCAL * vec2(point.x, -point.y) / DEPTH;
  vec2 inside = clamp(coordinates, 0.0, 1.0);
  vec2 outside = abs(coordinates - inside);
  float fade = meets ? clamp(1.0 - max(outside.x, outside.y) / ${number(torso.fade)}, 0.0, 1.0) : 0.0;
  ivec2 side = textureSize(occupancy, 0);
  vec3 color = shown > 0 ? texture(behind, coordinates).rgb : plain;
  if (fade > 0.0 && texelFetch(occupancy, clamp(ivec2(inside * vec2(side)), ivec2(0), side - 1), 0).r > 0u) {
    vec4 torso = torsoAt(inside);
    color = mix(color, torso.rgb, torso.a * fade);
  }
  vec4 front = texelFetch(head, ivec2(gl_FragCoord.xy), 0);
  result = vec4(front.rgb + (1.0 - front.a) * color, 1.0);
}`;
}

/** A head alone over its background. */
export const HEAD_ALONE = `
uniform sampler2D head;
uniform sampler2D behind;
uniform int shown;
uniform vec3 plain;
uniform vec2 size;
out vec4 result;
void main() {
  vec4 front = texelFetch(head, ivec2(gl_FragCoord.xy), 0);
  vec3 color = shown > 0 ? texture(behind, vec2(gl_FragCoord.x, size.y - gl_FragCoord.y) / size).rgb : plain;
  result = vec4(front.rgb + (1.0 - front.a) * color, 1.0);
}`;
