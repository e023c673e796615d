"""The motion of the skin with the coefficients, as the landmarks show it, undone before the tables are looked up.

The blended tables would have to learn from images alone that a dropping jaw moves the chin's outline, and again in
every pose. Landmarks show it directly (:func:`landmark_motion`). Gaussian-process interpolation (the process' mean;
Rasmussen and Williams 2006, eq. 2.23) continues their displacement into the space round them: it is kept at the
landmarks, goes on below the jaw, where there are none, and fades with distance. Samples are moved to canonical space,
that of the neutral face, and the tables keep what remains: wrinkles, the inside of the mouth, light. INSTA (Zielonka et
al. 2023) moves samples by a tracked FLAME mesh; here nothing but the clip is needed. The move itself is
:func:`~nerfblendshape_ns.ops.canonical.canonical_positions`.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Tuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerfblendshape_ns.data.landmark_motion import landmark_motion

GRID = 32
"""Cells of the displacement grid along each side of the box."""
KERNEL_LENGTH = 0.3
"""Length of the kernel (Matérn, 3/2), as a fraction of the face's longer side."""
NOISE = 0.01
"""Variance of a landmark's error, as a fraction of a displacement's: open lips separate what touches neutrally.
"""
SKIN_FRAMES = 200
"""Training frames, evenly spread, whose landmarks say where skin may be."""


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
        self.register_buffer("neutral", neutral.to(self.aabb, copy=True))
        self.register_buffer("motion", motion.to(self.aabb, copy=True))
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
            tensors = tangents[:, :points], expression, poses, mesh[:points]
            seen, values, cameras, vertices = (tensor.cpu().numpy() for tensor in tensors)
            measured = map(torch.from_numpy, landmark_motion(seen, values, cameras, vertices))
        return cls(aabb, *measured)

    def skin(self, expression: Float[Tensor, "frames basis"]) -> Float[Tensor, "chosen points 3"]:
        """Where the landmarks are in training frames, in scene coordinates.

        Of a long clip some frames are taken, those at the ends of each coefficient's range among them.
        """
        spread = torch.linspace(0, len(expression) - 1, min(len(expression), SKIN_FRAMES), device=expression.device)
        chosen = torch.cat([spread.round().long(), expression.argmax(0), expression.argmin(0)]).unique()
        return self.neutral + torch.einsum("fk,kpa->fpa", expression[chosen], self.motion)

    def fields(self, expression: Float[Tensor, "frames basis"]) -> Float[Tensor, "frames grid grid grid 3"]:
        """Displacements of a few frames at canonical positions of the grid (indexed z, y, x), in the box's units."""
        return (expression @ self.volume).view(len(expression), GRID, GRID, GRID, 3)


def _grid_points(aabb: Float[Tensor, "2 3"]) -> Float[Tensor, "points 3"]:
    """Of the displacement grid, x fastest, in scene coordinates."""
    axis = torch.linspace(0.0, 1.0, GRID, device=aabb.device)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return aabb[0] + torch.stack([x, y, z], dim=-1).view(-1, 3) * (aabb[1] - aabb[0])


def interpolation(
    aabb: Float[Tensor, "2 3"], neutral: Float[Tensor, "points 3"], motion: Float[Tensor, "basis points 3"]
) -> Tuple[float, Float[Tensor, "points values"]]:
    """The Gaussian process of mean 0 that continues the landmarks' displacements into space.

    Args:
        aabb: the head box.
        neutral: see :class:`FaceMotion`.
        motion: see there.

    Returns:
        The kernel's length in scene units, and the weight of each landmark's kernel in the displacement with each
        coefficient along x, y and z, in the box's units.
    """
    length = KERNEL_LENGTH * float((neutral.amax(0) - neutral.amin(0)).max())
    among = _covariance(neutral.double(), neutral.double(), length)
    among.diagonal().add_(NOISE)
    targets = (motion / (aabb[1] - aabb[0])).permute(1, 0, 2).reshape(len(neutral), -1).double()
    return length, torch.cholesky_solve(targets, torch.linalg.cholesky(among)).float()


def _covariance(first: Tensor, second: Tensor, length: float) -> Float[Tensor, "first second"]:
    distance = torch.cdist(first, second) * (3.0**0.5 / length)
    return (1.0 + distance) * torch.exp(-distance)


def displacements(
    aabb: Float[Tensor, "2 3"],
    neutral: Float[Tensor, "points 3"],
    motion: Float[Tensor, "basis points 3"],
    places: Float[Tensor, "places 3"],
) -> Float[Tensor, "basis places 3"]:
    """Displacement of canonical places with each coefficient, in the box's units; see :func:`interpolation`."""
    length, weights = interpolation(aabb, neutral, motion)
    return (_covariance(places, neutral, length) @ weights).view(len(places), -1, 3).transpose(0, 1)


def _interpolated(
    aabb: Float[Tensor, "2 3"], neutral: Float[Tensor, "points 3"], motion: Float[Tensor, "basis points 3"]
) -> Float[Tensor, "basis values"]:
    """The landmarks' displacements at the grid's points."""
    return displacements(aabb, neutral, motion, _grid_points(aabb)).reshape(len(motion), -1)
