"""The skin's motion with the coefficients, as the landmarks show it, taken out of space before anything is looked up.

The blended tables would have to learn from pictures alone that a jaw which drops takes the chin's outline along, and in
every pose anew. Landmarks say it outright (:func:`landmark_motion`). Kriging (the mean of a Gaussian process;
Rasmussen and Williams 2006, eq. 2.23) carries their displacement on into the space round them: it is kept where they
are, goes on below the jaw, where there are none, and fades with distance. Samples are carried back to where their point
of the skin rests, and the tables keep what is left: wrinkles, the inside of the mouth, light. INSTA (Zielonka et al.
2023) carries samples by a tracked FLAME mesh; here nothing but the clip is needed.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nerfblendshape_ns.data.landmark_motion import held_out_ridge, landmark_motion

GRID = 32
"""Cells of the displacement grid along each side of the box."""
REACH = 0.3
"""Length of the kernel (Matérn, 3/2), as a share of the face's longer side."""
NOISE = 0.01
"""Variance of a landmark's error, as a share of a displacement's: opened lips pull apart what rests at one place."""
SKIN_FRAMES = 200
"""Training frames, evenly spread, whose landmarks say where skin may be."""
ITERATIONS = 4
"""A point's rest position is where its displacement leads to it: a fixed point, approached in so many rounds."""
MOST_BACK, MOST_AHEAD = 0.9, 2.0
"""Bounds on how much of the last change a secant step takes back or adds."""


class FaceMotion(nn.Module):
    """Displacement of space with each coefficient.

    Args:
        aabb: ``[2, 3]`` the head box.
        neutral: ``[points, 3]`` rest positions of the landmarks.
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
        self.register_buffer("volume", _kriged(self.aabb, self.neutral, self.motion), persistent=False)

    def _load_from_state_dict(self, state_dict: Dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """What a checkpoint brings is what its tables were trained on, whatever the landmarks say by now."""
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self.volume = _kriged(self.aabb, self.neutral, self.motion)

    @classmethod
    def of_clip(
        cls,
        aabb: Float[Tensor, "2 3"],
        metadata: Mapping[str, Any],
        expression: Float[Tensor, "train basis"],
        poses: Float[Tensor, "train 12"],
        ridge: Optional[float],
    ) -> Optional[FaceMotion]:
        """As measured on the training frames; None where the dataset has no landmarks or no face mesh.

        Args:
            aabb: the head box.
            metadata: of the dataparser's outputs, or of a rebuilt head, which brings what was measured.
            expression: scaled coefficients of the training frames.
            poses: their camera-to-head matrices, row by row.
            ridge: see :func:`landmark_motion`; None takes what predicts held-out parts of the clip best.
        """
        measured = metadata.get("face_motion")
        if measured is None:
            tangents, mesh = metadata.get("landmark_tangents"), metadata.get("face_mesh")
            if tangents is None or mesh is None:
                return None
            points = min(len(mesh), tangents.shape[1])
            seen = tangents[:, :points], expression, poses, mesh[:points]
            measured = landmark_motion(*seen, held_out_ridge(*seen) if ridge is None else ridge)
        return cls(aabb, *measured)

    def skin(self, expression: Float[Tensor, "frames basis"]) -> Float[Tensor, "chosen points 3"]:
        """Where the landmarks are in training frames, in scene coordinates.

        Of a long clip some frames are taken, those at the ends of each coefficient's range among them.
        """
        spread = torch.linspace(0, len(expression) - 1, min(len(expression), SKIN_FRAMES), device=expression.device)
        chosen = torch.cat([spread.round().long(), expression.argmax(0), expression.argmin(0)]).unique()
        return self.neutral + torch.einsum("fk,kpa->fpa", expression[chosen], self.motion)

    def fields(self, expression: Float[Tensor, "frames basis"]) -> Float[Tensor, "frames 3 grid grid grid"]:
        """Displacements of a few frames at rest positions of the grid (indexed z, y, x), in the box's units."""
        return (expression @ self.volume).view(len(expression), 3, GRID, GRID, GRID)

    def displacement_at(
        self, rest: Float[Tensor, "points 3"], expression: Float[Tensor, "1 basis"]
    ) -> Float[Tensor, "points 3"]:
        """How far points of space move in a frame, in scene units.

        Args:
            rest: where they are at rest, in scene coordinates.
            expression: the frame's coefficients.
        """
        extent = self.aabb[1] - self.aabb[0]
        return _sampled(self.fields(expression), (rest - self.aabb[0]) / extent * 2 - 1) * extent

    def at_rest(
        self,
        unit: Float[Tensor, "samples 3"],
        fields: Float[Tensor, "frames 3 grid grid grid"],
        frame: Optional[Int[Tensor, "samples"]],
    ) -> Float[Tensor, "samples 3"]:
        """Where points of the moved face are at rest; gradients go to ``fields``.

        Args:
            unit: positions in [0, 1] over the box.
            fields: from :meth:`fields`.
            frame: row of ``fields`` of each sample; None where there is one.
        """
        # Frames lie behind one another along z; a sample stays between the first and the last layer of its own.
        layers = fields.permute(1, 0, 2, 3, 4).reshape(1, 3, -1, GRID, GRID)
        first = unit.new_zeros(len(unit)) if frame is None else frame.to(unit.dtype) * GRID

        def displacement(rest: Tensor) -> Tensor:
            depth = (first + rest[:, 2] * (GRID - 1)) / (layers.shape[2] - 1)
            return _sampled(layers, torch.stack([rest[:, 0], rest[:, 1], depth], dim=-1) * 2 - 1)

        with torch.no_grad():
            rest = last_change = unit
            last_step: Optional[Tensor] = None
            for _ in range(ITERATIONS):
                step = unit - displacement(rest) - rest
                change = step if last_step is None else _mixed(step, last_step, last_change)
                rest, last_step, last_change = (rest + change).clamp(0.0, 1.0), step, change
        if not (torch.is_grad_enabled() and fields.requires_grad):
            return rest
        # Of a fixed point the gradient needs no iteration; that displacements differ from place to place is left out.
        moved = displacement(rest)
        return rest - (moved - moved.detach())


def _sampled(
    layers: Float[Tensor, "1 3 depth height width"], place: Float[Tensor, "points 3"]
) -> Float[Tensor, "points 3"]:
    """Trilinear values at places in [-1, 1]."""
    values = functional.grid_sample(layers, place[None, None, None], padding_mode="border", align_corners=True)
    return values[0, :, 0, 0].T


def _mixed(
    step: Float[Tensor, "samples 3"], last_step: Float[Tensor, "samples 3"], last_change: Float[Tensor, "samples 3"]
) -> Float[Tensor, "samples 3"]:
    """The change of a fixed-point iteration by Anderson's method of depth one, a secant method for each sample.

    Plain steps run away where displacements grow faster than the way they are from, as between opened lips.
    """
    bend = step - last_step
    share = (bend * step).sum(1, keepdim=True) / (bend * bend).sum(1, keepdim=True).clamp_min(1e-12)
    share = share.clamp(-MOST_AHEAD, MOST_BACK)
    return step - share * (last_change + bend)


def _grid_points(aabb: Float[Tensor, "2 3"]) -> Float[Tensor, "points 3"]:
    """Of the displacement grid, x fastest, in scene coordinates."""
    axis = torch.linspace(0.0, 1.0, GRID, device=aabb.device)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return aabb[0] + torch.stack([x, y, z], dim=-1).view(-1, 3) * (aabb[1] - aabb[0])


def _kriged(
    aabb: Float[Tensor, "2 3"], neutral: Float[Tensor, "points 3"], motion: Float[Tensor, "basis points 3"]
) -> Float[Tensor, "basis values"]:
    """The landmarks' displacements at the grid's points, in the box's units, by kriging with mean 0."""
    reach = REACH * float((neutral.amax(0) - neutral.amin(0)).max())

    def covariance(first: Tensor, second: Tensor) -> Tensor:
        distance = torch.cdist(first, second) * (3.0**0.5 / reach)
        return (1.0 + distance) * torch.exp(-distance)

    among = covariance(neutral.double(), neutral.double())
    among.diagonal().add_(NOISE)
    shares = (motion / (aabb[1] - aabb[0])).permute(1, 0, 2).reshape(len(neutral), -1).double()
    weights = torch.cholesky_solve(shares, torch.linalg.cholesky(among))
    displacement = covariance(_grid_points(aabb), neutral) @ weights.float()
    return displacement.view(-1, len(motion), 3).permute(1, 2, 0).reshape(len(motion), -1)
