"""The skin's motion with the coefficients, as the landmarks show it, taken out of space before anything is looked up.

The blended tables would have to learn from pictures alone that a jaw which drops takes the chin's outline along, and in
every pose anew. Landmarks say it outright (:func:`landmark_motion`). Their displacement is smoothed over a coarse grid
that fades away from the face; samples are carried back to where their point of the skin rests, and the tables keep what
is left: wrinkles, the inside of the mouth, light. INSTA (Zielonka et al. 2023) carries samples by a tracked FLAME mesh;
here nothing but the clip is needed.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nerfblendshape_ns.model_components.expression_source import ExpressionSource
from nerfblendshape_ns.model_components.landmark_motion import landmark_motion

GRID = 32
"""Cells of the displacement grid along each side of the box."""
REACH = 0.05
"""Standard deviation of a landmark's influence, as a share of the face's longer side."""
FADE = 3.0
"""So many standard deviations away from every landmark half of the displacement is left."""
SKIN_FRAMES = 200
"""Training frames, evenly spread, whose landmarks say where skin may be."""
ITERATIONS = 3
"""A point's rest position is where its displacement leads to it: a fixed point, approached in so many rounds. Between
opened lips, which rest at one place, there is none."""


class FaceMotion(nn.Module):
    """Displacement of space with each coefficient.

    Args:
        aabb: ``[2, 3]`` the head box.
        neutral: ``[points, 3]`` rest positions of the landmarks.
        motion: ``[basis, points, 3]`` displacement of each per unit of each coefficient; both in scene units.
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
        self.register_buffer("volume", _volume(self.aabb, self.neutral, self.motion), persistent=False)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        """What a checkpoint brings is what its tables were trained on, whatever the landmarks say by now."""
        super()._load_from_state_dict(*args, **kwargs)
        self.volume = _volume(self.aabb, self.neutral, self.motion)

    @classmethod
    def of_clip(
        cls, aabb: Float[Tensor, "2 3"], metadata: Mapping[str, Any], source: ExpressionSource, ridge: float
    ) -> Optional[FaceMotion]:
        """As measured on the training frames; None where the dataset has no landmarks or no face mesh.

        Args:
            aabb: the head box.
            metadata: of the dataparser's outputs, or of a rebuilt head, which brings what was measured.
            source: the training frames' coefficients and poses.
            ridge: see :func:`landmark_motion`.
        """
        measured = metadata.get("face_motion")
        if measured is None:
            tangents, mesh = metadata.get("landmark_tangents"), metadata.get("face_mesh")
            if tangents is None or mesh is None:
                return None
            points, train = min(len(mesh), tangents.shape[1]), source.train_frames
            expression = source.clamp(source.train_expression())
            measured = landmark_motion(tangents[:, :points], expression, source.track_pose[train], mesh[:points], ridge)
        return cls(aabb, *measured)

    def skin(self, expression: Float[Tensor, "frames basis"]) -> Float[Tensor, "places 3"]:
        """Where the landmarks are in training frames, all in one list, in scene coordinates.

        Of a long clip some frames are taken, those at the ends of each coefficient's range among them.
        """
        spread = torch.linspace(0, len(expression) - 1, min(len(expression), SKIN_FRAMES), device=expression.device)
        chosen = torch.cat([spread.round().long(), expression.argmax(0), expression.argmin(0)]).unique()
        return (self.neutral + torch.einsum("fk,kpa->fpa", expression[chosen], self.motion)).reshape(-1, 3)

    def fields(self, expression: Float[Tensor, "frames basis"]) -> Float[Tensor, "frames 3 grid grid grid"]:
        """Displacements of a few frames at rest positions of the grid (indexed z, y, x), in the box's units."""
        return (expression @ self.volume).view(len(expression), 3, GRID, GRID, GRID)

    @torch.no_grad()
    def at_rest(
        self,
        unit: Float[Tensor, "samples 3"],
        fields: Float[Tensor, "frames 3 grid grid grid"],
        frame: Optional[Int[Tensor, "samples"]],
    ) -> Float[Tensor, "samples 3"]:
        """Where points of the moved face are at rest.

        Args:
            unit: positions in [0, 1] over the box.
            fields: from :meth:`fields`.
            frame: row of ``fields`` of each sample; None where there is one.
        """
        # Frames lie behind one another along z; a sample stays between the first and the last layer of its own.
        layers = fields.permute(1, 0, 2, 3, 4).reshape(1, 3, -1, GRID, GRID)
        first = unit.new_zeros(len(unit)) if frame is None else frame.to(unit.dtype) * GRID
        rest = unit
        for _ in range(ITERATIONS):
            depth = (first + rest[:, 2] * (GRID - 1)) / (layers.shape[2] - 1)
            place = torch.stack([rest[:, 0], rest[:, 1], depth], dim=-1) * 2 - 1
            moved = functional.grid_sample(layers, place[None, None, None], padding_mode="border", align_corners=True)
            rest = (unit - moved[0, :, 0, 0].T).clamp(0.0, 1.0)
        return rest


def _volume(
    aabb: Float[Tensor, "2 3"], neutral: Float[Tensor, "points 3"], motion: Float[Tensor, "basis points 3"]
) -> Float[Tensor, "basis values"]:
    """The landmarks' displacements smoothed onto the grid: a normalised Gaussian kernel that fades to nothing."""
    axis = torch.linspace(0.0, 1.0, GRID, device=neutral.device)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    extent = aabb[1] - aabb[0]
    points = aabb[0] + torch.stack([x, y, z], dim=-1).view(-1, 3) * extent
    sigma = REACH * float((neutral.amax(0) - neutral.amin(0)).max())
    influence = torch.exp(-0.5 * (torch.cdist(points, neutral) / sigma) ** 2)
    influence = influence / (influence.sum(1, keepdim=True) + torch.exp(torch.tensor(-0.5 * FADE**2)))
    displacement = torch.einsum("gp,kpa->kag", influence, motion / extent)
    return displacement.reshape(len(motion), -1)
