"""Multiresolution hash-grid encoding (Müller et al., Instant-NGP, SIGGRAPH 2022) with one table per frame.

Forward and backward are Warp kernels (:mod:`nerfblendshape_ns.ops.hash_grid_kernels`), one source for CPU and CUDA.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Dict, Optional, Tuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from nerfblendshape_ns.ops.hash_grid_kernels import BLOCK, hash_grid_kernels


@dataclass(frozen=True)
class HashGridLayout:
    """Sizes of a multiresolution hash grid; a table's rows hold the levels one after the other.

    A level whose corners fit into ``2 ** log2_table_size`` rows is stored dense, x fastest; the others are hashed.

    Raises:
        ValueError: a size that no grid can have.
    """

    num_levels: int
    """Number of resolutions."""
    features_per_level: int
    """Features of one row: 1, 2, 4 or 8."""
    log2_table_size: int
    """Binary logarithm of the largest number of rows per level."""
    base_resolution: int
    """Cells per side on the coarsest level."""
    max_resolution: int
    """Cells per side on the finest level."""
    dimensions: int = 3
    """Dimensions of a position: 2 or 3."""

    def __post_init__(self) -> None:
        if self.features_per_level not in (1, 2, 4, 8):
            raise ValueError(f"A hash grid has 1, 2, 4 or 8 features per level, not {self.features_per_level}.")
        if self.dimensions not in (2, 3):
            raise ValueError(f"A hash grid has 2 or 3 dimensions, not {self.dimensions}.")
        if self.num_levels < 1 or not 1 <= self.base_resolution <= self.max_resolution:
            raise ValueError("A hash grid needs at least one level and 1 <= base_resolution <= max_resolution.")
        if not 1 <= self.log2_table_size <= 24:
            raise ValueError(f"log2_table_size must lie between 1 and 24, not {self.log2_table_size}.")

    @cached_property
    def resolutions(self) -> Tuple[int, ...]:
        """Cells per side for every level, a geometric series from the base to the maximum."""
        if self.num_levels == 1:
            return (self.base_resolution,)
        growth = math.log(self.max_resolution / self.base_resolution) / (self.num_levels - 1)
        return tuple(round(self.base_resolution * math.exp(level * growth)) for level in range(self.num_levels))

    @cached_property
    def offsets(self) -> Tuple[int, ...]:
        """First row of every level, then the number of rows of a table."""
        offsets = [0]
        for resolution in self.resolutions:
            offsets.append(offsets[-1] + min((resolution + 1) ** self.dimensions, 2**self.log2_table_size))
        return tuple(offsets)

    @property
    def rows(self) -> int:
        """Rows of one table."""
        return self.offsets[-1]

    @property
    def output_dim(self) -> int:
        """Features of one encoded sample."""
        return self.num_levels * self.features_per_level


def hash_grid_encode(
    positions: Float[Tensor, "samples dims"],
    tables: Float[Tensor, "frames rows features"],
    layout: HashGridLayout,
    frame_index: Optional[Int[Tensor, " samples"]] = None,
) -> Float[Tensor, "samples output_dim"]:
    """Interpolate every level's table at the positions and concatenate the levels.

    Differentiable once, in the tables and in the positions (piecewise constant within a cell).

    Args:
        positions: in [0, 1]; what lies outside is clamped and gets no gradient.
        tables: one per frame.
        layout: sizes of the grid.
        frame_index: index of the table that each sample looks up; may be None where there is one table.

    Returns:
        Features, level-major.

    Raises:
        ValueError: shapes that do not fit the layout, or a ``frame_index`` that is missing or out of range.
    """
    expected = (layout.rows, layout.features_per_level)
    if tables.ndim != 3 or tuple(tables.shape[1:]) != expected:
        raise ValueError(f"tables must be [frames, {expected[0]}, {expected[1]}], not {list(tables.shape)}.")
    if positions.ndim != 2 or positions.shape[1] != layout.dimensions:
        raise ValueError(f"positions must be [samples, {layout.dimensions}], not {list(positions.shape)}.")
    if frame_index is None:
        if tables.shape[0] != 1:
            raise ValueError("Several tables need a frame_index that says which one each sample uses.")
    elif tables.shape[0] == 1:
        frame_index = None
    elif tuple(frame_index.shape) != (positions.shape[0],):
        raise ValueError(f"frame_index must be [{positions.shape[0]}], not {list(frame_index.shape)}.")
    else:
        frame_index = frame_index.to(torch.int32).contiguous()
        if frame_index.device.type == "cpu" and frame_index.numel():
            check_frame_index(frame_index, tables.shape[0])  # On CUDA it would wait for the device.
    return _HashGridEncode.apply(positions.float().contiguous(), tables.float().contiguous(), frame_index, layout)


def check_frame_index(frame_index: Int[Tensor, " samples"], frames: int) -> None:
    """Refuse an index of a table that is not there.

    Raises:
        ValueError: it is out of range.
    """
    lowest, highest = (int(bound) for bound in frame_index.aminmax())
    if lowest < 0 or highest >= frames:
        raise ValueError(f"frame_index runs from {lowest} to {highest}, but there are {frames} tables.")


_layout_tensors: Dict[Tuple[HashGridLayout, torch.device], Tuple[Tensor, Tensor]] = {}


def _level_tensors(layout: HashGridLayout, device: torch.device) -> Tuple[Tensor, Tensor]:
    """Resolutions and offsets as int32 tensors, cached: making them costs more than a small launch."""
    key = (layout, device)
    tensors = _layout_tensors.get(key)
    if tensors is None:
        resolutions = torch.tensor(layout.resolutions, dtype=torch.int32, device=device)
        offsets = torch.tensor(layout.offsets, dtype=torch.int32, device=device)
        tensors = _layout_tensors[key] = (resolutions, offsets)
    return tensors


_no_frame_index: Dict[torch.device, Tensor] = {}


def _frame_argument(frame_index: Optional[Tensor], device: torch.device) -> Tensor:
    """The frame index; if None an empty tensor, from which the kernels know that every sample uses the first table."""
    if frame_index is not None:
        return frame_index
    if device not in _no_frame_index:
        _no_frame_index[device] = torch.empty(0, dtype=torch.int32, device=device)
    return _no_frame_index[device]


class _HashGridEncode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, positions: Tensor, tables: Tensor, frame_index: Optional[Tensor], layout: HashGridLayout
    ) -> Tensor:
        ctx.layout = layout
        ctx.save_for_backward(positions, tables, frame_index)
        samples, levels = positions.shape[0], layout.num_levels
        features = positions.new_empty(samples, levels, layout.features_per_level)
        kernels = hash_grid_kernels(layout.dimensions, layout.features_per_level)
        block = BLOCK if positions.device.type == "cpu" else 1
        resolutions, offsets = _level_tensors(layout, positions.device)
        frames = _frame_argument(frame_index, positions.device)
        kernels.forward(
            -(-samples // block), (levels,), (block, positions, frames, tables, resolutions, offsets, features)
        )
        return features.view(samples, layout.output_dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tuple[Optional[Tensor], Optional[Tensor], None, None]:
        positions, tables, frame_index = ctx.saved_tensors
        layout: HashGridLayout = ctx.layout
        samples, levels = positions.shape[0], layout.num_levels
        gradient = gradients[0].float().contiguous().view(samples, levels, layout.features_per_level)
        kernels = hash_grid_kernels(layout.dimensions, layout.features_per_level)
        on_cpu = positions.device.type == "cpu"
        resolutions, offsets = _level_tensors(layout, positions.device)
        frames = _frame_argument(frame_index, positions.device)
        position_gradient = table_gradient = None
        if ctx.needs_input_grad[0]:
            position_gradient = torch.zeros_like(positions)
            block = BLOCK if on_cpu else 1
            kernels.position_gradient(
                -(-samples // block),
                (),
                (block, positions, frames, tables, resolutions, offsets, gradient, position_gradient),
            )
        if ctx.needs_input_grad[1]:
            # On the CPU, where atomics are not atomic, one thread owns a level: it clears the level's rows and walks
            # through all samples.
            table_gradient = torch.empty_like(tables) if on_cpu else torch.zeros_like(tables)
            block = max(samples, 1) if on_cpu else 1
            kernels.table_gradient(
                levels,
                (1 if on_cpu else samples,),
                (block, positions, frames, resolutions, offsets, int(on_cpu), gradient, table_gradient),
            )
        return position_gradient, table_gradient, None, None
