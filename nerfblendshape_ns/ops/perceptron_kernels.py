# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernel of :mod:`nerfblendshape_ns.ops.perceptron`, generated for the widths of a network; for the CPU.

A work item is a block of samples. Sixteen at a time pass through all layers, one to a lane of the processor's vector
registers, so that what lies between layers never leaves the cache.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Tuple

import warp as wp

from nerfblendshape_ns.ops.launch import ParallelKernel

BLOCK = 256
"""Samples of a block."""
AT_ONCE = 16
"""Outputs of a layer that are summed at once, as many as there are registers for."""

_SAMPLES = """
#if !defined(__CUDA_ARCH__)
    typedef float Lanes __attribute__((vector_size(64)));
    const Lanes zero = {};
    Lanes values[2][WIDEST];
    for (int first = begin; first < end; first += 16) {
        int from[16];
        for (int s = 0; s < 16; ++s) from[s] = first + s < end ? first + s : end - 1;
        float* in = (float*)values[0];
        for (int s = 0; s < 16; ++s)
            for (int k = 0; k < INPUTS; ++k) in[k * 16 + s] = inputs.data[(size_t)from[s] * INPUTS + k];
        const float* start[16];
        for (int s = 0; s < 16; ++s)
            start[s] = starts.data + (size_t)(rows.shape[0] > 0 ? rows.data[from[s]] : 0) * starts.shape[1];
LAYERS
        const float* out = (const float*)values[LAST];
        for (int s = 0; s < 16 && first + s < end; ++s)
            for (int k = 0; k < OUTPUTS; ++k) outputs.data[(size_t)(first + s) * OUTPUTS + k] = out[k * 16 + s];
    }
#endif
"""

_SUMS = """
        {
            Lanes sums[COUNT];
START
            for (int k = 0; k < WIDTH; ++k) {
                const Lanes value = values[FROM][k];
                const float* weight = weights.data + OFFSET + k * OUT + BEGIN;
#pragma unroll
                for (int i = 0; i < COUNT; ++i) sums[i] += weight[i] * value;
            }
            for (int i = 0; i < COUNT; ++i) values[TO][BEGIN + i] = RESULT;
        }
"""
_START_OF_ROW = """
            for (int i = 0; i < COUNT; ++i)
                for (int s = 0; s < 16; ++s) ((float*)(sums + i))[s] = start[s][BEGIN + i];
"""
_START_OF_BIAS = """
            for (int i = 0; i < COUNT; ++i) sums[i] = zero + weights.data[OFFSET + WIDTH * OUT + BEGIN + i];
"""


@dataclass(frozen=True)
class PerceptronKernels:
    """The kernel of some widths, and the Warp module that holds it."""

    evaluate: ParallelKernel
    module: Any


def _source(widths: Tuple[int, ...]) -> str:
    layers, offset = [], 0
    for layer, (width, out) in enumerate(zip(widths, widths[1:])):
        last = layer == len(widths) - 2
        for begin in range(0, out, AT_ONCE):
            text = _SUMS.replace("START", _START_OF_BIAS if layer else _START_OF_ROW)
            text = text.replace("RESULT", "sums[i]" if last else "sums[i] > zero ? sums[i] : zero")
            numbers = {"COUNT": min(AT_ONCE, out - begin), "WIDTH": width, "OUT": out, "BEGIN": begin}
            numbers |= {"OFFSET": offset, "FROM": layer % 2, "TO": 1 - layer % 2}
            for name, number in numbers.items():
                text = text.replace(name, str(number))
            layers.append(text)
        offset += width * out + (out if layer else 0)
    text = _SAMPLES.replace("LAYERS", "".join(layers)).replace("LAST", str((len(widths) - 1) % 2))
    for name, number in {"WIDEST": max(widths), "INPUTS": widths[0], "OUTPUTS": widths[-1]}.items():
        text = text.replace(name, str(number))
    return text


@cache
def perceptron_kernels(widths: Tuple[int, ...]) -> PerceptronKernels:
    """The kernel of layers of these widths, from the inputs to the outputs."""
    module = wp.get_module(f"nerfblendshape_ns.perceptron_{'_'.join(map(str, widths))}")
    module.options.update(enable_backward=False)

    @wp.func_native(_source(widths))
    def evaluate_samples(
        begin: int,
        end: int,
        inputs: wp.array2d(dtype=float),
        rows: wp.array(dtype=int),
        starts: wp.array2d(dtype=float),
        weights: wp.array(dtype=float),
        outputs: wp.array2d(dtype=float),
    ): ...

    @wp.kernel(module=module, enable_backward=False)
    def evaluate(
        first: int,
        stride: int,
        block: int,
        inputs: wp.array2d(dtype=float),
        rows: wp.array(dtype=int),
        starts: wp.array2d(dtype=float),
        weights: wp.array(dtype=float),
        outputs: wp.array2d(dtype=float),
    ):
        begin = (first + wp.tid() * stride) * block
        evaluate_samples(begin, wp.min(begin + block, inputs.shape[0]), inputs, rows, starts, weights, outputs)

    dtypes = (None, wp.float32, wp.int32, wp.float32, wp.float32, wp.float32)
    return PerceptronKernels(evaluate=ParallelKernel(evaluate, dtypes), module=module)
