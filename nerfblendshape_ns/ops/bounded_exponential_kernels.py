# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernels of :mod:`nerfblendshape_ns.ops.bounded_exponential`."""

import warp as wp

from nerfblendshape_ns.ops.launch import ParallelKernel

module = wp.get_module("nerfblendshape_ns.bounded_exponential")
module.options.update(enable_backward=False)

MINIMUM = 4096
"""Values worth a thread of their own."""


@wp.kernel(module=module, enable_backward=False)
def _bounded_exponential(
    first: int,
    stride: int,
    values: wp.array(dtype=float),
    shift: float,
    bound: float,
    result: wp.array(dtype=float),
):
    item = first + wp.tid() * stride
    value = wp.exp(values[item] + shift)
    if value > bound:  # Unlike a minimum this leaves NaN to be seen.
        value = bound
    result[item] = value


@wp.kernel(module=module, enable_backward=False)
def _bounded_exponential_gradient(
    first: int,
    stride: int,
    values: wp.array(dtype=float),
    shift: float,
    bound: float,
    gradient: wp.array(dtype=float),
    result: wp.array(dtype=float),
):
    item = first + wp.tid() * stride
    value = wp.exp(values[item] + shift)
    slope = gradient[item]
    if value > bound:
        slope = wp.max(slope, 0.0)
    result[item] = slope * wp.min(value, bound)


forward = ParallelKernel(_bounded_exponential, (wp.float32, None, None, wp.float32), minimum=MINIMUM)
backward = ParallelKernel(
    _bounded_exponential_gradient, (wp.float32, None, None, wp.float32, wp.float32), minimum=MINIMUM
)
