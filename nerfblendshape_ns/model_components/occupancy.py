"""Occupancy of a head that moves: where any expression of the clip may put something."""

from __future__ import annotations

from typing import Callable, Optional, Tuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from nerfacc import OccGridEstimator
from nerfstudio.cameras.cameras import Cameras
from scipy.interpolate import LinearNDInterpolator
from torch import Tensor, nn

DensityFunction = Callable[[Float[Tensor, "samples 3"], Float[Tensor, "1 basis"]], Float[Tensor, "samples"]]

SUBNASALE, FOREHEAD, CHIN = 2, 10, 152
"""Vertices of the tracked face mesh, in MediaPipe's numbering."""


class ExpressionOccupancy(nn.Module):
    """An occupancy grid that is the union over expressions, inside a permanent mask.

    Each update takes the maximum of the density over a few training expressions and a rotating subset of single
    coefficients at both ends of their range (the references probe only the maximum, which is wrong for signed bases).
    The decay forgets half over one rotation, so nothing is lost between two probes of the same expression.

    Args:
        aabb: ``[2, 3]`` the head box.
        resolution: cells along each axis.
        step_size: of ray marching; opacity of a cell is taken over one step.
        train_expressions: ``[train, basis]``.
        minimum: ``[basis]``.
        maximum: ``[basis]``.
        train_probes: training expressions an update.
        extreme_probes: coefficient extremes an update.
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
        train_probes: int = 2,
        extreme_probes: int = 2,
        threshold: float = 0.01,
    ) -> None:
        super().__init__()
        self.step_size = step_size
        self.train_probes = train_probes
        self.extreme_probes = extreme_probes
        self.threshold = threshold
        self.estimator = OccGridEstimator(aabb.flatten(), resolution=resolution, levels=1)
        self.estimator.binaries.fill_(True)
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
        """Factor of an update: after one rotation through the extremes half of a cell's opacity is left."""
        updates = max(1, -(-len(self.extremes) // max(1, self.extreme_probes)))
        return 0.5 ** (1.0 / updates)

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
    def update(self, density: DensityFunction, reset: bool = False, generator: Optional[torch.Generator] = None) -> None:
        """Follow the density.

        Args:
            density: from positions in [0, 1] over the box and one expression to densities.
            reset: forget the initial mask's ones; for the first update.
            generator: of the jitter and of the choice of training expressions; on the CPU.
        """
        estimator = self.estimator
        cells = self.allowed.nonzero()[:, 0]
        estimator.occs.mul_(0.0 if reset else self.decay)
        if len(cells) == 0:
            return
        coordinates = estimator.grid_coords[cells].float()
        best = torch.zeros(len(cells), device=cells.device)
        for expression in self._probes(generator):
            jitter = torch.rand(coordinates.shape, generator=generator).to(coordinates.device)
            positions = (coordinates + jitter) / estimator.resolution
            best = torch.maximum(best, density(positions, expression[None]))
        opacity = 1.0 - torch.exp(-best * self.step_size)
        estimator.occs[cells] = torch.maximum(estimator.occs[cells], opacity)
        threshold = estimator.occs[cells].mean().clamp(max=self.threshold)
        occupied = (estimator.occs > threshold) & self.allowed
        estimator.binaries.copy_(occupied.view_as(estimator.binaries))

    def _probes(self, generator: Optional[torch.Generator]) -> Float[Tensor, "probes basis"]:
        chosen = torch.randint(len(self.train_expressions), (self.train_probes,), generator=generator)
        probes = [self.train_expressions[chosen.to(self.train_expressions.device)]]
        if len(self.extremes) and self.extreme_probes:
            start = int(self.probe_position)
            indices = (start + torch.arange(self.extreme_probes, device=self.extremes.device)) % len(self.extremes)
            probes.append(self.extremes[indices])
            self.probe_position.fill_((start + self.extreme_probes) % len(self.extremes))
        return torch.cat(probes)

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
