"""Rays of a clip's cameras, which share one pinhole camera: the same values as nerfstudio's, many times faster."""

from __future__ import annotations

from typing import Dict, Union

import torch
from jaxtyping import Int
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor


class PinholeRays:
    """Makes rays through pixel centres from directions computed once for each pixel.

    ``nerfstudio.cameras.Cameras.generate_rays`` works the camera model out for every ray of every batch; here a batch
    is two look-ups and a rotation.

    Args:
        cameras: perspective cameras of one size and one set of intrinsics, without distortion.
        device: where rays are made.

    Raises:
        ValueError: the cameras differ, are distorted or not perspective.
    """

    def __init__(self, cameras: Cameras, device: Union[torch.device, str] = "cpu"):
        intrinsics = torch.cat([cameras.fx, cameras.fy, cameras.cx, cameras.cy, cameras.width, cameras.height], dim=-1)
        if (
            (intrinsics != intrinsics[0]).any()
            or (cameras.camera_type != CameraType.PERSPECTIVE.value).any()
            or (cameras.distortion_params is not None and cameras.distortion_params.any())
        ):
            raise ValueError("the cameras must be undistorted pinhole cameras with the same intrinsics")
        fl_x, fl_y, cx, cy = (float(value) for value in intrinsics[0, :4])
        self.height, self.width = int(cameras.height[0]), int(cameras.width[0])
        y, x = torch.meshgrid(torch.arange(self.height) + 0.5, torch.arange(self.width) + 0.5, indexing="ij")
        horizontal, vertical = (x - cx) / fl_x, -(y - cy) / fl_y
        directions, norm = _unit(horizontal, vertical)
        # The area a pixel covers at distance 1: how far the directions of the next pixels right and down are away.
        right, _ = _unit(horizontal + 1 / fl_x, vertical)
        below, _ = _unit(horizontal, vertical - 1 / fl_y)
        area = (directions - right).norm(dim=-1) * (directions - below).norm(dim=-1)
        self._directions = directions.reshape(-1, 3).to(device)
        # Norm and area of a pixel side by side, so that one look-up serves both.
        self._norm_and_area = torch.stack([norm, area], dim=-1).reshape(-1, 2).to(device)
        self._poses = cameras.camera_to_worlds.to(device)
        self._times = None if cameras.times is None else cameras.times.to(device)

    def __call__(
        self, camera_indices: Int[Tensor, " rays"], pixels: Int[Tensor, " rays"], metadata: Dict[str, Tensor]
    ) -> RayBundle:
        """Rays through pixel centres.

        Args:
            camera_indices: index of each ray's camera.
            pixels: each ray's pixel, row times width plus column.
            metadata: goes into the bundle's metadata beside ``directions_norm`` [rays, 1].

        Returns:
            The rays, directions of unit length.
        """
        poses = self._poses[camera_indices]
        norm_and_area = self._norm_and_area[pixels]
        directions = (poses[:, :, :3] @ self._directions[pixels, :, None])[..., 0]
        return RayBundle(
            origins=poses[:, :, 3],
            directions=directions,
            pixel_area=norm_and_area[:, 1:],
            camera_indices=camera_indices[:, None],
            times=None if self._times is None else self._times[camera_indices],
            metadata={"directions_norm": norm_and_area[:, :1], **metadata},
        )


def _unit(horizontal: Tensor, vertical: Tensor) -> tuple[Tensor, Tensor]:
    """Directions of unit length ``[..., 3]`` and the length they had."""
    directions = torch.stack([horizontal, vertical, -torch.ones_like(horizontal)], dim=-1)
    norm = directions.norm(dim=-1)
    return directions / norm[..., None], norm
