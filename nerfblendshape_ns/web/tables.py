"""Basis tables in 8 bit: a third or less of a page's size, at a loss that the documentation states."""

from __future__ import annotations

from typing import Sequence, Tuple

import numpy as np
from jaxtyping import Float, Int8
from numpy import ndarray

LARGEST = 127
"""Largest magnitude of a value; WebGL's signed normalised textures hold -127 to 127 as -1 to 1."""


def quantise(
    tables: Float[ndarray, "components rows features"], offsets: Sequence[int]
) -> Tuple[Int8[ndarray, "components rows features"], Float[ndarray, "components levels features"]]:
    """Tables in 8 bit, each feature of each level of a table with a scale of its own.

    Args:
        tables: of a hash grid.
        offsets: first row of every level, then the number of rows.

    Returns:
        The values, and what the largest magnitude, :data:`LARGEST`, stands for.
    """
    levels = list(zip(offsets, offsets[1:]))
    values = np.empty(tables.shape, np.int8)
    scales = np.empty((len(tables), len(levels), tables.shape[2]), np.float32)
    for level, (first, last) in enumerate(levels):
        part = tables[:, first:last]
        scale = np.abs(part).max(1)
        scales[:, level] = scale
        values[:, first:last] = np.round(part / np.maximum(scale, 1e-30)[:, None] * LARGEST)
    return values, scales
