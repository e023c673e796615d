# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernels of rays that move rigidly with their frame."""

# ruff: noqa: UP018 (in a Warp kernel, int(0) makes a variable where 0 makes a constant)

import warp as wp

from nerfblendshape_ns.ops.launch import ParallelKernel

module = wp.get_module("nerfblendshape_ns.rigid_motion")
module.options.update(enable_backward=False)

MINIMUM_RAYS = 1024
"""Rays worth a thread of their own."""


@wp.func
def _row(matrices: wp.array2d(dtype=float), frame: int, axis: int):
    return wp.vec3(matrices[frame, 4 * axis], matrices[frame, 4 * axis + 1], matrices[frame, 4 * axis + 2])


@wp.func
def _shift(matrices: wp.array2d(dtype=float), frame: int):
    return wp.vec3(matrices[frame, 3], matrices[frame, 7], matrices[frame, 11])


@wp.kernel(module=module, enable_backward=False)
def _scene_motion(
    first: int,
    stride: int,
    poses: wp.array2d(dtype=float),
    inputs: wp.array2d(dtype=float),
    linear: wp.array2d(dtype=float),
    offset: wp.array(dtype=float),
    motions: wp.array2d(dtype=float),
):
    frame = first + wp.tid() * stride
    turn = wp.vec3(offset[0], offset[1], offset[2])
    shift = wp.vec3(offset[3], offset[4], offset[5])
    for part in range(6):
        value = inputs[frame, part]
        for axis in range(3):
            turn[axis] = turn[axis] + value * linear[part, axis]
            shift[axis] = shift[axis] + value * linear[part, 3 + axis]
    pose = wp.matrix_from_rows(_row(poses, frame, 0), _row(poses, frame, 1), _row(poses, frame, 2))
    place = _shift(poses, frame)
    angle = wp.length(turn)
    change = wp.identity(n=3, dtype=float)
    if angle > 1.0e-12:
        change = wp.quat_to_matrix(wp.quat_from_axis_angle(turn / angle, angle))
    rotation = pose * change * wp.transpose(pose)
    moved = pose * shift + place - rotation * place
    for row in range(3):
        for column in range(3):
            motions[frame, 4 * row + column] = rotation[row, column]
        motions[frame, 4 * row + 3] = moved[row]


@wp.kernel(module=module, enable_backward=False)
def _move_rays(
    first: int,
    stride: int,
    motions: wp.array2d(dtype=float),
    ray_frame: wp.array(dtype=int),
    gradient: int,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    moved_origins: wp.array(dtype=wp.vec3),
    moved_directions: wp.array(dtype=wp.vec3),
):
    """Rays of their frame, or of the first where none is given; a gradient is turned back."""
    ray = first + wp.tid() * stride
    frame = int(0)
    if ray_frame.shape[0] > 0:
        frame = ray_frame[ray]
    rotation = wp.matrix_from_rows(_row(motions, frame, 0), _row(motions, frame, 1), _row(motions, frame, 2))
    if gradient == 1:
        moved_origins[ray] = wp.transpose(rotation) * origins[ray]
        moved_directions[ray] = wp.transpose(rotation) * directions[ray]
    else:
        moved_origins[ray] = rotation * origins[ray] + _shift(motions, frame)
        moved_directions[ray] = rotation * directions[ray]


_vector, _real = wp.vec3, wp.float32

scene_motion = ParallelKernel(_scene_motion, (_real,) * 5, minimum=MINIMUM_RAYS)
move_rays = ParallelKernel(
    _move_rays, (_real, wp.int32, None, _vector, _vector, _vector, _vector), minimum=MINIMUM_RAYS
)
