# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernels of the table optimiser and of the blend, generated for a number of features per row.

A work item is a block of rows. For every table in turn a CPU thread walks through the block, so that each of the many
streams (a table and its moment for every basis) is read in runs that the prefetcher can follow; on CUDA a block is one
row.
"""

# ruff: noqa: UP018 (in a Warp kernel, int(0) makes a variable where 0 makes a constant)

from dataclasses import dataclass
from functools import cache
from typing import Any

import warp as wp

from nerfblendshape_ns.ops.launch import ParallelKernel

BLOCK = 1024
"""Rows of a block on the CPU."""


@dataclass(frozen=True)
class TableKernels:
    """The kernels for one number of features, and the Warp module that holds them."""

    update: ParallelKernel
    blend: ParallelKernel
    module: Any


# The inner loop over the touched rows of one basis, in plain C++ for the reason given in hash_grid_kernels.
_UPDATE_BASIS = """
    const size_t rows = mean.shape[0];
    float* table = (float*)(bases.data + basis * rows);
    float* moments = (float*)(basis_moments.data + basis * rows);
    const float* scales = (const float*)scale.data;
    const float* above = (const float*)gradients.data;
    const int frames = gradients.shape[0];
    const int tables = coefficients.shape[1];
    const float* weights = coefficients.data + basis + 1;
    for (int item = begin; item < end; ++item) {
        const size_t entry = (size_t)touched.data[item] * FEATURES;
        float gradient[FEATURES];
        float value[FEATURES];
        for (int f = 0; f < FEATURES; ++f) gradient[f] = weights[0] * above[entry + f];
        for (int frame = 1; frame < frames; ++frame)
            for (int f = 0; f < FEATURES; ++f)
                gradient[f] += weights[(size_t)frame * tables] * above[frame * rows * FEATURES + entry + f];
        for (int f = 0; f < FEATURES; ++f)
            gradient[f] = decay * moments[entry + f] + (1.0f - beta1) * gradient[f];
        for (int f = 0; f < FEATURES; ++f) {
            const float moved = table[entry + f] - rate * gradient[f] * scales[entry + f];
            const float size = (moved < 0.0f ? -moved : moved) - threshold;
            value[f] = size > 0.0f ? (moved < 0.0f ? -size : size) : 0.0f;
        }
        for (int f = 0; f < FEATURES; ++f) moments[entry + f] = gradient[f];
        for (int f = 0; f < FEATURES; ++f) table[entry + f] = value[f];
    }
"""

# Several bases per pass, so that the running sum is loaded and stored less often than the tables are read.
_ADD_BASES = """
    const size_t entries = (size_t)mean.shape[0] * FEATURES;
    const float* tables = (const float*)bases.data;
    const float* weights = coefficients.data + (size_t)frame * coefficients.shape[1];
    float* sum = (float*)(blended.data) + frame * entries;
    const float* neutral = (const float*)mean.data;
    const size_t first = (size_t)begin * FEATURES;
    const size_t last = (size_t)end * FEATURES;
    for (size_t i = first; i < last; ++i) sum[i] = weights[0] * neutral[i];
    const int count = bases.shape[0];
    int used[4];
    int number = 0;
    for (int basis = 0; basis < count; ++basis) {
        if (weights[basis + 1] != 0.0f) used[number++] = basis;
        if (number == 4) {
            const float w0 = weights[used[0] + 1], w1 = weights[used[1] + 1];
            const float w2 = weights[used[2] + 1], w3 = weights[used[3] + 1];
            const float* t0 = tables + used[0] * entries;
            const float* t1 = tables + used[1] * entries;
            const float* t2 = tables + used[2] * entries;
            const float* t3 = tables + used[3] * entries;
            for (size_t i = first; i < last; ++i) sum[i] += w0 * t0[i] + w1 * t1[i] + w2 * t2[i] + w3 * t3[i];
            number = 0;
        }
    }
    for (int item = 0; item < number; ++item) {
        const float w0 = weights[used[item] + 1];
        const float* t0 = tables + used[item] * entries;
        for (size_t i = first; i < last; ++i) sum[i] += w0 * t0[i];
    }
"""


@cache
def table_kernels(features: int) -> TableKernels:
    """Kernels for rows of ``features`` (1, 2, 4 or 8)."""
    Row = wp.types.vector(length=features, dtype=wp.float32)
    module = wp.get_module(f"nerfblendshape_ns.table_update_{features}f")
    module.options.update(enable_backward=False)

    @wp.func_native(_UPDATE_BASIS.replace("FEATURES", str(features)))
    def update_basis(
        basis: int,
        begin: int,
        end: int,
        mean: wp.array(dtype=Row),
        bases: wp.array2d(dtype=Row),
        basis_moments: wp.array2d(dtype=Row),
        coefficients: wp.array2d(dtype=float),
        gradients: wp.array2d(dtype=Row),
        scale: wp.array(dtype=Row),
        touched: wp.array(dtype=int),
        rate: float,
        threshold: float,
        decay: float,
        beta1: float,
    ):
        """Moments and table of one basis for the rows listed in ``touched[begin:end]``."""
        ...

    @wp.kernel(module=module, enable_backward=False)
    def update(
        first: int,
        stride: int,
        block: int,
        mean: wp.array(dtype=Row),
        bases: wp.array2d(dtype=Row),
        mean_moment: wp.array(dtype=Row),
        basis_moments: wp.array2d(dtype=Row),
        second_moment: wp.array(dtype=Row),
        coefficients: wp.array2d(dtype=float),
        gradients: wp.array2d(dtype=Row),
        multipliers: wp.array(dtype=float),
        idle: wp.array(dtype=float),
        scale: wp.array(dtype=Row),
        touched: wp.array(dtype=int),
        learning_rate: float,
        shrink: float,
        beta1: float,
        beta2: float,
        epsilon: float,
        first_correction: float,
        second_correction: float,
    ):
        begin = (first + wp.tid() * stride) * block
        end = wp.min(begin + block, mean.shape[0])
        frames = gradients.shape[0]
        count = int(begin)
        # The rows of this block that some frame touched, and what the shared second moment divides their steps by.
        for row in range(begin, end):
            any_frame = float(0.0)
            shared = Row()
            # Each basis moves by its own weighted sum of the frames' gradients; no such sum exceeds the sum of sizes.
            largest = Row()
            for frame in range(frames):
                gradient = gradients[frame, row]
                shared += coefficients[frame, 0] * gradient
                largest += wp.abs(coefficients[frame, 0]) * wp.abs(gradient)
                any_frame = any_frame + wp.dot(wp.abs(gradient), Row(1.0))
            if any_frame != 0.0:
                second = beta2 * second_moment[row] + (1.0 - beta2) * wp.cw_mul(largest, largest)
                second_moment[row] = second
                inverse = Row()
                for f in range(wp.static(features)):
                    # An entry that no gradient ever reached has no scale, and does not move.
                    if second[f] > 0.0:
                        inverse[f] = 1.0 / (wp.sqrt(second[f] * second_correction) + epsilon)
                scale[row] = inverse
                touched[count] = row
                count += 1
                moment = beta1 * mean_moment[row] + (1.0 - beta1) * shared
                mean_moment[row] = moment
                rate = learning_rate * multipliers[0] * first_correction
                mean[row] = mean[row] - rate * wp.cw_mul(moment, inverse)
        for basis in range(bases.shape[0]):
            used = bool(False)
            for frame in range(frames):
                used = used or coefficients[frame, basis + 1] != 0.0
            if used and count > begin:
                decay = float(beta1)
                if idle.shape[0] > 0:
                    decay = wp.pow(beta1, 1.0 + idle[basis])
                rate = learning_rate * multipliers[basis + 1]
                update_basis(
                    basis,
                    begin,
                    count,
                    mean,
                    bases,
                    basis_moments,
                    coefficients,
                    gradients,
                    scale,
                    touched,
                    rate * first_correction,
                    rate * shrink,
                    decay,
                    beta1,
                )

    @wp.func_native(_ADD_BASES.replace("FEATURES", str(features)))
    def add_bases(
        frame: int,
        begin: int,
        end: int,
        coefficients: wp.array2d(dtype=float),
        mean: wp.array(dtype=Row),
        bases: wp.array2d(dtype=Row),
        blended: wp.array2d(dtype=Row),
    ):
        """The blended table of one frame for a range of rows."""
        ...

    @wp.kernel(module=module, enable_backward=False)
    def blend(
        first: int,
        stride: int,
        block: int,
        coefficients: wp.array2d(dtype=float),
        mean: wp.array(dtype=Row),
        bases: wp.array2d(dtype=Row),
        blended: wp.array2d(dtype=Row),
    ):
        begin = (first + wp.tid() * stride) * block
        end = wp.min(begin + block, mean.shape[0])
        for frame in range(blended.shape[0]):
            add_bases(frame, begin, end, coefficients, mean, bases, blended)

    return TableKernels(
        blend=ParallelKernel(blend, (None, wp.float32, Row, Row, Row)),
        update=ParallelKernel(
            update,
            (None, Row, Row, Row, Row, Row, wp.float32, Row, wp.float32, wp.float32, Row, wp.int32) + 7 * (None,),
        ),
        module=module,
    )
