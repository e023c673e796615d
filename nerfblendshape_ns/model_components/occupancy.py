"""Occupancy of a head that moves: where any expression of the clip may put something."""

from __future__ import annotations

from typing import Callable, Optional, Tuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from nerfacc import OccGridEstimator
from nerfstudio.cameras.cameras import Cameras
from scipy.interpolate import LinearNDInterpolator
from torch import Tensor, nn

DensityFunction = Callable[
    [Float[Tensor, "samples 3"], Float[Tensor, "probes basis"], Int[Tensor, "samples"]], Float[Tensor, "samples"]
]

SETTLING_DECAY = 0.3
"""What a visit leaves of a cell's opacity while training settles."""

SUBNASALE, FOREHEAD, CHIN = 2, 10, 152
"""Vertices of the tracked face mesh, in MediaPipe's numbering."""


class ExpressionOccupancy(nn.Module):
    """An occupancy grid that is the union over expressions, inside a permanent mask.

    An update visits some of the cells and evaluates each under one of a few expressions: training expressions and, in
    rotation, single coefficients at both ends of their range (the references probe only the maximum, which is wrong for
    signed bases). While training settles the grid forgets fast, so that the first fog goes; afterwards a visit's decay is
    such that a cell forgets no more than half over one rotation through the extremes.

    Args:
        aabb: ``[2, 3]`` the head box.
        resolution: cells along each axis.
        step_size: of ray marching; opacity of a cell is taken over one step.
        train_expressions: ``[train, basis]``.
        minimum: ``[basis]``.
        maximum: ``[basis]``.
        visits: cells that one update visits.
        threshold: a cell is occupied where its opacity may reach this.
    """

    def __init__(
        self,
        aabb: Float[Tensor, "2 3"],
        resolution: int,
        step_size: float,
        train_expressions: Float[Tensor, "train basis"],
        minimum: Float[Tensor, "basis"],
        maximum: Float[Tensor, "basis"],
        visits: int = 8192,
        threshold: float = 0.01,
    ) -> None:
        super().__init__()
        self.step_size = step_size
        self.visits = visits
        self.threshold = threshold
        self.estimator = OccGridEstimator(aabb.flatten(), resolution=resolution, levels=1)
        self.estimator.binaries.fill_(True)
        self.estimator.occs.fill_(1.0)
        self.allowed: Tensor
        self.carved: Tensor
        self.probe_position: Tensor
        self.train_expressions: Tensor
        self.extremes: Tensor
        self.register_buffer("allowed", torch.ones(resolution**3, dtype=torch.bool))
        self.register_buffer("carved", torch.zeros((), dtype=torch.bool))
        self.register_buffer("probe_position", torch.zeros((), dtype=torch.long))
        self.register_buffer("train_expressions", train_expressions.float().clone(), persistent=False)
        extremes = torch.cat([torch.diag(maximum.float()), torch.diag(minimum.float())])
        moving = extremes.abs().sum(-1) > 0
        self.register_buffer("extremes", extremes[moving], persistent=False)

    @property
    def decay(self) -> float:
        """Factor of a settled visit. Every second visit probes an extreme, so a rotation takes twice their number."""
        return 0.5 ** (1.0 / (2 * max(1, len(self.extremes))))

    def cell_centers(self) -> Float[Tensor, "cells 3"]:
        """Centres of all cells in scene coordinates."""
        unit = (self.estimator.grid_coords.float() + 0.5) / self.estimator.resolution
        low, high = self.estimator.aabbs[0, :3], self.estimator.aabbs[0, 3:]
        return low + unit * (high - low)

    @torch.no_grad()
    def carve(self, mask: Bool[Tensor, "cells"]) -> None:
        """Start from ``mask`` and keep it for good: nothing outside is ever sampled."""
        self.allowed.copy_(mask)
        self.estimator.binaries.copy_(mask.view_as(self.estimator.binaries))
        self.estimator.occs.copy_(mask.float())
        self.carved.fill_(True)

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
        if len(cells) == 0:
            return
        probes = self._probes(settling, generator)
        probe = torch.randint(len(probes), (len(cells),), generator=generator).int().to(cells.device)
        jitter = torch.rand(len(cells), 3, generator=generator).to(cells.device)
        positions = (estimator.grid_coords[cells] + jitter) / estimator.resolution
        opacity = 1.0 - torch.exp(-density(positions, probes, probe) * self.step_size)
        decay = SETTLING_DECAY if settling else self.decay
        estimator.occs[cells] = torch.maximum(estimator.occs[cells] * decay, opacity)
        occupied = (estimator.occs > self.threshold) & self.allowed
        estimator.binaries.copy_(occupied.view_as(estimator.binaries))

    def _choose_cells(self, generator: Optional[torch.Generator]) -> Tensor:
        """Half of the visits to occupied cells, half to all that are allowed."""
        chosen = []
        for candidates in (self.estimator.binaries.flatten(), self.allowed):
            cells = candidates.nonzero()[:, 0]
            if len(cells):
                picks = torch.randint(len(cells), (self.visits // 2,), generator=generator)
                chosen.append(cells[picks.to(cells.device)])
        return torch.cat(chosen).unique() if chosen else self.allowed.nonzero()[:, 0]

    def _probes(self, settling: bool, generator: Optional[torch.Generator]) -> Float[Tensor, "probes basis"]:
        count = 2 if settling or not len(self.extremes) else 1
        chosen = torch.randint(len(self.train_expressions), (count,), generator=generator)
        probes = self.train_expressions[chosen.to(self.train_expressions.device)]
        if count == 2:
            return probes
        position = int(self.probe_position)
        self.probe_position.fill_((position + 1) % len(self.extremes))
        return torch.cat([probes, self.extremes[position : position + 1]])

    @torch.no_grad()
    def sample(
        self,
        origins: Float[Tensor, "rays 3"],
        directions: Float[Tensor, "rays 3"],
        stratified: bool,
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """March rays through occupied cells.

        Returns:
            ``ray_indices [samples]`` int64, ``starts [samples]`` and ``ends [samples]`` distances along the ray.
        """
        return self.estimator.sampling(
            origins, directions, render_step_size=self.step_size, stratified=stratified, early_stop_eps=0.0
        )


@torch.no_grad()
def silhouette_hull(
    points: Float[Tensor, "points 3"],
    cameras: Cameras,
    masks: Float[Tensor, "frames height width"],
    keep: Float[Tensor, "points"],
    grow: int = 5,
) -> Bool[Tensor, "points"]:
    """Points that project into the head mask in at least a share ``keep`` of the frames.

    Args:
        points: in scene coordinates.
        cameras: one a mask, OpenGL axes; points outside an image count as inside the head.
        masks: head opacity in [0, 1].
        keep: the share asked of each point: high for rigid parts, low where expressions move the outline.
        grow: the masks are dilated by this many pixels (odd) against tracking error.
    """
    device = points.device
    grown = torch.nn.functional.max_pool2d(masks[:, None], grow, 1, grow // 2)[:, 0] > 0.05
    height, width = masks.shape[1:]
    inside = torch.zeros(len(points), device=device)
    for index in range(len(masks)):
        pose = cameras.camera_to_worlds[index].to(device)
        local = (points - pose[:, 3]) @ pose[:, :3]
        depth = (-local[:, 2]).clamp_min(1e-6)
        column = (local[:, 0] / depth * cameras.fx[index].to(device) + cameras.cx[index].to(device)).floor().long()
        row = (-local[:, 1] / depth * cameras.fy[index].to(device) + cameras.cy[index].to(device)).floor().long()
        visible = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        hit = torch.ones(len(points), device=device)
        hit[visible] = grown[index].to(device)[row[visible], column[visible]].float()
        inside += hit
    return inside >= keep * len(masks)


def face_shell(
    points: Float[Tensor, "points 3"], mesh: Float[Tensor, "vertices 3"], front: float = 0.1, behind: float = 0.25
) -> Bool[Tensor, "points"]:
    """Points near the tracked face surface, or where the face mesh says nothing.

    The inside of a head is never seen, and nothing but hair is in front of a face.

    Args:
        points: in scene coordinates (z up, the face looks along -y).
        mesh: ``[468, 3]`` the clip's neutral face mesh, same coordinates.
        front: how far in front of the surface is kept, in face heights (about 18 cm).
        behind: how far behind it.
    """
    vertices = mesh.detach().cpu().numpy()
    height = float(np.linalg.norm(vertices[FOREHEAD] - vertices[CHIN]))
    surface = LinearNDInterpolator(vertices[:, [0, 2]], vertices[:, 1])
    query = points.detach().cpu().numpy()
    depth = query[:, 1] - surface(query[:, 0], query[:, 2])
    outside = np.isnan(depth)
    near = (depth > -front * height) & (depth < behind * height)
    return torch.from_numpy(outside | near).to(points.device)


def hull_share(
    points: Float[Tensor, "points 3"], mesh: Optional[Tensor], rigid: float = 0.95, moving: float = 0.03
) -> Float[Tensor, "points"]:
    """Share of frames in which each point must be inside the mask: little is asked below the nose, where the jaw
    drops in few frames; much above it, where the outline is rigid."""
    border = float(mesh[SUBNASALE, 2]) if mesh is not None else float(points[:, 2].mean())
    return torch.where(points[:, 2] < border, moving, rigid)
