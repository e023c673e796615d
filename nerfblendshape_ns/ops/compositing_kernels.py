# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernels of :mod:`nerfblendshape_ns.ops.compositing`; a work item is a ray."""

# ruff: noqa: UP018 (in a Warp kernel, int(0) makes a variable where 0 makes a constant)

import warp as wp

from nerfblendshape_ns.ops.launch import ParallelKernel

module = wp.get_module("nerfblendshape_ns.compositing")
module.options.update(enable_backward=False)

MINIMUM_RAYS = 128
"""Rays worth a thread of their own."""


@wp.func
def _row(order: wp.array(dtype=int), sample: int):
    """Where the density and colour of a packed sample are."""
    if order.shape[0] > 0:
        return order[sample]
    return sample


@wp.kernel(module=module, enable_backward=False)
def _composite(
    first: int,
    stride: int,
    starts: wp.array(dtype=wp.int64),
    counts: wp.array(dtype=wp.int64),
    order: wp.array(dtype=int),
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
    start = int(starts[ray])
    passing = float(1.0)
    seen = wp.vec3()
    opacity = float(0.0)
    distance = float(0.0)
    number = int(0)
    for index in range(int(counts[ray])):
        if passing < early_stop:
            break
        row = _row(order, start + index)
        light[row] = passing
        rest = passing * wp.exp(-densities[row] * step_size)
        weight = passing - rest
        seen += weight * colors[row]
        opacity += weight
        distance += weight * distances[start + index]
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
    starts: wp.array(dtype=wp.int64),
    kept: wp.array(dtype=int),
    order: wp.array(dtype=int),
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
    start = int(starts[ray])
    number = kept[ray]
    above = color_gradient[ray]
    # What the samples behind add to the loss; it all passes through this one.
    behind = float(0.0)
    for back in range(number):
        sample = start + number - 1 - back
        row = _row(order, sample)
        rest = light[row] * wp.exp(-densities[row] * step_size)
        weight = light[row] - rest
        value = wp.dot(above, colors[row]) + alpha_gradient[ray] + depth_gradient[ray] * distances[sample]
        density_result[row] = step_size * (rest * value - behind)
        color_result[row] = weight * above
        behind += weight * value


@wp.kernel(module=module, enable_backward=False)
def _attenuate(
    first: int,
    stride: int,
    counts: wp.array(dtype=wp.int64),
    densities: wp.array(dtype=float),
    step_size: float,
    least: float,
    size: int,
    is_first: int,
    done: wp.array(dtype=wp.int64),
    ends: wp.array(dtype=wp.int64),
    taken: wp.array(dtype=wp.int64),
    light: wp.array(dtype=float),
    following: wp.array(dtype=wp.int64),
):
    """Lets light through the samples of a segment and counts those of the next."""
    ray = first + wp.tid() * stride
    number = int(taken[ray])
    depth = float(0.0)
    for index in range(number):
        depth += densities[int(ends[ray]) - number + index] * step_size
    passing = wp.exp(-depth)
    if is_first == 0:
        passing *= light[ray]
    light[ray] = passing
    rest = int(0)
    if passing >= least:
        rest = wp.min(size, int(counts[ray] - done[ray]))
    following[ray] = wp.int64(rest)


@wp.kernel(module=module, enable_backward=False)
def _take(
    first: int,
    stride: int,
    starts: wp.array(dtype=wp.int64),
    distances: wp.array(dtype=float),
    ends: wp.array(dtype=wp.int64),
    taken: wp.array(dtype=wp.int64),
    earlier: int,
    done: wp.array(dtype=wp.int64),
    order: wp.array(dtype=int),
    rays: wp.array(dtype=wp.int64),
    chosen: wp.array(dtype=float),
):
    """Writes ray and distance of the samples of a segment, where their results will be, and how many are done."""
    ray = first + wp.tid() * stride
    number = int(taken[ray])
    before = int(0)
    if earlier > 0:
        before = int(done[ray])
    done[ray] = wp.int64(before + number)
    for index in range(number):
        row = int(ends[ray]) - number + index
        sample = int(starts[ray]) + before + index
        order[sample] = earlier + row
        rays[row] = wp.int64(ray)
        chosen[row] = distances[sample]


_vector, _real, _index, _long = wp.vec3, wp.float32, wp.int32, wp.int64

composite = ParallelKernel(
    _composite,
    (_long, _long, _index, _real, None, None, _real, _vector, _real, _index, _vector, _real, _real),
    interleaved=True,
    minimum=MINIMUM_RAYS,
)
composite_gradient = ParallelKernel(
    _composite_gradient,
    (_long, _index, _index, _real, None, _real, _vector, _real, _vector, _real, _real, _real, _vector),
    interleaved=True,
    minimum=MINIMUM_RAYS,
)
attenuate = ParallelKernel(
    _attenuate,
    (_long, _real, None, None, None, None, _long, _long, _long, _real, _long),
    minimum=4 * MINIMUM_RAYS,
)
take = ParallelKernel(_take, (_long, _real, _long, _long, None, _long, _index, _long, _real), minimum=4 * MINIMUM_RAYS)
