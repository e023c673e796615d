# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernels of the hash grid, generated for a number of dimensions and of features a row.

A kernel's work item is a block of samples on one level: a CPU thread walks through the block with the level's numbers
in registers and its table in the cache; on CUDA a block is one sample.
"""

# ruff: noqa: UP018 (in a Warp kernel, int(0) makes a variable where 0 makes a constant)

from dataclasses import dataclass
from functools import cache
from typing import Any

import warp as wp

from nerfblendshape_ns.ops.launch import ParallelKernel

BLOCK = 512
"""Samples of a block on the CPU."""

PRIME_Y = wp.constant(wp.uint32(2654435761))
PRIME_Z = wp.constant(wp.uint32(805459861))

vec4i = wp.types.vector(length=4, dtype=wp.int32)
vec8i = wp.types.vector(length=8, dtype=wp.int32)
vec8 = wp.types.vector(length=8, dtype=wp.float32)


@dataclass(frozen=True)
class HashGridKernels:
    """The kernels of one grid shape, and the Warp module that holds them; arguments as in their definitions."""

    forward: ParallelKernel
    table_gradient: ParallelKernel
    position_gradient: ParallelKernel
    module: Any


@wp.func
def _scaled_2d(position: wp.vec2, scale: float):
    return wp.vec2(wp.clamp(position[0], 0.0, 1.0) * scale, wp.clamp(position[1], 0.0, 1.0) * scale)


@wp.func
def _scaled_3d(position: wp.vec3, scale: float):
    return wp.vec3(
        wp.clamp(position[0], 0.0, 1.0) * scale,
        wp.clamp(position[1], 0.0, 1.0) * scale,
        wp.clamp(position[2], 0.0, 1.0) * scale,
    )


# The cell is clamped as an integer, so that no position, NaN included, leaves the table.
@wp.func
def _cell_2d(scaled: wp.vec2, last: int):
    return wp.vec2i(wp.clamp(int(scaled[0]), 0, last), wp.clamp(int(scaled[1]), 0, last))


@wp.func
def _cell_3d(scaled: wp.vec3, last: int):
    return wp.vec3i(
        wp.clamp(int(scaled[0]), 0, last), wp.clamp(int(scaled[1]), 0, last), wp.clamp(int(scaled[2]), 0, last)
    )


@wp.func
def _fraction_2d(scaled: wp.vec2, cell: wp.vec2i):
    return wp.vec2(scaled[0] - float(cell[0]), scaled[1] - float(cell[1]))


@wp.func
def _fraction_3d(scaled: wp.vec3, cell: wp.vec3i):
    return wp.vec3(scaled[0] - float(cell[0]), scaled[1] - float(cell[1]), scaled[2] - float(cell[2]))


# Whether a level is dense: no power of a large side is taken, since it would not fit into 32 bits.
@wp.func
def _dense_2d(resolution: int, size: int):
    return resolution < 32768 and (resolution + 1) * (resolution + 1) <= size


@wp.func
def _dense_3d(resolution: int, size: int):
    return resolution < 1024 and (resolution + 1) * (resolution + 1) * (resolution + 1) <= size


# Rows of a cell's corners; corner c lies at the far side of axis a when bit a of c is set.
@wp.func
def _corner_rows_2d(cell: wp.vec2i, resolution: int, offset: int, size: int, dense: bool):
    x0 = wp.uint32(cell[0])
    x1 = x0 + wp.uint32(1)
    if dense:
        side = wp.uint32(resolution + 1)
        row = offset + int(x0 + side * wp.uint32(cell[1]))
        return vec4i(row, row + 1, row + int(side), row + int(side) + 1)
    mask = wp.uint32(size - 1)
    y0 = wp.uint32(cell[1]) * PRIME_Y
    y1 = y0 + PRIME_Y
    return vec4i(
        offset + int((x0 ^ y0) & mask),
        offset + int((x1 ^ y0) & mask),
        offset + int((x0 ^ y1) & mask),
        offset + int((x1 ^ y1) & mask),
    )


@wp.func
def _corner_rows_3d(cell: wp.vec3i, resolution: int, offset: int, size: int, dense: bool):
    x0 = wp.uint32(cell[0])
    x1 = x0 + wp.uint32(1)
    if dense:
        side = wp.uint32(resolution + 1)
        r0 = offset + int(x0 + side * (wp.uint32(cell[1]) + side * wp.uint32(cell[2])))
        r1 = r0 + int(side)
        r2 = r0 + int(side * side)
        r3 = r2 + int(side)
        return vec8i(r0, r0 + 1, r1, r1 + 1, r2, r2 + 1, r3, r3 + 1)
    mask = wp.uint32(size - 1)
    y0 = wp.uint32(cell[1]) * PRIME_Y
    y1 = y0 + PRIME_Y
    z0 = wp.uint32(cell[2]) * PRIME_Z
    z1 = z0 + PRIME_Z
    return vec8i(
        offset + int((x0 ^ y0 ^ z0) & mask),
        offset + int((x1 ^ y0 ^ z0) & mask),
        offset + int((x0 ^ y1 ^ z0) & mask),
        offset + int((x1 ^ y1 ^ z0) & mask),
        offset + int((x0 ^ y0 ^ z1) & mask),
        offset + int((x1 ^ y0 ^ z1) & mask),
        offset + int((x0 ^ y1 ^ z1) & mask),
        offset + int((x1 ^ y1 ^ z1) & mask),
    )


# Multilinear interpolation weights, corners as above.
@wp.func
def _corner_weights_2d(f: wp.vec2):
    g = wp.vec2(1.0 - f[0], 1.0 - f[1])
    return wp.vec4(g[0] * g[1], f[0] * g[1], g[0] * f[1], f[0] * f[1])


@wp.func
def _corner_weights_3d(f: wp.vec3):
    g = wp.vec3(1.0 - f[0], 1.0 - f[1], 1.0 - f[2])
    w0 = g[1] * g[2]
    w1 = f[1] * g[2]
    w2 = g[1] * f[2]
    w3 = f[1] * f[2]
    return vec8(g[0] * w0, f[0] * w0, g[0] * w1, f[0] * w1, g[0] * w2, f[0] * w2, g[0] * w3, f[0] * w3)


# Derivative of the interpolated value in the fraction, from the corners' values d[c].
@wp.func
def _fraction_gradient_2d(f: wp.vec2, d: wp.vec4):
    return wp.vec2(
        (1.0 - f[1]) * (d[1] - d[0]) + f[1] * (d[3] - d[2]),
        (1.0 - f[0]) * (d[2] - d[0]) + f[0] * (d[3] - d[1]),
    )


@wp.func
def _fraction_gradient_3d(f: wp.vec3, d: vec8):
    g = wp.vec3(1.0 - f[0], 1.0 - f[1], 1.0 - f[2])
    return wp.vec3(
        g[2] * (g[1] * (d[1] - d[0]) + f[1] * (d[3] - d[2])) + f[2] * (g[1] * (d[5] - d[4]) + f[1] * (d[7] - d[6])),
        g[2] * (g[0] * (d[2] - d[0]) + f[0] * (d[3] - d[1])) + f[2] * (g[0] * (d[6] - d[4]) + f[0] * (d[7] - d[5])),
        g[1] * (g[0] * (d[4] - d[0]) + f[0] * (d[5] - d[1])) + f[1] * (g[0] * (d[6] - d[2]) + f[0] * (d[7] - d[3])),
    )


# Clamped coordinates do not move.
@wp.func
def _inside_2d(position: wp.vec2, gradient: wp.vec2):
    return wp.vec2(
        wp.where(position[0] >= 0.0 and position[0] <= 1.0, gradient[0], 0.0),
        wp.where(position[1] >= 0.0 and position[1] <= 1.0, gradient[1], 0.0),
    )


@wp.func
def _inside_3d(position: wp.vec3, gradient: wp.vec3):
    return wp.vec3(
        wp.where(position[0] >= 0.0 and position[0] <= 1.0, gradient[0], 0.0),
        wp.where(position[1] >= 0.0 and position[1] <= 1.0, gradient[1], 0.0),
        wp.where(position[2] >= 0.0 and position[2] <= 1.0, gradient[2], 0.0),
    )


_TYPES = {2: (wp.vec2, wp.vec4, vec4i), 3: (wp.vec3, vec8, vec8i)}
_CELL = {
    2: (_scaled_2d, _cell_2d, _fraction_2d, _dense_2d),
    3: (_scaled_3d, _cell_3d, _fraction_3d, _dense_3d),
}
_CORNERS = {
    2: (_corner_rows_2d, _corner_weights_2d, _fraction_gradient_2d, _inside_2d),
    3: (_corner_rows_3d, _corner_weights_3d, _fraction_gradient_3d, _inside_3d),
}

# Plain C++ where it matters: indexing a Warp array costs a test for negative indices and a multiplication by a stride
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


_CLEAR = """
    for (int frame = 0; frame < result.shape[0]; ++frame) {
        float* rows = (float*)(result.data + (size_t)frame * result.shape[1]);
        for (size_t i = (size_t)begin * FEATURES; i < (size_t)end * FEATURES; ++i) rows[i] = 0.0f;
    }
    """


@cache
def hash_grid_kernels(dimensions: int, features: int) -> HashGridKernels:
    """Kernels for positions of ``dimensions`` (2 or 3) and rows of ``features`` (1, 2, 4 or 8)."""
    Position, Corners, CornerRows = _TYPES[dimensions]
    scaled_of, cell_of, fraction_of, is_dense = _CELL[dimensions]
    corner_rows, corner_weights, fraction_gradient, inside = _CORNERS[dimensions]
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
                above = gradient[sample, level]
                values = Corners()
                for corner in range(wp.static(num_corners)):
                    values[corner] = wp.dot(above, tables[frame, rows[corner]])
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
