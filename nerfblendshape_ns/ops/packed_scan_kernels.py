# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernel of :mod:`nerfblendshape_ns.ops.packed_scan`; a work item is a chunk."""

# ruff: noqa: UP018 (in a Warp kernel, float(0) makes a variable where 0 makes a constant)

import warp as wp

from nerfblendshape_ns.ops.launch import ParallelKernel

module = wp.get_module("nerfblendshape_ns.packed_scan")
module.options.update(enable_backward=False)


@wp.kernel(module=module, enable_backward=False)
def _exclusive_sum(
    first: int,
    stride: int,
    starts: wp.array(dtype=wp.int64),
    counts: wp.array(dtype=wp.int64),
    inputs: wp.array(dtype=float),
    reverse: int,
    outputs: wp.array(dtype=float),
):
    chunk = first + wp.tid() * stride
    begin = int(starts[chunk])
    count = int(counts[chunk])
    total = float(0.0)
    for step in range(count):
        i = begin + step
        if reverse != 0:
            i = begin + count - 1 - step
        outputs[i] = total
        total += inputs[i]


scan_exclusive_sum = ParallelKernel(
    _exclusive_sum,
    (wp.int64, wp.int64, wp.float32, None, wp.float32),
    minimum=128,
)
