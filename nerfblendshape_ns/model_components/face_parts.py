"""Which coefficients belong to which part of the face, and training that keeps the parts apart.

A clip of some seconds shows few combinations: the mouth that opened only while the eyes looked left closes again as
soon as they look up. What a coefficient's name says is more than the clip can: a lid does not move the chin, the jaw
does not move a brow, and how the head is held moves neither. So part of the training steps render the samples of one
part of the face with foreign values in everything that cannot concern it, taken from another training frame, and
against the unchanged picture. Nothing is tied in the model itself: a clip with evidence enough may still disagree.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nerfblendshape_ns.model_components.expression_region import ExpressionRegion
from nerfblendshape_ns.model_components.head_hull import SUBNASALE

UPPER = ("eye", "brow")
"""First letters of coefficients that act above the nose's bridge; ARKit's and FLAME's names."""
LOWER = ("jaw", "mouth", "tongue", "cheekPuff")
"""First letters of coefficients that act below the nose. Others (cheekSquint, noseSneer) belong to both."""
NOSE_TIP, NOSE_BRIDGE = 5, 6
"""Vertices of the tracked face mesh, in MediaPipe's numbering: middle of the nose, and between the eyes."""


class Swap(NamedTuple):
    """One step's foreign values."""

    condition: Float[Tensor, "frames condition"]
    """Each frame's own values, but foreign where they cannot concern the part."""
    lower: bool
    """Which part is rendered with them."""


class FaceParts(nn.Module):
    """Upper and lower face: their coefficients, and where they are.

    Args:
        aabb: ``[2, 3]`` the head box (z up, the face looks along -y).
        mesh: ``[468, 3]`` the clip's face mesh in scene coordinates.
        names: of the coefficients.
        pose_length: how many numbers of head pose follow the coefficients; they are foreign to both parts.
    """

    def __init__(
        self, aabb: Float[Tensor, "2 3"], mesh: Float[Tensor, "vertices 3"], names: Sequence[str], pose_length: int = 0
    ) -> None:
        super().__init__()
        height = (mesh[:, 2].float() - aabb[0, 2]) / (aabb[1, 2] - aabb[0, 2])
        self.below = float(height[SUBNASALE])
        self.above = float(0.5 * (height[NOSE_TIP] + height[NOSE_BRIDGE]))
        self.region = ExpressionRegion(aabb, mesh, persistent=False)  # Training's alone.
        upper = [name.startswith(UPPER) for name in names]
        lower = [name.startswith(LOWER) for name in names]
        self.divided = any(upper) and any(lower)
        """Whether the names tell the parts apart; where they do not, there is nothing to swap."""
        pose = [True] * pose_length
        self.upper: Tensor
        self.lower: Tensor
        self.register_buffer("upper", torch.tensor(upper + pose), persistent=False)
        self.register_buffer("lower", torch.tensor(lower + pose), persistent=False)

    def draw(
        self, condition: Float[Tensor, "frames condition"], pool: Float[Tensor, "train condition"], probability: float
    ) -> Optional[Swap]:
        """Foreign values for one training step, or None where the step goes without.

        Args:
            condition: of the step's frames.
            pool: of all training frames.
            probability: of drawing a swap at all.
        """
        if not self.divided or float(torch.rand(())) >= probability:
            return None
        lower = bool(torch.rand(()) < 0.5)
        chosen = torch.randint(len(pool), (len(condition),)).to(pool.device)
        foreign = self.upper if lower else self.lower
        return Swap(torch.where(foreign, pool[chosen], condition), lower)

    def inside(self, positions: Float[Tensor, "samples 3"], lower: bool) -> Bool[Tensor, "samples"]:
        """Which samples lie in a part.

        Args:
            positions: in [0, 1] over the box.
            lower: below the nose, else above its middle.
        """
        height = positions[:, 2]
        part = height < self.below if lower else height > self.above
        return part & self.region(positions, soft=False)
