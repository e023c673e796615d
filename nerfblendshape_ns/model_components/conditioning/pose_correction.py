"""What the tracked head poses are corrected by, so that the images of all training frames agree.

A training frame has six numbers of its own. In part they follow the tracked pose, since a tracker's errors do: its face
is rigid, and its focal length is not quite the camera's. That part, a linear function of the pose that is fitted to the
training frames (ridge regression), corrects every other frame.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nerfblendshape_ns.ops.rigid_motion import scene_motion

RIDGE = 3.0
"""Penalty on the linear function of pose numbers that lie within ±1."""


class PoseCorrection(nn.Module):
    """Rigid motion of rays in scene coordinates, one a frame; see :func:`scene_motion`.

    Args:
        poses: ``[train, 12]`` tracked camera-to-head matrices of the training frames, row by row.
        codes: ``[train, 6]`` the same as numbers; see :class:`HeadPoseCode`.
        limit: they lie within ± this.
    """

    def __init__(self, poses: Float[Tensor, "train 12"], codes: Float[Tensor, "train 6"], limit: float = 1.0) -> None:
        super().__init__()
        self.limit = limit
        self.poses: Tensor
        self.codes: Tensor
        self.own: Tensor
        self.linear: Tensor
        self.offset: Tensor
        self.rounds: Tensor
        self.motions: Tensor
        self.register_buffer("poses", poses.float().clone(), persistent=False)
        self.register_buffer("codes", codes.float().clone(), persistent=False)
        self.register_buffer("own", torch.zeros(len(poses), 6))
        self.register_buffer("linear", torch.zeros(6, 6))
        self.register_buffer("offset", torch.zeros(6))
        self.register_buffer("rounds", torch.zeros((), dtype=torch.long))
        self.register_buffer("motions", torch.zeros(len(poses), 12), persistent=False)
        self.done = 0
        """The same as a number: the buffer would wait for the device in each step."""
        self.active = False
        """Whether anything is corrected."""

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._own_motions()

    def _own_motions(self) -> None:
        self.done, self.active = int(self.rounds), bool(self.own.any())
        self.motions = scene_motion(self.poses, self.own, torch.eye(6).to(self.own), torch.zeros_like(self.offset))

    @torch.no_grad()
    def correct(self, own: Float[Tensor, "train 6"]) -> None:
        """Correct from now on.

        Args:
            own: rotation vector and shift of each training frame's camera, in its own axes and scene units.
        """
        self.own.copy_(own)
        numbers, targets = (part.double() - part.double().mean(0) for part in (self.codes, self.own))
        normal = numbers.T @ numbers + RIDGE * self.limit**2 * torch.eye(6).to(numbers)
        self.linear.copy_(torch.linalg.solve(normal, numbers.T @ targets))
        self.offset.copy_(self.own.mean(0) - self.codes.mean(0) @ self.linear)
        self.rounds += 1
        self._own_motions()

    def stand(self, rounds: int) -> None:
        """Leave the tracked poses as they are, in so many rounds."""
        self.rounds += rounds
        self._own_motions()

    def of_training(self, frames: Int[Tensor, "frames"]) -> Float[Tensor, "frames 12"]:
        """The motion of training frames."""
        return self.motions[frames]

    def numbers(self, codes: Float[Tensor, "frames 6"]) -> Float[Tensor, "frames 6"]:
        """What follows for other frames: rotation vectors and shifts.

        Args:
            codes: of their tracked poses.
        """
        return torch.addmm(self.offset, codes, self.linear)

    def forward(
        self, poses: Float[Tensor, "frames 12"], codes: Float[Tensor, "frames 6"]
    ) -> Float[Tensor, "frames 12"]:
        """The motion of other frames.

        Args:
            poses: tracked camera-to-head matrices, row by row.
            codes: the same as numbers.
        """
        return scene_motion(poses, codes, self.linear, self.offset)
