"""The lower face follows jaw and mouth, the upper face eyes and brows, and both the head pose.

A clip of some seconds shows few combinations: a mouth that opened only while the eyes looked left would close again as
soon as they look up. The names of the coefficients say more than the clip can: a lid does not move the chin, nor the
jaw a brow. So below the middle of the nose the coefficients of eyes and brows keep their training mean, above it those
of jaw and mouth. Off the face, where a tracker's errors follow the expression as much as anything does, all act.
"""

from __future__ import annotations

from typing import Optional, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerfblendshape_ns.coefficient_names.face_groups import upper_and_lower
from nerfblendshape_ns.model_components.conditioning.face_region import FaceRegion
from nerfblendshape_ns.ops.canonical import FaceMap

NOSE_TIP, NOSE_BRIDGE = 5, 6
"""Vertices of the tracked face mesh, in MediaPipe's numbering: middle of the nose, and between the eyes."""
BORDER_BLUR = 0.03
"""Standard deviation by which training shifts the borders for each sample, as a fraction of the box's height: both
sides learn to agree there."""


class FaceParts(nn.Module):
    """Upper and lower face: their coefficients, and where they are.

    Args:
        aabb: ``[2, 3]`` the head box (z up, the face looks along -y).
        mesh: ``[468, 3]`` the clip's face mesh in scene coordinates.
        names: of the coefficients; see :meth:`has_region_names`.
        reference: ``[condition]`` values that coefficients of the other part keep: the training mean. Numbers of head
            pose may follow the coefficients.
    """

    def __init__(
        self,
        aabb: Float[Tensor, "2 3"],
        mesh: Float[Tensor, "vertices 3"],
        names: Sequence[str],
        reference: Float[Tensor, "condition"],
    ) -> None:
        super().__init__()
        height = (mesh[:, 2].float() - aabb[0, 2]) / (aabb[1, 2] - aabb[0, 2])
        self.region = FaceRegion(aabb, mesh)
        upper, lower = upper_and_lower(names)
        pose = [False] * (len(reference) - len(names))
        self.still: Tensor
        self.reference: Tensor
        self.border: Tensor
        still = torch.tensor([[False] * len(reference), upper + pose, lower + pose])
        self.register_buffer("still", still[:, None], persistent=False)
        self.register_buffer("reference", reference.float().clone())
        self.low: Tensor
        self.high: Tensor
        self.limit(None)
        self.register_buffer("border", 0.5 * (height[NOSE_TIP] + height[NOSE_BRIDGE]))

    def limit(self, bounds: Optional[Float[Tensor, "2 condition"]]) -> None:
        """Set the smallest and the largest that any part sees of each value; None sets no limits."""
        low, high = (-torch.inf, torch.inf) if bounds is None else bounds.to(self.reference)
        self.register_buffer("low", torch.where(self.still, self.reference, low), persistent=False)
        self.register_buffer("high", torch.where(self.still, self.reference, high), persistent=False)

    @staticmethod
    def has_region_names(names: Sequence[str]) -> bool:
        """Whether the names of coefficients say which part of the face they move."""
        return all(any(part) for part in upper_and_lower(names))

    def conditions(self, condition: Float[Tensor, "frames condition"]) -> Float[Tensor, "variants condition"]:
        """What the parts of the head see of each frame's condition, one part after the other by their numbers."""
        return condition.clamp(self.low, self.high).flatten(0, 1)  # One operation for both.

    def face_map(self, soft: bool, generator: Optional[torch.Generator] = None) -> FaceMap:
        """Where the parts are.

        Args:
            soft: blur the borders by another draw for each sample (training).
            generator: of the draws, on the CPU; None takes torch's own.
        """
        seed = None
        if soft:
            device = self.border.device
            place = device if generator is None else "cpu"
            seed = torch.randint(2**31 - 1, (1,), generator=generator, dtype=torch.int32, device=place).to(device)
        return FaceMap(self.region.weights, self.region.rear, self.border, BORDER_BLUR, seed)
