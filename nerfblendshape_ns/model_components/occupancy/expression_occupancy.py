"""Occupancy of a head that moves: where any expression of the clip may put something."""

from __future__ import annotations

from typing import Any, Callable, Optional, Tuple, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from nerfacc import OccGridEstimator
from scipy import ndimage
from torch import Tensor, nn

from nerfblendshape_ns.ops.ray_marching import ALL, March

DensityFunction = Callable[
    [Float[Tensor, "samples 3"], Float[Tensor, "probes basis"], Int[Tensor, "samples"]], Float[Tensor, "samples"]
]

SETTLING_DECAY = 0.3
"""Factor on a visited cell's opacity while training settles."""
VISITED = 32
"""An update visits one in so many cells."""
THRESHOLD = 0.01
"""A cell is occupied where its opacity may reach this."""
SOLID = 0.1
"""Fog below this joins nothing."""


class _Grid(OccGridEstimator):
    """nerfacc's estimator, with its buffers declared."""

    binaries: Tensor
    occs: Tensor
    aabbs: Tensor
    resolution: Tensor
    grid_coords: Tensor


class ExpressionOccupancy(nn.Module):
    """An occupancy grid that is the union over expressions, inside a permanent mask.

    An update visits some of the cells and evaluates each under one of a few expressions: training expressions and, in
    rotation, single coefficients at both ends of their range (the references probe only the maximum, which is wrong
    for signed bases). While training settles the grid forgets fast, so that the first fog goes; afterwards a visit's
    decay is such that a cell forgets no more than half over one rotation through the extremes.

    Cells where the skin is in some frame stay occupied. If they were given up while it is elsewhere, as in most frames,
    no sample would fall on a puffed cheek, and nothing could be learnt there that would bring them back.

    Args:
        aabb: ``[2, 3]`` the head box.
        resolution: cells along each axis.
        step_size: of ray marching; opacity of a cell is taken over one step.
        train_expressions: ``[train, basis]``, what the training frames are conditioned on: their coefficients, and
            their head pose where that counts among them. Their ends are probed.
    """

    def __init__(
        self,
        aabb: Float[Tensor, "2 3"],
        resolution: int,
        step_size: float,
        train_expressions: Float[Tensor, "train basis"],
    ) -> None:
        super().__init__()
        self.step_size = step_size
        self.visits = resolution**3 // VISITED
        self.estimator = _Grid(aabb.flatten(), resolution=resolution, levels=1)
        self.estimator.binaries.fill_(True)
        self.estimator.occs.fill_(1.0)
        self.allowed: Tensor
        self.kept: Tensor
        self.initialised: Tensor
        self._connected: Optional[Tuple[object, Tensor]] = None
        self.probe_position: Tensor
        self.train_expressions: Tensor
        self.extremes: Tensor
        self.register_buffer("allowed", torch.ones(resolution**3, dtype=torch.bool))
        self.register_buffer("kept", torch.zeros(resolution**3, dtype=torch.bool))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))
        self.register_buffer("probe_position", torch.zeros((), dtype=torch.long))
        self.register_buffer("train_expressions", train_expressions.float().clone(), persistent=False)
        extremes = torch.cat([torch.diag(ends) for ends in (train_expressions.amax(0), train_expressions.amin(0))])
        moving = extremes.abs().sum(-1) > 0
        self.register_buffer("extremes", extremes[moving].float(), persistent=False)

    @property
    def decay(self) -> float:
        """Factor of a settled visit. Every second one sees an extreme, so a rotation takes twice their number."""
        return 0.5 ** (1.0 / (2 * max(1, len(self.extremes))))

    def cell_centers(self) -> Float[Tensor, "cells 3"]:
        """Centres of all cells in scene coordinates."""
        unit = (self.estimator.grid_coords.float() + 0.5) / self.estimator.resolution
        low, high = self.estimator.aabbs[0, :3], self.estimator.aabbs[0, 3:]
        return low + unit * (high - low)

    @torch.no_grad()
    def start_from(self, mask: Bool[Tensor, "cells"], kept: Optional[Bool[Tensor, "cells"]] = None) -> None:
        """Start from a permanent mask: nothing outside it is ever sampled.

        Args:
            mask: cells that may be occupied.
            kept: cells of these that always are.
        """
        self.allowed.copy_(mask)
        if kept is not None:
            self.kept.copy_(kept & mask)
        self.estimator.binaries.copy_(mask.view_as(self.estimator.binaries))
        self.estimator.occs.copy_(mask.float())
        self.initialised.fill_(True)

    @torch.no_grad()
    def update(self, density: DensityFunction, settling: bool, generator: Optional[torch.Generator] = None) -> None:
        """Visit cells and follow the density.

        Args:
            density: from positions in [0, 1] over the box, expressions ``[probes, basis]`` and the probe of each
                position to densities.
            settling: forget fast and probe training expressions only.
            generator: of all draws; on the CPU.
        """
        estimator = self.estimator
        cells = self._choose_cells(generator)
        probes = self._probes(settling, generator)
        probe = torch.randint(len(probes), (len(cells),), generator=generator).int().to(cells.device)
        jitter = torch.rand(len(cells), 3, generator=generator).to(cells.device)
        positions = (estimator.grid_coords[cells] + jitter) / estimator.resolution
        opacity = 1.0 - torch.exp(-density(positions, probes, probe) * self.step_size)
        decay = SETTLING_DECAY if settling else self.decay
        estimator.occs[cells] = estimator.occs[cells] * decay
        estimator.occs.scatter_reduce_(0, cells, opacity, "amax")
        occupied = ((estimator.occs > THRESHOLD) & self.allowed) | self.kept
        estimator.binaries.copy_(occupied.view_as(estimator.binaries))

    def _choose_cells(self, generator: Optional[torch.Generator]) -> Tensor:
        """Half of the visits to occupied cells, half to all that are allowed; the same cell may be among them twice."""
        chosen = []
        for candidates in (self.estimator.binaries.flatten(), self.allowed):
            # The n-th candidate is where n are counted: a list of candidates would have to wait for the device.
            numbers = candidates.cumsum(0)
            places = torch.rand(self.visits // 2, generator=generator).to(numbers.device) * numbers[-1]
            chosen.append(torch.searchsorted(numbers, places.long() + 1).clamp(max=len(numbers) - 1))
        return torch.cat(chosen)

    def _probes(self, settling: bool, generator: Optional[torch.Generator]) -> Float[Tensor, "probes basis"]:
        count = 2 if settling or not len(self.extremes) else 1
        chosen = torch.randint(len(self.train_expressions), (count,), generator=generator)
        probes = self.train_expressions[chosen.to(self.train_expressions.device)]
        if count == 2:
            return probes
        extreme = self.extremes[self.probe_position[None]]
        self.probe_position.add_(1).remainder_(len(self.extremes))
        return torch.cat([probes, extreme])

    @torch.no_grad()
    def sample(
        self,
        origins: Float[Tensor, "rays 3"],
        directions: Float[Tensor, "rays 3"],
        stratified: bool,
        spans: Optional[Float[Tensor, "rays 2"]] = None,
    ) -> March:
        """A march of rays through occupied cells.

        Args:
            origins: of the rays.
            directions: unit vectors.
            stratified: shift each ray's samples by a random part of a step (training); else :meth:`connected` cells
                alone are marched.
            spans: distances between which the middles of samples lie; None is everywhere.
        """
        near = far = None
        if spans is not None:
            # At a whole number of steps, so that what a crop box leaves looks as it does without the box.
            near = (spans[:, 0] / self.step_size - 0.5).ceil().clamp_min(0.0) * self.step_size
            far = spans[:, 1].contiguous()
        shifts = torch.rand(len(origins), device=origins.device) if stratified else None
        cells = self.estimator.binaries if stratified else self.connected()
        return March(origins, directions, cells, self.estimator.aabbs, self.step_size, near, far, shifts)

    @torch.no_grad()
    def connected(self) -> Bool[Tensor, "1 width height depth"]:
        """The cells of the head: of what floats beside it there is none.

        The largest piece of solid cells that share sides is the head, with the fog that shares sides with it. Others
        are crumbs, and what shares a side with one goes with it. They come forth beside a jaw where the head turns
        beyond the training frames, and fog joins many of them to it. An earring that nothing solid joins to the head
        would be left out too.
        """
        binaries = self.estimator.binaries
        state = binaries.data_ptr(), binaries._version, binaries.device
        if self._connected is None or self._connected[0] != state:
            shape = binaries.shape[1:]
            opacity, kept = (array.view(shape).cpu().numpy() for array in (self.estimator.occs, self.kept))
            occupied = binaries[0].cpu().numpy()
            solid = occupied & ((opacity > SOLID) | kept)
            head = _largest_piece(solid)
            crumbs: Any = ndimage.binary_dilation(solid & ~head)
            cells = _largest_piece(head | (occupied & ~crumbs))
            self._connected = state, torch.from_numpy(cells)[None].to(binaries.device)
        return self._connected[1]

    @torch.no_grad()
    def meets(
        self, cells: Bool[Tensor, "cells"], origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"]
    ) -> Bool[Tensor, "rays"]:
        """Whether rays have any step, marched as by :meth:`sample`, in one of some cells.

        Args:
            cells: these.
            origins: of the rays.
            directions: unit vectors.
        """
        grid = cells.view_as(self.estimator.binaries)
        return March(origins, directions, grid, self.estimator.aabbs, self.step_size).following(1).counts > 0

    @torch.no_grad()
    def cells_along(
        self, cells: Bool[Tensor, "cells"], origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"]
    ) -> Tuple[Int[Tensor, "steps"], Int[Tensor, "steps"]]:
        """Ray and cell of every step, marched as by :meth:`sample`, that lies in one of some cells.

        Args:
            cells: these.
            origins: of the rays.
            directions: unit vectors.
        """
        grid = cells.view_as(self.estimator.binaries)
        samples = March(origins, directions, grid, self.estimator.aabbs, self.step_size).following(ALL)
        positions = origins[samples.rays] + directions[samples.rays] * samples.distances[:, None]
        low, high = self.estimator.aabbs[0, :3], self.estimator.aabbs[0, 3:]
        resolution = self.estimator.resolution
        index = ((positions - low) / (high - low) * resolution).long().clamp_min(0).minimum(resolution - 1)
        return samples.rays, (index[:, 0] * resolution[1] + index[:, 1]) * resolution[2] + index[:, 2]


def _largest_piece(cells: Bool[np.ndarray, "width height depth"]) -> Bool[np.ndarray, "width height depth"]:
    """The largest of the pieces whose cells share sides."""
    pieces, count = cast(Tuple[np.ndarray, int], ndimage.label(cells))
    return pieces == 1 + int(np.bincount(pieces.ravel())[1:].argmax()) if count > 1 else cells
