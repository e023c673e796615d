# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernels of :mod:`nerfblendshape_ns.ops.canonical`; a work item is a sample."""

# ruff: noqa: UP018 (in a Warp kernel, int(0) makes a variable where 0 makes a constant)

import warp as wp

from nerfblendshape_ns.ops.launch import ParallelKernel

module = wp.get_module("nerfblendshape_ns.canonical")
module.options.update(enable_backward=False)

OFF_FACE, LOWER_FACE, UPPER_FACE = wp.constant(0), wp.constant(1), wp.constant(2)
"""Parts of the head."""
ITERATIONS = wp.constant(4)
"""Steps of the fixed-point iteration to a point's canonical position, whose displacement leads back to the point."""
MOST_BACK = wp.constant(0.9)
"""Bound on how much of the last change a secant step takes back; and, next, on how much of it a step adds."""
MOST_AHEAD = wp.constant(2.0)
CLOSE = wp.constant(1.0e-5)
"""A step no longer than this is the last: a hundredth of a cell of the finest grid."""
EYE_WHOLE, EYE_END = wp.constant(2.2), wp.constant(2.6)
"""Distances from an eyeball's centre, in its radii, up to which all turns and from which nothing does: what a head
shows of an eye lies up to two radii from there, since nothing tells its depth."""
EYE_NEAREST = wp.constant(0.5)
"""From this distance on points turn the less the farther they are, so that all slide alike."""
MINIMUM_SAMPLES = 512
"""Samples worth a thread of their own."""


@wp.func
def _unit(point: wp.vec3):
    return wp.vec3(wp.clamp(point[0], 0.0, 1.0), wp.clamp(point[1], 0.0, 1.0), wp.clamp(point[2], 0.0, 1.0))


# The cell is clamped as an integer, so that no position, NaN included, leaves the grid.
@wp.func
def _cell(position: float, last: int):
    return wp.clamp(int(position * float(last)), 0, last - 1)


# Plain C++ for the reason given in hash_grid_kernels.
_TRILINEAR = """
    const float fx = scaled.c[0] - (float)x, fy = scaled.c[1] - (float)y, fz = scaled.c[2] - (float)z;
    const int side = fields.shape[1];
    const float* corner = (const float*)(fields.data + ((size_t)(frame * side + z) * side + y) * side + x);
    const int row = 3 * side, layer = 3 * side * side;
    wp::vec_t<3, float> value;
    for (int axis = 0; axis < 3; ++axis, ++corner) {
        const float a = corner[0] + fx * (corner[3] - corner[0]);
        const float b = corner[row] + fx * (corner[row + 3] - corner[row]);
        const float c = corner[layer] + fx * (corner[layer + 3] - corner[layer]);
        const float d = corner[layer + row] + fx * (corner[layer + row + 3] - corner[layer + row]);
        const float low = a + fy * (b - a);
        const float high = c + fy * (d - c);
        value.c[axis] = low + fz * (high - low);
    }
    return value;
"""


@wp.func_native(_TRILINEAR)
def _trilinear(fields: wp.array4d(dtype=wp.vec3), frame: int, scaled: wp.vec3, x: int, y: int, z: int) -> wp.vec3: ...


@wp.func
def _displacement(fields: wp.array4d(dtype=wp.vec3), frame: int, point: wp.vec3):
    """Trilinear value of a frame's grid, indexed z, y, x, at a point in [0, 1]."""
    last = fields.shape[1] - 1
    return _trilinear(
        fields, frame, float(last) * point, _cell(point[0], last), _cell(point[1], last), _cell(point[2], last)
    )


@wp.func
def _bilinear(cells: wp.array2d(dtype=float), z: float, x: float):
    """Value of a map of cells, indexed z, x, at a point in [0, 1]."""
    up = z * float(cells.shape[0]) - 0.5
    right = x * float(cells.shape[1]) - 0.5
    row = wp.clamp(int(up), 0, cells.shape[0] - 2)
    column = wp.clamp(int(right), 0, cells.shape[1] - 2)
    up = wp.clamp(up - float(row), 0.0, 1.0)
    right = wp.clamp(right - float(column), 0.0, 1.0)
    low = wp.lerp(cells[row, column], cells[row, column + 1], right)
    high = wp.lerp(cells[row + 1, column], cells[row + 1, column + 1], right)
    return wp.lerp(low, high, up)


@wp.func
def _eye_turned_back(
    point: wp.vec3,
    opening: wp.array2d(dtype=float),
    eyes: wp.array(dtype=wp.vec3),
    size: wp.vec3,
    turns: wp.array2d(dtype=wp.vec2),
    ends: wp.array2d(dtype=wp.vec2),
    coefficients: wp.array2d(dtype=float),
    frame: int,
):
    """Where a point between the lids is when its eye looks straight ahead; others stay."""
    eye = wp.where(point[0] < 0.5 * (eyes[0][0] + eyes[1][0]), 0, 1)
    offset = wp.cw_mul(point - eyes[eye], size)
    distance = wp.length(offset)
    weight = wp.clamp((EYE_END - distance) / (EYE_END - EYE_WHOLE), 0.0, 1.0)
    if weight > 0.0:
        weight *= _bilinear(opening, point[2], point[0])
    if weight > 0.0:
        turn = wp.vec2()
        for number in range(turns.shape[0]):
            turn += coefficients[frame, number] * turns[number, eye]
        turn = wp.max(wp.min(turn, ends[1, eye]), ends[0, eye]) / wp.max(distance, EYE_NEAREST)
        sine, cosine = wp.sin(turn[1]), wp.cos(turn[1])
        back = wp.vec3(cosine * offset[0] + sine * offset[1], cosine * offset[1] - sine * offset[0], offset[2])
        sine, cosine = wp.sin(turn[0]), wp.cos(turn[0])
        back = wp.vec3(back[0], cosine * back[1] + sine * back[2], cosine * back[2] - sine * back[1])
        point += weight * wp.cw_div(back - offset, size)
    return point


@wp.kernel(module=module, enable_backward=False)
def _canonical(
    first: int,
    stride: int,
    points: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    distances: wp.array(dtype=float),
    rays: wp.array(dtype=wp.int64),
    box: wp.array(dtype=wp.vec3),
    frame_index: wp.array(dtype=int),
    frames: int,
    fields: wp.array4d(dtype=wp.vec3),
    opening: wp.array2d(dtype=float),
    eyes: wp.array(dtype=wp.vec3),
    eye_size: wp.array(dtype=wp.vec3),
    turns: wp.array2d(dtype=wp.vec2),
    turn_ends: wp.array2d(dtype=wp.vec2),
    coefficients: wp.array2d(dtype=float),
    face: wp.array2d(dtype=float),
    rear: wp.array(dtype=float),
    border: wp.array(dtype=float),
    blur: float,
    seed: wp.array(dtype=int),
    positions: wp.array(dtype=wp.vec3),
    rows: wp.array(dtype=int),
):
    sample = first + wp.tid() * stride
    point = int(sample)
    unit = wp.vec3()
    if rays.shape[0] > 0:
        point = int(rays[sample])
        low = box[0]
        offset = points[point] + directions[point] * distances[sample] - low
        unit = _unit(wp.cw_div(offset, box[1] - low))
    else:
        unit = _unit(points[point])
    frame = int(0)
    if frame_index.shape[0] > 0:
        frame = frame_index[point]
    canonical = unit
    if fields.shape[0] > 0:
        # Anderson's method of depth one, a secant method for each sample.
        last_change = unit
        last_step = unit
        for iteration in range(ITERATIONS):
            step = unit - _displacement(fields, frame, canonical) - canonical
            change = step
            if iteration > 0:
                difference = step - last_step
                factor = wp.dot(difference, step) / wp.max(wp.dot(difference, difference), 1.0e-12)
                change = step - wp.clamp(factor, -MOST_AHEAD, MOST_BACK) * (last_change + difference)
            canonical = _unit(canonical + change)
            if wp.dot(step, step) <= CLOSE * CLOSE:
                break
            last_step = step
            last_change = change
    if opening.shape[0] > 0:
        canonical = _eye_turned_back(canonical, opening, eyes, eye_size[0], turns, turn_ends, coefficients, frame)
    positions[sample] = canonical
    if face.shape[0] > 0:
        height = canonical[2]
        threshold = float(0.5)
        if seed.shape[0] > 0:
            state = wp.rand_init(seed[0], sample)
            threshold = wp.randf(state)
            height += blur * wp.randn(state)
        row = wp.clamp(int(canonical[2] * float(face.shape[0])), 0, face.shape[0] - 1)
        column = wp.clamp(int(canonical[0] * float(face.shape[1])), 0, face.shape[1] - 1)
        if face[row, column] > threshold and canonical[1] < rear[0]:
            frame += wp.where(height < border[0], LOWER_FACE, UPPER_FACE) * frames
    rows[sample] = frame


@wp.kernel(module=module, enable_backward=False)
def _field_gradient(
    first: int,
    stride: int,
    block: int,
    positions: wp.array(dtype=wp.vec3),
    rays: wp.array(dtype=wp.int64),
    frame_index: wp.array(dtype=int),
    gradient: wp.array(dtype=wp.vec3),
    result: wp.array4d(dtype=wp.vec3),
):
    begin = (first + wp.tid() * stride) * block
    last = result.shape[1] - 1
    for sample in range(begin, wp.min(begin + block, positions.shape[0])):
        frame = int(0)
        if frame_index.shape[0] > 0:
            point = int(sample)
            if rays.shape[0] > 0:
                point = int(rays[sample])
            frame = frame_index[point]
        position = positions[sample]
        x = _cell(position[0], last)
        y = _cell(position[1], last)
        z = _cell(position[2], last)
        for corner in range(8):
            right = corner & 1
            up = (corner >> 1) & 1
            far = corner >> 2
            weight = (
                (1.0 - wp.abs(position[0] * float(last) - float(x + right)))
                * (1.0 - wp.abs(position[1] * float(last) - float(y + up)))
                * (1.0 - wp.abs(position[2] * float(last) - float(z + far)))
            )
            wp.atomic_add(result, frame, z + far, y + up, x + right, -weight * gradient[sample])


_vector, _real, _index = wp.vec3, wp.float32, wp.int32

canonical = ParallelKernel(
    _canonical,
    (_vector, _vector, _real, wp.int64, _vector, _index, None, _vector)
    + (_real, _vector, _vector, wp.vec2, wp.vec2, _real)
    + (_real, _real, _real, None, _index)
    + (_vector, _index),
    minimum=MINIMUM_SAMPLES,
)
field_gradient = ParallelKernel(_field_gradient, (None, _vector, wp.int64, _index, _vector, _vector))
