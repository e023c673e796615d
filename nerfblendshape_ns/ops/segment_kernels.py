# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernels that pack the samples of a march's segments, and let light through them; a work item is a ray."""

# ruff: noqa: UP018 (in a Warp kernel, int(0) makes a variable where 0 makes a constant)

import warp as wp

from nerfblendshape_ns.ops.launch import ParallelKernel

module = wp.get_module("nerfblendshape_ns.segments")
module.options.update(enable_backward=False)

MINIMUM_RAYS = 256
"""Rays worth a thread of their own."""


@wp.kernel(module=module, enable_backward=False)
def _pack(
    first: int,
    stride: int,
    counts: wp.array(dtype=wp.int64),
    ends: wp.array(dtype=wp.int64),
    few: wp.array2d(dtype=float),
    samples: wp.array(dtype=float),
    sample_rays: wp.array(dtype=wp.int64),
):
    """Rays' rows of few samples one after the other."""
    ray = first + wp.tid() * stride
    start = int(ends[ray] - counts[ray])
    for index in range(int(counts[ray])):
        samples[start + index] = few[ray, index]
        sample_rays[start + index] = wp.int64(ray)


@wp.kernel(module=module, enable_backward=False)
def _attenuate(
    first: int,
    stride: int,
    counts: wp.array(dtype=wp.int64),
    ends: wp.array(dtype=wp.int64),
    densities: wp.array(dtype=float),
    step_size: float,
    least: float,
    goes_on: int,
    light: wp.array(dtype=float),
    seen: wp.array(dtype=wp.int64),
):
    """Lets light through the samples of a segment, and counts those that enough of it reaches."""
    ray = first + wp.tid() * stride
    passing = float(1.0)
    number = int(0)
    if goes_on != 0:
        passing = light[ray]
        number = int(seen[ray])
    for index in range(int(ends[ray] - counts[ray]), int(ends[ray])):
        if passing >= least:
            number += 1
        passing *= wp.exp(-densities[index] * step_size)
    light[ray] = passing
    seen[ray] = wp.int64(number)


@wp.kernel(module=module, enable_backward=False)
def _keep_seen(
    first: int,
    stride: int,
    ends: wp.array2d(dtype=wp.int64),
    counts: wp.array2d(dtype=wp.int64),
    distances: wp.array(dtype=float),
    seen: wp.array(dtype=wp.int64),
    seen_ends: wp.array(dtype=wp.int64),
    samples: wp.array(dtype=float),
    sample_rays: wp.array(dtype=wp.int64),
):
    """The first samples of each ray, from all segments, so many as are seen."""
    ray = first + wp.tid() * stride
    target = int(seen_ends[ray] - seen[ray])
    before = int(0)
    for segment in range(ends.shape[0]):
        start = before + int(ends[segment, ray] - counts[segment, ray])
        before += int(ends[segment, ends.shape[1] - 1])
        for index in range(start, start + int(wp.min(counts[segment, ray], seen_ends[ray] - wp.int64(target)))):
            samples[target] = distances[index]
            sample_rays[target] = wp.int64(ray)
            target += 1


_real, _index = wp.float32, wp.int64

attenuate = ParallelKernel(_attenuate, (_index, _index, _real, None, None, None, _real, _index), minimum=MINIMUM_RAYS)
keep_seen = ParallelKernel(_keep_seen, (_index, _index, _real, _index, _index, _real, _index), minimum=MINIMUM_RAYS)
pack = ParallelKernel(_pack, (_index, _index, _real, _real, _index), minimum=MINIMUM_RAYS)
