# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernels of rays: made from pinhole cameras, and seen from no further than a range of views."""

# ruff: noqa: UP018 (in a Warp kernel, int(0) makes a variable where 0 makes a constant)

import warp as wp

from nerfblendshape_ns.ops.launch import ParallelKernel

module = wp.get_module("nerfblendshape_ns.camera_ray")
module.options.update(enable_backward=False)

MINIMUM_RAYS = 1024
"""Rays worth a thread of their own."""


@wp.kernel(module=module, enable_backward=False)
def _pinhole_rays(
    first: int,
    stride: int,
    cameras: wp.array2d(dtype=float),
    width: int,
    camera_index: wp.array(dtype=wp.int64),
    pixels: wp.array(dtype=wp.int64),
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    norms: wp.array(dtype=float),
    areas: wp.array(dtype=float),
):
    """Rays of pixels, or of all of one camera where none are given. A camera is fx, fy, cx, cy and its pose, row by
    row."""
    ray = first + wp.tid() * stride
    camera = int(0)
    pixel = int(ray)
    if pixels.shape[0] > 0:
        camera = int(camera_index[ray])
        pixel = int(pixels[ray])
    row = pixel // width
    column = pixel - row * width
    x = (float(column) + 0.5 - cameras[camera, 2]) / cameras[camera, 0]
    y = -(float(row) + 0.5 - cameras[camera, 3]) / cameras[camera, 1]
    local = wp.vec3(x, y, -1.0)
    norm = wp.length(local)
    local = local / norm
    # The area a pixel covers at distance 1: how far the directions of the next pixels right and down are away.
    right = wp.normalize(wp.vec3(x + 1.0 / cameras[camera, 0], y, -1.0))
    below = wp.normalize(wp.vec3(x, y - 1.0 / cameras[camera, 1], -1.0))
    areas[ray] = wp.length(local - right) * wp.length(local - below)
    norms[ray] = norm
    direction = wp.vec3()
    origin = wp.vec3()
    for axis in range(3):
        at = 4 + 4 * axis
        direction[axis] = (
            cameras[camera, at] * local[0] + cameras[camera, at + 1] * local[1] + cameras[camera, at + 2] * local[2]
        )
        origin[axis] = cameras[camera, at + 3]
    directions[ray] = direction
    origins[ray] = origin


@wp.kernel(module=module, enable_backward=False)
def _within_view_range(
    first: int,
    stride: int,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    centre: wp.array(dtype=float),
    axes: wp.array2d(dtype=float),
    low: wp.array(dtype=float),
    high: wp.array(dtype=float),
    turned: wp.array(dtype=wp.vec3),
):
    ray = first + wp.tid() * stride
    right = wp.vec3(axes[0, 0], axes[0, 1], axes[0, 2])
    up = wp.vec3(axes[1, 0], axes[1, 1], axes[1, 2])
    ahead = wp.vec3(axes[2, 0], axes[2, 1], axes[2, 2])
    direction = directions[ray]
    towards = wp.normalize(wp.vec3(centre[0], centre[1], centre[2]) - origins[ray])
    yaw = wp.atan2(wp.dot(towards, right), wp.dot(towards, ahead))
    pitch = wp.asin(wp.clamp(wp.dot(towards, up), -1.0, 1.0))
    nearest_yaw = wp.max(wp.min(yaw, high[0]), low[0])
    nearest_pitch = wp.max(wp.min(pitch, high[1]), low[1])
    if nearest_yaw != yaw or nearest_pitch != pitch:
        level = wp.cos(nearest_pitch)
        wanted = wp.sin(nearest_yaw) * level * right + wp.sin(nearest_pitch) * up + wp.cos(nearest_yaw) * level * ahead
        # Rodrigues' rotation from one unit vector to another, without angles.
        axis = wp.cross(towards, wanted)
        cosine = wp.dot(towards, wanted)
        along = axis * (wp.dot(axis, direction) / wp.max(1.0 + cosine, 1.0e-3))
        direction = direction * cosine + wp.cross(axis, direction) + along
    turned[ray] = direction


_vector, _real, _long = wp.vec3, wp.float32, wp.int64

pinhole_rays = ParallelKernel(
    _pinhole_rays, (_real, None, _long, _long, _vector, _vector, _real, _real), minimum=MINIMUM_RAYS
)
within_view_range = ParallelKernel(
    _within_view_range, (_vector, _vector, _real, _real, _real, _real, _vector), minimum=MINIMUM_RAYS
)
