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

from nerfblendshape_ns.ops.camera_ray_kernels import within_view_range

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
            angles = self.angles(normalize(self.centre - positions, dim=-1))
            self.low, self.high = angles.amin(0) - MARGIN, angles.amax(0) + MARGIN

    @torch.no_grad()
    def forward(self, origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"]) -> Float[Tensor, "rays 3"]:
        """Directions as the nearest camera within the range would have them; without gradients.

        Args:
            origins: of the rays; the direction from there to the middle of the head decides.
            directions: unit vectors. Within the range they stay as they are, bit by bit; beyond it they are turned as
                the direction to the head must be to come to the range's edge, the shortest way.
        """
        origins, directions = origins.float().contiguous(), directions.float().contiguous()
        turned = torch.empty_like(directions)
        within_view_range(len(origins), (), (origins, directions, self.centre, self.axes, self.low, self.high, turned))
        return turned

    def angles(self, towards: Float[Tensor, "rays 3"]) -> Float[Tensor, "rays 2"]:
        """Yaw (to the right) and pitch (upwards) of unit vectors from the middle direction, in radians."""
        right, up, ahead = (towards @ self.axes.T).unbind(-1)
        return torch.stack([torch.atan2(right, ahead), torch.asin(up.clamp(-1.0, 1.0))], -1)
