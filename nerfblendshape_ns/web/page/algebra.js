// Small linear algebra of poses and of what is constant in an image.

/** @typedef {{type: string, shape: number[], data: any}} NamedArray */

/**
 * Product of a matrix, row by row, and a vector.
 * @param {ArrayLike<number>} matrix @param {ArrayLike<number>} vector @param {number} rows
 * @returns {Float64Array}
 */
export function times(matrix, vector, rows) {
  const columns = vector.length;
  const result = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let column = 0; column < columns; column++) sum += matrix[row * columns + column] * vector[column];
    result[row] = sum;
  }
  return result;
}

/** @param {ArrayLike<number>} a @param {ArrayLike<number>} b @returns {number} */
export function dot(a, b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/** @param {ArrayLike<number>} a @param {ArrayLike<number>} b @returns {number[]} */
export function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

/** @param {ArrayLike<number>} a @returns {number[]} */
export function normalised(a) {
  const length = Math.sqrt(dot(a, a));
  return [a[0] / length, a[1] / length, a[2] / length];
}

/** @param {number} value @param {number} low @param {number} high */
export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/** Column of a pose, a 3x4 matrix row by row. @param {ArrayLike<number>} pose @param {number} column */
export function column(pose, column) {
  return [pose[column], pose[4 + column], pose[8 + column]];
}

/**
 * The six numbers of a head pose; see HeadPoseCode.
 * @param {any} code its content @param {ArrayLike<number>} pose camera-to-head
 * @returns {number[]}
 */
export function poseNumbers(code, pose) {
  const relative = [];
  for (let row = 0; row < 3; row++) {
    const axis = column(pose, row);
    for (let of = 0; of < 3; of++) relative.push(dot(axis, column(code.reference, of)));
    relative.push(dot(axis, column(pose, 3)));
  }
  return code.offset.map((offset, part) => {
    const sum = relative.reduce((total, value, index) => total + value * code.factors[index][part], offset);
    return clamp(sum, -code.limit, code.limit);
  });
}

/**
 * Rotation that brings viewing directions into the range of the training cameras; see ViewRange.
 * @param {any} view its content @param {ArrayLike<number>} origin of the camera
 * @returns {number[]} 3x3, column by column as WebGL takes it
 */
export function viewTurn(view, origin) {
  const towards = normalised(view.centre.map((value, axis) => value - origin[axis]));
  const [right, up, ahead] = view.axes;
  const yaw = Math.atan2(dot(towards, right), dot(towards, ahead));
  const pitch = Math.asin(clamp(dot(towards, up), -1, 1));
  const nearYaw = clamp(yaw, view.low[0], view.high[0]);
  const nearPitch = clamp(pitch, view.low[1], view.high[1]);
  if (nearYaw === yaw && nearPitch === pitch) return [1, 0, 0, 0, 1, 0, 0, 0, 1];
  const level = Math.cos(nearPitch);
  const wanted = [0, 1, 2].map(
    (axis) => Math.sin(nearYaw) * level * right[axis] + Math.sin(nearPitch) * up[axis] + Math.cos(nearYaw) * level * ahead[axis],
  );
  const axis = cross(towards, wanted);
  const cosine = dot(towards, wanted);
  const along = 1 / Math.max(1 + cosine, 1e-3);
  const turned = [];
  for (const unit of [[1, 0, 0], [0, 1, 0], [0, 0, 1]]) {
    const side = cross(axis, unit);
    for (let part = 0; part < 3; part++) turned.push(unit[part] * cosine + side[part] + axis[part] * dot(axis, unit) * along);
  }
  return turned;
}

/**
 * Pose of a camera after the rigid motion by which a captured pose is corrected; see scene_motion.
 * @param {any} head its content @param {ArrayLike<number>} captured camera-to-head @param {ArrayLike<number>} pose
 * @returns {ArrayLike<number>}
 */
export function correctedPose({ correction, poseCode }, captured, pose) {
  if (!correction) return pose;
  const numbers = correction.offset.slice();
  poseNumbers(poseCode, captured).forEach((value, part) =>
    correction.linear[part].forEach((factor, index) => (numbers[index] += value * factor)),
  );
  const axes = [0, 1, 2].map((axis) => column(captured, axis));
  /** @param {number[]} vector from the captured camera's axes */
  const outwards = (vector) => [0, 1, 2].map((row) => axes[0][row] * vector[0] + axes[1][row] * vector[1] + axes[2][row] * vector[2]);
  const turn = outwards(numbers.slice(0, 3));
  const shift = outwards(numbers.slice(3));
  const angle = Math.sqrt(dot(turn, turn));
  const about = angle > 0 ? normalised(turn) : [0, 0, 1];
  /** @param {ArrayLike<number>} vector */
  const turned = (vector) => {
    const side = cross(about, vector);
    const along = dot(about, vector) * (1 - Math.cos(angle));
    return [0, 1, 2].map((row) => vector[row] * Math.cos(angle) + side[row] * Math.sin(angle) + about[row] * along);
  };
  const place = column(captured, 3);
  const moved = turned(column(pose, 3).map((value, axis) => value - place[axis])).map((value, axis) => value + place[axis] + shift[axis]);
  const columns = [0, 1, 2].map((axis) => turned(column(pose, axis)));
  return [0, 1, 2].flatMap((row) => [columns[0][row], columns[1][row], columns[2][row], moved[row]]);
}

/**
 * nerfstudio's frequency encoding from a quarter turn on: sines, cosines, then the values.
 * @param {ArrayLike<number>} values @param {number} count of frequencies
 * @returns {number[]}
 */
export function frequencies(values, count) {
  const angles = [];
  for (const value of Array.from(values)) {
    for (let power = 0; power < count; power++) angles.push(2 * Math.PI * value * 2 ** (power - 2));
  }
  return [...angles.map(Math.sin), ...angles.map((angle) => Math.sin(angle + Math.PI / 2)), ...Array.from(values)];
}

/**
 * Camera-to-head pose of a head that is turned about its origin; see Keyframe.head.
 * @param {ArrayLike<number>} pose camera-to-head, 3x4 row by row
 * @param {{yaw?: number, pitch?: number, roll?: number}} turn degrees
 * @returns {number[]}
 */
export function turnedPose(pose, { yaw = 0, pitch = 0, roll = 0 }) {
  // Intrinsic rotations about y, then x, then z of the camera's axes, applied to the head.
  const [y, x, z] = [yaw, pitch, roll].map((angle) => (angle * Math.PI) / 180);
  const [cy, sy, cx, sx, cz, sz] = [Math.cos(y), Math.sin(y), Math.cos(x), Math.sin(x), Math.cos(z), Math.sin(z)];
  const turn = [
    [cy * cz + sy * sx * sz, sy * sx * cz - cy * sz, sy * cx],
    [cx * sz, cx * cz, -sx],
    [cy * sx * sz - sy * cz, sy * sz + cy * sx * cz, cy * cx],
  ];
  const axes = [0, 1, 2].map((axis) => column(pose, axis));
  const place = axes.map((axis) => -dot(axis, column(pose, 3)));
  // The camera's axes in head space.
  const turned = turn.map((row) => [0, 1, 2].map((part) => row[0] * axes[0][part] + row[1] * axes[1][part] + row[2] * axes[2][part]));
  const result = [];
  for (let part = 0; part < 3; part++) {
    const position = -(turned[0][part] * place[0] + turned[1][part] * place[1] + turned[2][part] * place[2]);
    result.push(turned[0][part], turned[1][part], turned[2][part], position);
  }
  return result;
}
