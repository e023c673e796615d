"""Head pose as six numbers for networks: how the head is turned and where it is, before the captured camera."""

from __future__ import annotations

from typing import Any, Dict

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
        scale: factor of the codes.
    """

    def __init__(self, head_pose: Float[Tensor, "train 12"], beyond: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        self.limit, self.scale = (1.0 + beyond) * scale, scale
        self.reference: Tensor
        self.low: Tensor
        self.high: Tensor
        flat = head_pose.float()
        middle = flat[median_pose(flat)]
        self.register_buffer("reference", middle.clone())
        raw = (self._relative(flat) - self._relative(middle[None])) @ _PARTS.to(flat)
        low, high = raw.amin(0), raw.amax(0)
        distance = middle.view(3, 4)[:, 3].norm()
        floor = torch.cat([torch.full((3,), SMALLEST_TURN), torch.ones(3) * SMALLEST_SHIFT * distance]).to(raw)
        missing = (floor - (high - low)).clamp_min(0.0) / 2
        self.register_buffer("low", low - missing)
        self.register_buffer("high", high + missing)
        self.factors: Tensor
        self.offset: Tensor
        self.register_buffer("factors", torch.empty(12, 6), persistent=False)
        self.register_buffer("offset", torch.empty(6), persistent=False)
        self._set_factors()

    def _set_factors(self) -> None:
        """So that codes are a linear map of relative poses."""
        stretch = 2.0 * self.scale / (self.high - self.low)
        parts = _PARTS.to(stretch)
        # The reference's own shift is what the others are relative to.
        own = (self._relative(self.reference[None]) @ parts)[0]
        self.factors, self.offset = parts * stretch, -(own + self.low) * stretch - self.scale

    def _load_from_state_dict(self, state_dict: Dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(state_dict, *args, **kwargs)
        self._set_factors()

    def forward(self, head_pose: Float[Tensor, "frames 12"]) -> Float[Tensor, "frames 6"]:
        """The code of captured poses: three of rotation, three of translation; those of training lie within ± scale."""
        # Mixed precision would round by a tenth of the range of a head that hardly moves.
        with torch.autocast(head_pose.device.type, enabled=False):
            return torch.addmm(self.offset, self._relative(head_pose), self.factors).clamp(-self.limit, self.limit)

    def turn_ends(self) -> Float[Tensor, "2 3"]:
        """Smallest and largest turn of the training frames from the reference about each of the captured camera's axes,
        in degrees."""
        return torch.stack([self.low, self.high])[:, :3].clamp(-1.0, 1.0).asin().rad2deg()

    def _relative(self, head_pose: Float[Tensor, "frames 12"]) -> Float[Tensor, "frames 12"]:
        """Of each pose the head's rotation in the camera relative to the reference's, and the camera's place in its own
        axes, as a 3x4 matrix row by row."""
        pose = head_pose.reshape(-1, 3, 4)
        reference = self.reference.view(3, 4)[:, :3].expand(len(pose), 3, 3)
        return (pose[:, :, :3].transpose(1, 2) @ torch.cat([reference, pose[:, :, 3:]], dim=2)).flatten(1)


_PARTS = torch.zeros(12, 6)
"""From a relative pose to the axis of its rotation (half the skew part) and the head's place in the camera's axes."""
for _part, (_plus, _minus) in enumerate(((9, 6), (2, 8), (4, 1))):
    _PARTS[_plus, _part], _PARTS[_minus, _part] = 0.5, -0.5
for _part in range(3):
    _PARTS[4 * _part + 3, 3 + _part] = -1.0
