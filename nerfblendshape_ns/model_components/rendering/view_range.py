"""View-dependent colour is clamped to the directions from which training frames see the head.

The colour network reads viewing directions through polynomials of the third degree, which are arbitrary where no frame
looks from: on a clip whose head hardly turns, a face turned 30 degrees to one side went dark. Beyond the training
directions the head keeps the colours of their edge, as it does with coefficients and head pose.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

MARGIN = 1e-4
"""Radians by which the range is wider than the training cameras, so that rounding turns none of their own rays."""


class ViewRange(nn.Module):
    """Yaw and pitch within which the training cameras see the middle of the head, from their middle direction.

    Args:
        head_pose: ``[train, 12]`` camera-to-head matrices of the training frames, row by row. With fewer than two no
            direction is changed.
        centre: ``[3]``, middle of the head in the same coordinates.
    """

    def __init__(self, head_pose: Float[Tensor, "train 12"], centre: Float[Tensor, "3"]) -> None:
        super().__init__()
        self.centre: Tensor
        self.axes: Tensor
        self.low: Tensor
        self.high: Tensor
        self.register_buffer("centre", centre.float().clone())
        positions = head_pose.float().reshape(-1, 3, 4)[:, :, 3]
        middle = normalize(normalize(self.centre - positions, dim=-1).median(0).values, dim=0)
        upright = torch.eye(3)[2 if abs(float(middle[2])) < 0.9 else 0].to(middle)  # Head space is upright along z.
        right = normalize(torch.linalg.cross(middle, upright), dim=0)
        self.register_buffer("axes", torch.stack([right, torch.linalg.cross(right, middle), middle]))
        self.register_buffer("low", torch.full((2,), -torch.inf).to(middle))
        self.register_buffer("high", torch.full((2,), torch.inf).to(middle))
        if len(positions) > 1:
            angles = self._angles(normalize(self.centre - positions, dim=-1))
            self.low, self.high = angles.amin(0) - MARGIN, angles.amax(0) + MARGIN

    def forward(self, origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"]) -> Float[Tensor, "rays 3"]:
        """Directions as the nearest camera within the range would have them.

        Args:
            origins: of the rays; the direction from there to the middle of the head decides.
            directions: unit vectors. Within the range they stay as they are, bit by bit; beyond it they are turned as
                the direction to the head must be to come to the range's edge, the shortest way.
        """
        towards = normalize(self.centre - origins, dim=-1)
        angles = self._angles(towards)
        nearest = torch.maximum(torch.minimum(angles, self.high), self.low)
        outside = (angles != nearest).any(-1)
        (yaw, pitch), level = nearest.unbind(-1), nearest[:, 1].cos()
        wanted = torch.stack([yaw.sin() * level, pitch.sin(), yaw.cos() * level], -1) @ self.axes
        # Rodrigues' rotation from one unit vector to another, without angles.
        cross, cosine = torch.linalg.cross(towards, wanted), (towards * wanted).sum(-1, keepdim=True)
        along = cross * (cross * directions).sum(-1, keepdim=True) / (1.0 + cosine).clamp_min(1e-3)
        turned = directions * cosine + torch.linalg.cross(cross, directions) + along
        return torch.where(outside[:, None], turned, directions)

    def _angles(self, towards: Float[Tensor, "rays 3"]) -> Float[Tensor, "rays 2"]:
        right, up, ahead = (towards @ self.axes.T).unbind(-1)
        return torch.stack([torch.atan2(right, ahead), torch.asin(up.clamp(-1.0, 1.0))], -1)
