# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernels of :mod:`nerfblendshape_ns.ops.compositing`; a work item is a ray."""

# ruff: noqa: UP018 (in a Warp kernel, int(0) makes a variable where 0 makes a constant)

import warp as wp

from nerfblendshape_ns.ops.launch import ParallelKernel

module = wp.get_module("nerfblendshape_ns.compositing")
module.options.update(enable_backward=False)

MINIMUM_RAYS = 128
"""Rays worth a thread of their own."""


@wp.kernel(module=module, enable_backward=False)
def _composite(
    first: int,
    stride: int,
    ends: wp.array2d(dtype=wp.int64),
    counts: wp.array2d(dtype=wp.int64),
    distances: wp.array(dtype=float),
    step_size: float,
    early_stop: float,
    densities: wp.array(dtype=float),
    colors: wp.array(dtype=wp.vec3),
    light: wp.array(dtype=float),
    kept: wp.array(dtype=int),
    color: wp.array(dtype=wp.vec3),
    alpha: wp.array(dtype=float),
    depth: wp.array(dtype=float),
):
    ray = first + wp.tid() * stride
    passing = float(1.0)
    seen = wp.vec3()
    opacity = float(0.0)
    distance = float(0.0)
    number = int(0)
    before = int(0)  # Samples of the segments before this one, of all rays.
    for segment in range(ends.shape[0]):
        end = before + int(ends[segment, ray])
        before += int(ends[segment, ends.shape[1] - 1])
        for row in range(end - int(counts[segment, ray]), end):
            if passing >= early_stop:
                light[row] = passing
                rest = passing * wp.exp(-densities[row] * step_size)
                weight = passing - rest
                seen += weight * colors[row]
                opacity += weight
                distance += weight * distances[row]
                passing = rest
                number += 1
    kept[ray] = number
    color[ray] = seen
    alpha[ray] = opacity
    depth[ray] = distance


@wp.kernel(module=module, enable_backward=False)
def _composite_gradient(
    first: int,
    stride: int,
    ends: wp.array2d(dtype=wp.int64),
    counts: wp.array2d(dtype=wp.int64),
    kept: wp.array(dtype=int),
    distances: wp.array(dtype=float),
    step_size: float,
    densities: wp.array(dtype=float),
    colors: wp.array(dtype=wp.vec3),
    light: wp.array(dtype=float),
    color_gradient: wp.array(dtype=wp.vec3),
    alpha_gradient: wp.array(dtype=float),
    depth_gradient: wp.array(dtype=float),
    density_result: wp.array(dtype=float),
    color_result: wp.array(dtype=wp.vec3),
):
    ray = first + wp.tid() * stride
    above = color_gradient[ray]
    # What the samples behind add to the loss; it all passes through this one.
    behind = float(0.0)
    left_out = -kept[ray]
    before = int(0)
    for segment in range(ends.shape[0]):
        left_out += int(counts[segment, ray])
        before += int(ends[segment, ends.shape[1] - 1])
    for segments_back in range(ends.shape[0]):
        segment = ends.shape[0] - 1 - segments_back
        before -= int(ends[segment, ends.shape[1] - 1])
        last_row = before + int(ends[segment, ray]) - 1
        for back in range(int(counts[segment, ray])):
            row = last_row - back
            if left_out > 0:
                left_out -= 1
                density_result[row] = 0.0
                color_result[row] = wp.vec3()
            else:
                rest = light[row] * wp.exp(-densities[row] * step_size)
                weight = light[row] - rest
                value = wp.dot(above, colors[row]) + alpha_gradient[ray] + depth_gradient[ray] * distances[row]
                density_result[row] = step_size * (rest * value - behind)
                color_result[row] = weight * above
                behind += weight * value


_vector, _real, _index, _long = wp.vec3, wp.float32, wp.int32, wp.int64

composite = ParallelKernel(
    _composite,
    (_long, _long, _real, None, None, _real, _vector, _real, _index, _vector, _real, _real),
    interleaved=True,
    minimum=MINIMUM_RAYS,
)
composite_gradient = ParallelKernel(
    _composite_gradient,
    (_long, _long, _index, _real, None, _real, _vector, _real, _vector, _real, _real, _real, _vector),
    interleaved=True,
    minimum=MINIMUM_RAYS,
)
