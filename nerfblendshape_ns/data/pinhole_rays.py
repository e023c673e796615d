"""Rays of pinhole cameras, made in one launch: the same values as nerfstudio's, many times faster."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple, Union

import torch
from jaxtyping import Int
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor

from nerfblendshape_ns.ops.camera_ray_kernels import pinhole_rays


class PinholeRays:
    """Makes rays through pixel centres of a clip's cameras, which are alike.

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
        self.width = int(cameras.width[0])
        self._cameras = torch.cat(_camera_parts(cameras), dim=-1).float().to(device)

    def __call__(
        self, camera_indices: Int[Tensor, " rays"], pixels: Int[Tensor, " rays"], metadata: Dict[str, Any]
    ) -> RayBundle:
        """Rays through pixel centres.

        Args:
            camera_indices: index of each ray's camera.
            pixels: each ray's pixel, row times width plus column.
            metadata: goes into the bundle's metadata beside ``directions_norm`` [rays, 1].

        Returns:
            The rays, directions of unit length, without time.
        """
        bundle = _rays(self._cameras, self.width, (len(pixels),), camera_indices, pixels)
        bundle.camera_indices = camera_indices[:, None]
        bundle.metadata.update(metadata)
        return bundle


def image_rays(camera: Cameras, device: Union[torch.device, str]) -> Optional[RayBundle]:
    """Rays through all pixel centres of one camera, without camera index and time.

    Args:
        camera: of shape ``[]`` or ``[1]``. Where a GPU holds it, its size is waited for.
        device: where rays are made.

    Returns:
        ``[height, width]`` rays, directions of unit length; None where the camera is no undistorted pinhole camera.
    """
    if type(camera) is not Cameras:  # Others may make their rays in another way.
        return None
    numbers = [*_camera_parts(camera), camera.height, camera.width, camera.camera_type]
    if camera.distortion_params is not None:
        numbers.append(camera.distortion_params)
    row = torch.cat([part.reshape(-1) for part in numbers]).float()
    height, width, kind, *distortion = row[CAMERA_NUMBERS:].cpu().numpy()
    if kind != CameraType.PERSPECTIVE.value or any(distortion):
        return None
    no_index = torch.empty(0, dtype=torch.long, device=device)
    return _rays(row[:CAMERA_NUMBERS].view(1, -1).to(device), int(width), (int(height), int(width)), no_index, no_index)


CAMERA_NUMBERS = 16
"""What the kernel reads of each camera: fx, fy, cx, cy, and the pose row by row."""


def _camera_parts(cameras: Cameras) -> Tuple[Tensor, ...]:
    return cameras.fx, cameras.fy, cameras.cx, cameras.cy, cameras.camera_to_worlds.flatten(-2)


def _rays(cameras: Tensor, width: int, shape: Tuple[int, ...], camera_indices: Tensor, pixels: Tensor) -> RayBundle:
    origins, directions = cameras.new_empty(*shape, 3), cameras.new_empty(*shape, 3)
    norm, area = cameras.new_empty(*shape, 1), cameras.new_empty(*shape, 1)
    flat = (origins.view(-1, 3), directions.view(-1, 3), norm.view(-1), area.view(-1))
    pinhole_rays(norm.numel(), (), (cameras, width, camera_indices, pixels, *flat))
    return RayBundle(origins, directions, area, metadata={"directions_norm": norm})
