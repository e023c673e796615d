# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernels of :mod:`nerfblendshape_ns.ops.packed_scan`; a work item is a chunk."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import warp as wp

from nerfblendshape_ns.ops.launch import ParallelKernel

MINIMUM_CHUNKS = 128
"""Chunks worth a thread of their own."""


@dataclass(frozen=True)
class ScanKernels:
    """The kernels for one element type, and the Warp module that holds them."""

    sum: ParallelKernel
    product: ParallelKernel
    product_backward: ParallelKernel
    module: Any


@cache
def scan_kernels(dtype: torch.dtype) -> ScanKernels:
    """Kernels for ``torch.float32`` or ``torch.float64``."""
    Scalar = {torch.float32: wp.float32, torch.float64: wp.float64}[dtype]
    module = wp.get_module(f"nerfblendshape_ns.packed_scan_{Scalar.__name__}")
    module.options.update(enable_backward=False)

    @wp.kernel(module=module, enable_backward=False)
    def scan_sum(
        first: int,
        stride: int,
        starts: wp.array(dtype=wp.int64),
        counts: wp.array(dtype=wp.int64),
        inputs: wp.array(dtype=Scalar),
        exclusive: int,
        reverse: int,
        outputs: wp.array(dtype=Scalar),
    ):
        chunk = first + wp.tid() * stride
        begin = int(starts[chunk])
        count = int(counts[chunk])
        total = Scalar(0.0)
        for step in range(count):
            i = begin + step
            if reverse != 0:
                i = begin + count - 1 - step
            if exclusive != 0:
                outputs[i] = total
            total += inputs[i]
            if exclusive == 0:
                outputs[i] = total

    @wp.kernel(module=module, enable_backward=False)
    def scan_product(
        first: int,
        stride: int,
        starts: wp.array(dtype=wp.int64),
        counts: wp.array(dtype=wp.int64),
        inputs: wp.array(dtype=Scalar),
        exclusive: int,
        outputs: wp.array(dtype=Scalar),
    ):
        chunk = first + wp.tid() * stride
        begin = int(starts[chunk])
        product = Scalar(1.0)
        for i in range(begin, begin + int(counts[chunk])):
            if exclusive != 0:
                outputs[i] = product
            product *= inputs[i]
            if exclusive == 0:
                outputs[i] = product

    # An output's derivative in factor i is the product of the other factors it has: those before i, which the forward
    # pass has as an output, times those between i and the output, which a sweep from the end gathers. No division.
    @wp.kernel(module=module, enable_backward=False)
    def scan_product_backward(
        first: int,
        stride: int,
        starts: wp.array(dtype=wp.int64),
        counts: wp.array(dtype=wp.int64),
        inputs: wp.array(dtype=Scalar),
        outputs: wp.array(dtype=Scalar),
        gradient: wp.array(dtype=Scalar),
        exclusive: int,
        result: wp.array(dtype=Scalar),
    ):
        chunk = first + wp.tid() * stride
        begin = int(starts[chunk])
        count = int(counts[chunk])
        later = Scalar(0.0)
        for step in range(count):
            i = begin + count - 1 - step
            if exclusive != 0:
                result[i] = outputs[i] * later
                later = gradient[i] + inputs[i] * later
            else:
                before = Scalar(1.0)
                if i > begin:
                    before = outputs[i - 1]
                later += gradient[i]
                result[i] = before * later
                later *= inputs[i]

    index = wp.int64
    return ScanKernels(
        sum=ParallelKernel(scan_sum, (index, index, Scalar, None, None, Scalar), minimum=MINIMUM_CHUNKS),
        product=ParallelKernel(scan_product, (index, index, Scalar, None, Scalar), minimum=MINIMUM_CHUNKS),
        product_backward=ParallelKernel(
            scan_product_backward, (index, index, Scalar, Scalar, Scalar, None, Scalar), minimum=MINIMUM_CHUNKS
        ),
        module=module,
    )
