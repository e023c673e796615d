"""Captured cameras as views for the browser's camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from nerfstudio.viewer.viewer import VISER_NERFSTUDIO_SCALE_RATIO
from torch import Tensor
from viser import ClientHandle

from nerfblendshape_ns.model_components.conditioning.head_pose_code import median_pose

WORLD_UP = np.array([0.0, 0.0, 1.0])
"""The dataparser turns heads upright: up is +z, about which the browser's camera orbits."""


@dataclass(frozen=True)
class View:
    """A view in scene coordinates."""

    position: np.ndarray
    """``[3]`` of the camera."""
    target: np.ndarray
    """``[3]`` on its axis, as far away as the head's centre; the browser orbits about it."""
    up: np.ndarray
    """``[3]`` direction of the image's upper side."""


def view_of_pose(pose: Float[Tensor, "12"]) -> View:
    """The view of a captured camera-to-head pose, OpenGL axes, the 3x4 matrix row by row."""
    matrix = pose.detach().cpu().numpy().astype(np.float64).reshape(3, 4)
    position, forward = matrix[:, 3], -matrix[:, 2]
    distance = max(0.1, float(-position @ forward))
    return View(position, position + distance * forward, matrix[:, 1])


def median_frame(track_pose: Float[Tensor, "frames 12"], train_frames: Tensor) -> int:
    """The training frame whose camera is nearest to the median of all: a view from where most were taken."""
    return int(train_frames[median_pose(track_pose[train_frames])])


def show_view(client: ClientHandle, view: View, vertical_fov: float, upright: bool) -> None:
    """Move a browser's camera.

    Args:
        client: the browser.
        view: where to.
        vertical_fov: radians.
        upright: keep the world's up direction, so that orbits stay level; False rolls the image as it was captured.
    """
    camera = client.camera
    with client.atomic():
        # Up comes last of the three, for each of them keeps the others and recomputes the rotation.
        camera.position = view.position * VISER_NERFSTUDIO_SCALE_RATIO
        camera.look_at = view.target * VISER_NERFSTUDIO_SCALE_RATIO
        camera.up_direction = WORLD_UP if upright else view.up
        camera.fov = vertical_fov
