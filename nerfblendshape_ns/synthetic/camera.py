"""The webcam that films the synthetic head: it stands still, so poses in head space come from the head's motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nerfblendshape_ns.common.errors import UserError

CAMERA_DISTANCE = 66.0
CAMERA_HEIGHT = -0.8
FOCAL_LENGTH = 1.6  # in image heights
LONGEST_SIDE = 4096  # in pixels; memory goes with its square


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera, in pixels; (0, 0) is the outer corner of the upper left pixel."""

    width: int
    height: int
    fl_x: float
    fl_y: float
    cx: float
    cy: float


def default_intrinsics(width: int, height: int) -> Intrinsics:
    """The webcam's intrinsics at an image size: the head fills about 60 % of the height."""
    if width < 16 or height < 16:
        raise UserError(f"images of {width} x {height} are too small for a head; use at least 16 x 16.")
    if max(width, height) > LONGEST_SIDE:
        raise UserError(f"images of {width} x {height} are too large; use at most {LONGEST_SIDE} pixels a side.")
    focal = FOCAL_LENGTH * min(height, 1.7 * width)
    return Intrinsics(width, height, focal, focal, 0.5 * width, 0.5 * height)


def default_camera() -> np.ndarray:
    """Camera-to-world ``[4, 4]`` (OpenGL) of the webcam, which stands still."""
    pose = np.eye(4)
    pose[:3, 3] = (0.0, CAMERA_HEIGHT, CAMERA_DISTANCE)
    return pose


def camera_to_head(head_to_world: np.ndarray) -> np.ndarray:
    """Camera-to-head matrices ``[..., 4, 4]`` of the webcam for head poses ``[..., 4, 4]``."""
    return np.linalg.inv(head_to_world) @ default_camera()


def project(points: np.ndarray, camera_to_head: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Pixels ``[..., 2]`` of points ``[..., 3]`` in head space; an OpenGL camera looks along its -z."""
    local = (points - camera_to_head[:3, 3]) @ camera_to_head[:3, :3]
    x = intrinsics.cx - intrinsics.fl_x * local[..., 0] / local[..., 2]
    y = intrinsics.cy + intrinsics.fl_y * local[..., 1] / local[..., 2]
    return np.stack([x, y], -1)
