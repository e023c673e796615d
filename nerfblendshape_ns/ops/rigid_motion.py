"""Small rigid motions of cameras, one a frame, and rays that follow them."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from nerfblendshape_ns.ops import rigid_motion_kernels


@torch.no_grad()
def scene_motion(
    poses: Float[Tensor, "frames 12"],
    inputs: Float[Tensor, "frames 6"],
    linear: Float[Tensor, "6 6"],
    offset: Float[Tensor, "6"],
) -> Float[Tensor, "frames 12"]:
    """The motion of the scene that takes what a camera sees to what it would see after a motion in its own axes.

    Args:
        poses: camera-to-scene matrices, row by row.
        inputs: ``inputs @ linear + offset`` is the rotation vector of each camera in its own axes, and its shift.
        linear: see there.
        offset: see there.

    Returns:
        3x4 matrices row by row; without gradients.
    """
    motions = poses.new_empty(len(poses), 12)
    arguments = (poses.contiguous(), inputs.contiguous(), linear, offset, motions)
    rigid_motion_kernels.scene_motion(len(poses), (), arguments)
    return motions


def move_rays(
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    motions: Float[Tensor, "frames 12"],
    ray_frame: Optional[Int[Tensor, "rays"]],
) -> Tuple[Float[Tensor, "rays 3"], Float[Tensor, "rays 3"]]:
    """Rays after the motion of their frame; differentiable once, in origins and directions.

    Args:
        origins: of the rays.
        directions: unit vectors.
        motions: 3x4 matrices, row by row.
        ray_frame: int32, which frame each ray belongs to; None where there is one.
    """
    return _MoveRays.apply(origins, directions, motions, ray_frame)


class _MoveRays(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, origins: Tensor, directions: Tensor, motions: Tensor, ray_frame: Optional[Tensor]
    ) -> Tuple[Tensor, Tensor]:
        ray_frame = motions.new_empty(0, dtype=torch.int32) if ray_frame is None else ray_frame
        ctx.save_for_backward(motions, ray_frame)
        return _moved(motions, ray_frame, 0, origins, directions)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tuple[Optional[Tensor], ...]:
        motions, ray_frame = ctx.saved_tensors
        origins, directions = gradients
        return *_moved(motions, ray_frame, 1, origins, directions), None, None


def _moved(
    motions: Tensor, ray_frame: Tensor, gradient: int, origins: Tensor, directions: Tensor
) -> Tuple[Tensor, Tensor]:
    origins, directions = origins.float().contiguous(), directions.float().contiguous()
    moved = torch.empty_like(origins), torch.empty_like(directions)
    rigid_motion_kernels.move_rays(len(origins), (), (motions, ray_frame, gradient, origins, directions, *moved))
    return moved
