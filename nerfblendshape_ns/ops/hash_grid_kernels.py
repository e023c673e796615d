# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernels of the hash grid, generated for a number of dimensions and of features per row.

A kernel's work item is a block of samples on one level: a CPU thread walks through the block with the level's numbers
in registers and its table in the cache; on CUDA a block is one sample.
"""

# ruff: noqa: UP018 (in a Warp kernel, int(0) makes a variable where 0 makes a constant)

from dataclasses import dataclass
from functools import cache
from typing import Any

import warp as wp

from nerfblendshape_ns.ops.hash_grid_cells import GEOMETRY
from nerfblendshape_ns.ops.launch import ParallelKernel

BLOCK = 512
"""Samples of a block on the CPU."""


@dataclass(frozen=True)
class HashGridKernels:
    """The kernels of one grid shape, and the Warp module that holds them; arguments as in their definitions."""

    forward: ParallelKernel
    table_gradient: ParallelKernel
    position_gradient: ParallelKernel
    module: Any


# Plain C++ in the inner loops: indexing a Warp array costs a test for negative indices and a multiplication by a stride
# that is only known at run time, and keeps the compiler from vectorising over the features.
_GATHER = """
    const wp::vec_t<FEATURES, float>* table = tables.data + (size_t)frame * tables.shape[1];
    float sum[FEATURES];
    for (int f = 0; f < FEATURES; ++f) sum[f] = 0.0f;
#pragma unroll
    for (int c = 0; c < CORNERS; ++c) {
        const float* row = (const float*)(table + (unsigned int)rows.c[c]);
        for (int f = 0; f < FEATURES; ++f) sum[f] += weights.c[c] * row[f];
    }
    float* target = (float*)(encoded.data + (size_t)sample * encoded.shape[1] + level);
    for (int f = 0; f < FEATURES; ++f) target[f] = sum[f];
    """

_SCATTER = """
    wp::vec_t<FEATURES, float>* table = result.data + (size_t)frame * result.shape[1];
    const float* source = (const float*)(gradient.data + (size_t)sample * gradient.shape[1] + level);
    float above[FEATURES];
    for (int f = 0; f < FEATURES; ++f) above[f] = source[f];
#pragma unroll
    for (int c = 0; c < CORNERS; ++c) {
        float* row = (float*)(table + (unsigned int)rows.c[c]);
#if defined(__CUDA_ARCH__)
        for (int f = 0; f < FEATURES; ++f) atomicAdd(row + f, weights.c[c] * above[f]);
#else
        float old[FEATURES];
        for (int f = 0; f < FEATURES; ++f) old[f] = row[f];
        for (int f = 0; f < FEATURES; ++f) row[f] = old[f] + weights.c[c] * above[f];
#endif
    }
    """


_DOTS = """
    const wp::vec_t<FEATURES, float>* table = tables.data + (size_t)frame * tables.shape[1];
    const float* above = (const float*)(gradient.data + (size_t)sample * gradient.shape[1] + level);
    wp::vec_t<CORNERS, float> dots;
#pragma unroll
    for (int c = 0; c < CORNERS; ++c) {
        const float* row = (const float*)(table + (unsigned int)rows.c[c]);
        float sum = 0.0f;
        for (int f = 0; f < FEATURES; ++f) sum += above[f] * row[f];
        dots.c[c] = sum;
    }
    return dots;
    """

_CLEAR = """
    for (int frame = 0; frame < result.shape[0]; ++frame) {
        float* rows = (float*)(result.data + (size_t)frame * result.shape[1]);
        for (size_t i = (size_t)begin * FEATURES; i < (size_t)end * FEATURES; ++i) rows[i] = 0.0f;
    }
    """


@cache
def hash_grid_kernels(dimensions: int, features: int) -> HashGridKernels:
    """Kernels for positions of ``dimensions`` (2 or 3) and rows of ``features`` (1, 2, 4 or 8)."""
    geometry = GEOMETRY[dimensions]
    Position, Corners, CornerRows = geometry.Position, geometry.Corners, geometry.CornerRows
    scaled_of, cell_of, fraction_of, is_dense = geometry.scaled, geometry.cell, geometry.fraction, geometry.is_dense
    corner_rows, corner_weights = geometry.corner_rows, geometry.corner_weights
    fraction_gradient, inside = geometry.fraction_gradient, geometry.inside
    Row = wp.types.vector(length=features, dtype=wp.float32)
    num_corners = 2**dimensions
    module = wp.get_module(f"nerfblendshape_ns.hash_grid_{dimensions}d_{features}f")
    module.options.update(enable_backward=False)

    @wp.func_native(_GATHER.replace("FEATURES", str(features)).replace("CORNERS", str(num_corners)))
    def gather(
        tables: wp.array2d(dtype=Row),
        frame: int,
        rows: CornerRows,
        weights: Corners,
        encoded: wp.array2d(dtype=Row),
        sample: int,
        level: int,
    ): ...

    @wp.func_native(_DOTS.replace("FEATURES", str(features)).replace("CORNERS", str(num_corners)))
    def corner_dots(
        tables: wp.array2d(dtype=Row),
        frame: int,
        rows: CornerRows,
        gradient: wp.array2d(dtype=Row),
        sample: int,
        level: int,
    ) -> Corners: ...

    @wp.func_native(_CLEAR.replace("FEATURES", str(features)))
    def clear(begin: int, end: int, result: wp.array2d(dtype=Row)): ...

    @wp.func_native(_SCATTER.replace("FEATURES", str(features)).replace("CORNERS", str(num_corners)))
    def scatter(
        gradient: wp.array2d(dtype=Row),
        sample: int,
        level: int,
        frame: int,
        rows: CornerRows,
        weights: Corners,
        result: wp.array2d(dtype=Row),
    ): ...

    @wp.kernel(module=module, enable_backward=False)
    def forward(
        first: int,
        stride: int,
        block: int,
        positions: wp.array(dtype=Position),
        frame_index: wp.array(dtype=int),
        tables: wp.array2d(dtype=Row),
        resolutions: wp.array(dtype=int),
        offsets: wp.array(dtype=int),
        encoded: wp.array2d(dtype=Row),
    ):
        item, level = wp.tid()
        begin = (first + item * stride) * block
        end = wp.min(begin + block, positions.shape[0])
        resolution = resolutions[level]
        offset = offsets[level]
        size = offsets[level + 1] - offset
        dense = is_dense(resolution, size)
        many = frame_index.shape[0] > 0
        frame = int(0)
        for sample in range(begin, end):
            if many:
                frame = frame_index[sample]
            scaled = scaled_of(positions[sample], float(resolution))
            cell = cell_of(scaled, resolution - 1)
            weights = corner_weights(fraction_of(scaled, cell))
            rows = corner_rows(cell, resolution, offset, size, dense)
            gather(tables, frame, rows, weights, encoded, sample, level)

    @wp.kernel(module=module, enable_backward=False)
    def table_gradient(
        first: int,
        stride: int,
        block: int,
        positions: wp.array(dtype=Position),
        frame_index: wp.array(dtype=int),
        resolutions: wp.array(dtype=int),
        offsets: wp.array(dtype=int),
        owned: int,
        gradient: wp.array2d(dtype=Row),
        result: wp.array2d(dtype=Row),
    ):
        item, part = wp.tid()
        level = first + item * stride
        begin = part * block
        end = wp.min(begin + block, positions.shape[0])
        resolution = resolutions[level]
        offset = offsets[level]
        size = offsets[level + 1] - offset
        dense = is_dense(resolution, size)
        if owned != 0:
            clear(offset, offset + size, result)
        many = frame_index.shape[0] > 0
        frame = int(0)
        for sample in range(begin, end):
            if many:
                frame = frame_index[sample]
            scaled = scaled_of(positions[sample], float(resolution))
            cell = cell_of(scaled, resolution - 1)
            weights = corner_weights(fraction_of(scaled, cell))
            rows = corner_rows(cell, resolution, offset, size, dense)
            scatter(gradient, sample, level, frame, rows, weights, result)

    @wp.kernel(module=module, enable_backward=False)
    def position_gradient(
        first: int,
        stride: int,
        block: int,
        positions: wp.array(dtype=Position),
        frame_index: wp.array(dtype=int),
        tables: wp.array2d(dtype=Row),
        resolutions: wp.array(dtype=int),
        offsets: wp.array(dtype=int),
        gradient: wp.array2d(dtype=Row),
        result: wp.array(dtype=Position),
    ):
        item = wp.tid()
        begin = (first + item * stride) * block
        end = wp.min(begin + block, positions.shape[0])
        many = frame_index.shape[0] > 0
        frame = int(0)
        for level in range(resolutions.shape[0]):
            resolution = resolutions[level]
            offset = offsets[level]
            size = offsets[level + 1] - offset
            dense = is_dense(resolution, size)
            for sample in range(begin, end):
                if many:
                    frame = frame_index[sample]
                scaled = scaled_of(positions[sample], float(resolution))
                cell = cell_of(scaled, resolution - 1)
                rows = corner_rows(cell, resolution, offset, size, dense)
                values = corner_dots(tables, frame, rows, gradient, sample, level)
                slope = float(resolution) * fraction_gradient(fraction_of(scaled, cell), values)
                result[sample] = result[sample] + inside(positions[sample], slope)

    return HashGridKernels(
        forward=ParallelKernel(forward, (None, Position, wp.int32, Row, wp.int32, wp.int32, Row)),
        table_gradient=ParallelKernel(
            table_gradient, (None, Position, wp.int32, wp.int32, wp.int32, None, Row, Row), interleaved=True
        ),
        position_gradient=ParallelKernel(
            position_gradient, (None, Position, wp.int32, Row, wp.int32, wp.int32, Row, Position)
        ),
        module=module,
    )
