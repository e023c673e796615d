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
# that is only known at run time, and keeps the compiler from vectorising: over the samples where cells and weights are
# computed, over the features where tables are read and written.
_FOR_SAMPLES = """
#if defined(__CUDA_ARCH__)
    const int most = 1;
#else
    const int most = 64;
#endif
    const unsigned int primes[3] = {1u, 2654435761u, 805459861u};
    const float scale = (float)resolution;
    const int last = resolution - 1;
    unsigned int steps[DIMENSIONS];
    for (int axis = 0; axis < DIMENSIONS; ++axis)
        steps[axis] = dense ? (axis ? steps[axis - 1] * (unsigned int)(resolution + 1) : 1u) : primes[axis];
    const unsigned int mask = (unsigned int)size - 1u;
    const bool many = frame_index.shape[0] > 0;
    unsigned int rows[CORNERS][most];
    float weights[CORNERS][most];
    for (int first = begin; first < end; first += most) {
        const int count = end - first < most ? end - first : most;
        const float* position = (const float*)(positions.data + first);
        for (int s = 0; s < count; ++s) {
            float part[DIMENSIONS][2];
            unsigned int place[DIMENSIONS][2];
#pragma unroll
            for (int axis = 0; axis < DIMENSIONS; ++axis) {
                float value = position[s * DIMENSIONS + axis];
                value = value > 0.0f ? value : 0.0f;
                value = (value < 1.0f ? value : 1.0f) * scale;
                const int floor = (int)value;
                const int cell = floor < last ? floor : last;
                part[axis][1] = value - (float)cell;
                part[axis][0] = 1.0f - part[axis][1];
                place[axis][0] = (unsigned int)cell * steps[axis];
                place[axis][1] = place[axis][0] + steps[axis];
            }
#pragma unroll
            for (int c = 0; c < CORNERS; ++c) {
                float weight = part[0][c & 1];
                unsigned int sum = place[0][c & 1], mixed = place[0][c & 1];
#pragma unroll
                for (int axis = 1; axis < DIMENSIONS; ++axis) {
                    weight *= part[axis][(c >> axis) & 1];
                    sum += place[axis][(c >> axis) & 1];
                    mixed ^= place[axis][(c >> axis) & 1];
                }
                weights[c][s] = weight;
                rows[c][s] = (unsigned int)offset + (dense ? sum : mixed & mask);
            }
        }
        for (int s = 0; s < count; ++s) {
            const int sample = first + s;
            const size_t frame = many ? frame_index.data[sample] : 0;
            SAMPLE
        }
    }
"""

_GATHER = """
            const wp::vec_t<FEATURES, float>* table = tables.data + frame * tables.shape[1];
            float sum[FEATURES];
            for (int f = 0; f < FEATURES; ++f) sum[f] = 0.0f;
#pragma unroll
            for (int c = 0; c < CORNERS; ++c) {
                const float* row = (const float*)(table + rows[c][s]);
                for (int f = 0; f < FEATURES; ++f) sum[f] += weights[c][s] * row[f];
            }
            float* target = (float*)(encoded.data + (size_t)sample * encoded.shape[1] + level);
            for (int f = 0; f < FEATURES; ++f) target[f] = sum[f];
"""

_SCATTER = """
            wp::vec_t<FEATURES, float>* table = result.data + frame * result.shape[1];
            const float* source = (const float*)(gradient.data + (size_t)sample * gradient.shape[1] + level);
            float above[FEATURES];
            for (int f = 0; f < FEATURES; ++f) above[f] = source[f];
#pragma unroll
            for (int c = 0; c < CORNERS; ++c) {
                float* row = (float*)(table + rows[c][s]);
#if defined(__CUDA_ARCH__)
                for (int f = 0; f < FEATURES; ++f) atomicAdd(row + f, weights[c][s] * above[f]);
#else
                float old[FEATURES];
                for (int f = 0; f < FEATURES; ++f) old[f] = row[f];
                for (int f = 0; f < FEATURES; ++f) row[f] = old[f] + weights[c][s] * above[f];
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
    corner_rows, fraction_gradient, inside = geometry.corner_rows, geometry.fraction_gradient, geometry.inside
    Row = wp.types.vector(length=features, dtype=wp.float32)
    module = wp.get_module(f"nerfblendshape_ns.hash_grid_{dimensions}d_{features}f")
    module.options.update(enable_backward=False)

    def source(text: str) -> str:
        for name, number in {"DIMENSIONS": dimensions, "CORNERS": 2**dimensions, "FEATURES": features}.items():
            text = text.replace(name, str(number))
        return text

    @wp.func_native(source(_FOR_SAMPLES.replace("SAMPLE\n", _GATHER)))
    def gather(
        begin: int,
        end: int,
        level: int,
        resolution: int,
        offset: int,
        size: int,
        dense: bool,
        positions: wp.array(dtype=Position),
        frame_index: wp.array(dtype=int),
        tables: wp.array2d(dtype=Row),
        encoded: wp.array2d(dtype=Row),
    ): ...

    @wp.func_native(source(_DOTS))
    def corner_dots(
        tables: wp.array2d(dtype=Row),
        frame: int,
        rows: CornerRows,
        gradient: wp.array2d(dtype=Row),
        sample: int,
        level: int,
    ) -> Corners: ...

    @wp.func_native(source(_CLEAR))
    def clear(begin: int, end: int, result: wp.array2d(dtype=Row)): ...

    @wp.func_native(source(_FOR_SAMPLES.replace("SAMPLE\n", _SCATTER)))
    def scatter(
        begin: int,
        end: int,
        level: int,
        resolution: int,
        offset: int,
        size: int,
        dense: bool,
        positions: wp.array(dtype=Position),
        frame_index: wp.array(dtype=int),
        gradient: wp.array2d(dtype=Row),
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
        gather(begin, end, level, resolution, offset, size, dense, positions, frame_index, tables, encoded)

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
        scatter(begin, end, level, resolution, offset, size, dense, positions, frame_index, gradient, result)

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
