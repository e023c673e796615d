"""The motion of the skin with the coefficients, as the landmarks show it, undone before the tables are looked up.

The blended tables would have to learn from images alone that a dropping jaw moves the chin's outline, and again in
every pose. Landmarks show it directly (:func:`landmark_motion`). Gaussian-process interpolation (the process' mean;
Rasmussen and Williams 2006, eq. 2.23) continues their displacement into the space round them: it is kept at the
landmarks, goes on below the jaw, where there are none, and fades with distance. Samples are moved to canonical space,
that of the neutral face, and the tables keep what remains: wrinkles, the inside of the mouth, light. INSTA (Zielonka et
al. 2023) moves samples by a tracked FLAME mesh; here nothing but the clip is needed.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nerfblendshape_ns.data.landmark_motion import landmark_motion

GRID = 32
"""Cells of the displacement grid along each side of the box."""
RIDGE = 0.01
"""Penalty on displacements that the landmarks do not determine; see :func:`landmark_motion`."""
KERNEL_LENGTH = 0.3
"""Length of the kernel (Matérn, 3/2), as a fraction of the face's longer side."""
NOISE = 0.01
"""Variance of a landmark's error, as a fraction of a displacement's: open lips separate what touches neutrally.
"""
SKIN_FRAMES = 200
"""Training frames, evenly spread, whose landmarks say where skin may be."""
ITERATIONS = 4
"""Steps of the fixed-point iteration to a point's canonical position, whose displacement leads back to the point."""
MOST_BACK, MOST_AHEAD = 0.9, 2.0
"""Bounds on how much of the last change a secant step takes back or adds."""


class FaceMotion(nn.Module):
    """Displacement of space with each coefficient.

    Args:
        aabb: ``[2, 3]`` the head box.
        neutral: ``[points, 3]`` canonical positions of the landmarks.
        motion: ``[basis, points, 3]`` displacement of each per unit of each scaled coefficient; both in scene units.
    """

    def __init__(
        self, aabb: Float[Tensor, "2 3"], neutral: Float[Tensor, "points 3"], motion: Float[Tensor, "basis points 3"]
    ) -> None:
        super().__init__()
        self.neutral: Tensor
        self.motion: Tensor
        self.volume: Tensor
        self.aabb: Tensor
        self.register_buffer("aabb", aabb.float().clone(), persistent=False)
        self.register_buffer("neutral", neutral.float().clone())
        self.register_buffer("motion", motion.float().clone())
        self.register_buffer("volume", _interpolated(self.aabb, self.neutral, self.motion), persistent=False)

    def _load_from_state_dict(self, state_dict: Dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """The checkpoint's motion is the one that its tables were trained on; the dataset's may differ."""
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self.volume = _interpolated(self.aabb, self.neutral, self.motion)

    @classmethod
    def of_clip(
        cls,
        aabb: Float[Tensor, "2 3"],
        metadata: Mapping[str, Any],
        expression: Float[Tensor, "train basis"],
        poses: Float[Tensor, "train 12"],
    ) -> Optional[FaceMotion]:
        """As measured on the training frames; None where the dataset has no landmarks or no face mesh.

        Args:
            aabb: the head box.
            metadata: of the dataparser's outputs, or of a rebuilt head, which holds what was measured.
            expression: scaled coefficients of the training frames.
            poses: their camera-to-head matrices, row by row.
        """
        measured = metadata.get("face_motion")
        if measured is None:
            tangents, mesh = metadata.get("landmark_tangents"), metadata.get("face_mesh")
            if tangents is None or mesh is None:
                return None
            points = min(len(mesh), tangents.shape[1])
            measured = landmark_motion(tangents[:, :points], expression, poses, mesh[:points], RIDGE)
        return cls(aabb, *measured)

    def skin(self, expression: Float[Tensor, "frames basis"]) -> Float[Tensor, "chosen points 3"]:
        """Where the landmarks are in training frames, in scene coordinates.

        Of a long clip some frames are taken, those at the ends of each coefficient's range among them.
        """
        spread = torch.linspace(0, len(expression) - 1, min(len(expression), SKIN_FRAMES), device=expression.device)
        chosen = torch.cat([spread.round().long(), expression.argmax(0), expression.argmin(0)]).unique()
        return self.neutral + torch.einsum("fk,kpa->fpa", expression[chosen], self.motion)

    def fields(self, expression: Float[Tensor, "frames basis"]) -> Float[Tensor, "frames 3 grid grid grid"]:
        """Displacements of a few frames at canonical positions of the grid (indexed z, y, x), in the box's units."""
        return (expression @ self.volume).view(len(expression), 3, GRID, GRID, GRID)

    def displacement_at(
        self, canonical: Float[Tensor, "points 3"], expression: Float[Tensor, "1 basis"]
    ) -> Float[Tensor, "points 3"]:
        """How far points of space move in a frame, in scene units.

        Args:
            canonical: their canonical positions, in scene coordinates.
            expression: the frame's coefficients.
        """
        extent = self.aabb[1] - self.aabb[0]
        return _sampled(self.fields(expression), (canonical - self.aabb[0]) / extent * 2 - 1) * extent

    def to_canonical(
        self,
        unit: Float[Tensor, "samples 3"],
        fields: Float[Tensor, "frames 3 grid grid grid"],
        frame: Optional[Int[Tensor, "samples"]],
    ) -> Float[Tensor, "samples 3"]:
        """Canonical positions of points of the moved face; gradients go to ``fields``.

        Args:
            unit: positions in [0, 1] over the box.
            fields: from :meth:`fields`.
            frame: row of ``fields`` of each sample; None where there is one.
        """
        # Frames are stacked along z; a sample stays between the first and the last layer of its own.
        layers = fields.permute(1, 0, 2, 3, 4).reshape(1, 3, -1, GRID, GRID)
        first = unit.new_zeros(len(unit)) if frame is None else frame.to(unit.dtype) * GRID

        def displacement(point: Tensor) -> Tensor:
            depth = (first + point[:, 2] * (GRID - 1)) / (layers.shape[2] - 1)
            return _sampled(layers, torch.stack([point[:, 0], point[:, 1], depth], dim=-1) * 2 - 1)

        with torch.no_grad():
            canonical = last_change = unit
            last_step: Optional[Tensor] = None
            for _ in range(ITERATIONS):
                step = unit - displacement(canonical) - canonical
                change = step if last_step is None else _mixed(step, last_step, last_change)
                canonical, last_step, last_change = (canonical + change).clamp(0.0, 1.0), step, change
        if not (torch.is_grad_enabled() and fields.requires_grad):
            return canonical
        # The gradient of a fixed point needs no iteration; that displacements vary in space is neglected.
        moved = displacement(canonical)
        return canonical - (moved - moved.detach())


def _sampled(
    layers: Float[Tensor, "1 3 depth height width"], position: Float[Tensor, "points 3"]
) -> Float[Tensor, "points 3"]:
    """Trilinear values at positions in [-1, 1]."""
    values = functional.grid_sample(layers, position[None, None, None], padding_mode="border", align_corners=True)
    return values[0, :, 0, 0].T


def _mixed(
    step: Float[Tensor, "samples 3"], last_step: Float[Tensor, "samples 3"], last_change: Float[Tensor, "samples 3"]
) -> Float[Tensor, "samples 3"]:
    """The change of a fixed-point iteration by Anderson's method of depth one, a secant method for each sample.

    Plain steps diverge where displacements change faster than position, as between open lips.
    """
    difference = step - last_step
    factor = (difference * step).sum(1, keepdim=True) / (difference * difference).sum(1, keepdim=True).clamp_min(1e-12)
    factor = factor.clamp(-MOST_AHEAD, MOST_BACK)
    return step - factor * (last_change + difference)


def _grid_points(aabb: Float[Tensor, "2 3"]) -> Float[Tensor, "points 3"]:
    """Of the displacement grid, x fastest, in scene coordinates."""
    axis = torch.linspace(0.0, 1.0, GRID, device=aabb.device)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return aabb[0] + torch.stack([x, y, z], dim=-1).view(-1, 3) * (aabb[1] - aabb[0])


def _interpolated(
    aabb: Float[Tensor, "2 3"], neutral: Float[Tensor, "points 3"], motion: Float[Tensor, "basis points 3"]
) -> Float[Tensor, "basis values"]:
    """The landmarks' displacements at the grid's points, in the box's units: a Gaussian process of mean 0."""
    length = KERNEL_LENGTH * float((neutral.amax(0) - neutral.amin(0)).max())

    def covariance(first: Tensor, second: Tensor) -> Tensor:
        distance = torch.cdist(first, second) * (3.0**0.5 / length)
        return (1.0 + distance) * torch.exp(-distance)

    among = covariance(neutral.double(), neutral.double())
    among.diagonal().add_(NOISE)
    targets = (motion / (aabb[1] - aabb[0])).permute(1, 0, 2).reshape(len(neutral), -1).double()
    weights = torch.cholesky_solve(targets, torch.linalg.cholesky(among))
    displacement = covariance(_grid_points(aabb), neutral) @ weights.float()
    return displacement.view(-1, len(motion), 3).permute(1, 2, 0).reshape(len(motion), -1)
