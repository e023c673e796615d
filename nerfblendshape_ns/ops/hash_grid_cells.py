# type: ignore  (Warp kernels are Python in syntax only)
"""Cell and corner rows of a position on a level of the hash grid, and what moving it changes; for kernels to call."""

from dataclasses import dataclass
from typing import Any

import warp as wp

PRIME_Y = wp.constant(wp.uint32(2654435761))
PRIME_Z = wp.constant(wp.uint32(805459861))

vec4i = wp.types.vector(length=4, dtype=wp.int32)
vec8i = wp.types.vector(length=8, dtype=wp.int32)
vec8 = wp.types.vector(length=8, dtype=wp.float32)


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


# Derivative of the interpolated value with respect to the fraction, from the corners' values d[c].
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


@dataclass(frozen=True)
class GridGeometry:
    """Types and functions of one number of dimensions, for kernels generated by :mod:`hash_grid_kernels`."""

    Position: Any
    Corners: Any
    CornerRows: Any
    scaled: Any
    cell: Any
    fraction: Any
    is_dense: Any
    corner_rows: Any
    fraction_gradient: Any
    inside: Any


GEOMETRY = {
    2: GridGeometry(
        *(wp.vec2, wp.vec4, vec4i, _scaled_2d, _cell_2d, _fraction_2d, _dense_2d),
        *(_corner_rows_2d, _fraction_gradient_2d, _inside_2d),
    ),
    3: GridGeometry(
        *(wp.vec3, vec8, vec8i, _scaled_3d, _cell_3d, _fraction_3d, _dense_3d),
        *(_corner_rows_3d, _fraction_gradient_3d, _inside_3d),
    ),
}
"""By number of dimensions."""
