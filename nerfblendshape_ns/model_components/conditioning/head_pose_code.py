"""Head pose as six numbers for networks: how the head is turned and where it is, before the captured camera."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

SMALLEST_TURN = 0.03
"""Range of a rotation below which it is not stretched further; sine of the angle, about 2 degrees."""
SMALLEST_SHIFT = 0.02
"""Range of a translation below which it is not stretched further, as a fraction of the head's distance."""


def median_pose(head_pose: Float[Tensor, "frames 12"]) -> int:
    """Which pose is nearest to the median of all: the clip's middle view.

    Args:
        head_pose: camera-to-head matrices, row by row.
    """
    return int((head_pose - head_pose.median(0).values).norm(dim=1).argmin())


class HeadPoseCode(nn.Module):
    """Rotation and translation of the head in camera axes, relative to the clip's middle, scaled to [-1, 1].

    The rotation enters as the axis times the sine of the angle (half the skew part of the relative rotation): smooth
    and one-to-one below 90 degrees, where a face is tracked. Poses outside the training range are clamped to it, as
    expressions are, or to a wider one.

    Args:
        head_pose: ``[train, 12]`` camera-to-head matrices of the training frames, row by row.
        beyond: how far codes may go beyond ±1.
    """

    def __init__(self, head_pose: Float[Tensor, "train 12"], beyond: float = 0.0) -> None:
        super().__init__()
        self.limit = 1.0 + beyond
        self.reference: Tensor
        self.low: Tensor
        self.high: Tensor
        flat = head_pose.float()
        middle = flat[median_pose(flat)]
        self.register_buffer("reference", middle.clone())
        raw = self._relative(flat)
        low, high = raw.amin(0), raw.amax(0)
        distance = middle.view(3, 4)[:, 3].norm()
        floor = torch.cat([torch.full((3,), SMALLEST_TURN), torch.ones(3) * SMALLEST_SHIFT * distance]).to(raw)
        missing = (floor - (high - low)).clamp_min(0.0) / 2
        self.register_buffer("low", low - missing)
        self.register_buffer("high", high + missing)

    def forward(self, head_pose: Float[Tensor, "frames 12"]) -> Float[Tensor, "frames 6"]:
        """The code of captured poses: three of rotation, three of translation; training poses lie within ±1."""
        fraction = (self._relative(head_pose) - self.low) / (self.high - self.low)
        return (fraction * 2.0 - 1.0).clamp(-self.limit, self.limit)

    def _relative(self, head_pose: Tensor) -> Tensor:
        rotation, shift = _head_in_camera(head_pose)
        reference, reference_shift = _head_in_camera(self.reference[None])
        turn = rotation @ reference.transpose(1, 2)
        skew = 0.5 * (turn - turn.transpose(1, 2))
        axis = torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], -1)
        return torch.cat([axis, shift - reference_shift], -1)


def _head_in_camera(head_pose: Tensor) -> tuple[Tensor, Tensor]:
    pose = head_pose.reshape(-1, 3, 4)
    rotation = pose[:, :, :3].transpose(1, 2)
    return rotation, -(rotation @ pose[:, :, 3:])[..., 0]
