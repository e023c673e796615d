"""The head pose that an image asks for, with the avatar frozen: what is wrong then is no error of the tracker's.

Photometric trackers find poses in this way. The squared colour difference is minimised by Levenberg and Marquardt's
method. Moving the head moves a pixel's surface point, known from the rendered depth; what colour that brings follows
from the mean of both images' gradients, which converges as fast as second derivatives would (Benhimane and Malis 2004,
"Real-time image-based tracking of planes using efficient second-order minimization").
"""

from __future__ import annotations

from typing import Callable, Dict, Optional, Tuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from nerfstudio.cameras.cameras import Cameras
from numpy import ndarray
from scipy.spatial.transform import Rotation
from torch import Tensor

from nerfblendshape_ns.data.labels import nearest_known

SIZE = 128
"""Longer side in pixels of the images that are compared, at most."""
BLURS = (2.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""Standard deviations in pixels of the Gaussian that both images are blurred by, step after step."""
STEP_BLUR = 1.0
"""The same where one step is all."""
OUTLINE = 0.1
"""Factor of differences near the outline in that step: hair and mask are less rigid than the face."""
DAMPING, LEAST_DAMPING, MOST_TRIES = 1e-2, 1e-3, 3
"""Damping of the first step; it rises tenfold where a step does not help, so many times."""
LEAST_GAIN = 0.01
"""A step on sharp images that gains less, in dB, is the last."""
NEAR = 4
"""Pixels beyond the rendered head that are compared, for its outline."""

Rendered = Tuple[Float[ndarray, "height width 3"], Float[ndarray, "height width"], Float[ndarray, "height width"]]
"""Colour, opacity, and distance along the ray."""


Show = Callable[[Cameras], Dict[str, Tensor]]
"""Renders a camera: ``rgb``, ``accumulation`` and ``depth``, on the background of the image it is compared with."""


@torch.no_grad()
def fit_pose(
    show: Show,
    camera: Cameras,
    truth: Float[Tensor, "height width 3"],
    seen: Optional[Bool[Tensor, "height width"]] = None,
) -> Float[Tensor, "3 4"]:
    """Six numbers of a camera fitted to an image; nothing else is.

    Args:
        show: renders the head.
        camera: of shape ``[1]``, the tracked one; its metadata, coefficients and head pose of the condition, stay.
        truth: in [0, 1].
        seen: where nothing is before the head; other pixels have no say. None is everywhere.

    Returns:
        The camera-to-world matrix; on images of :data:`SIZE` its mean squared error is no larger than the tracked
        one's.
    """
    view = _View(show, camera, truth, seen)
    return torch.from_numpy(_descend(view, view.tracked)).to(camera.camera_to_worlds)


@torch.no_grad()
def pose_step(
    show: Show,
    camera: Cameras,
    truth: Float[Tensor, "height width 3"],
    seen: Optional[Bool[Tensor, "height width"]] = None,
) -> Tuple[Float[Tensor, "3 4"], float]:
    """The first step of :func:`fit_pose` alone, for poses that are nearly right: one render.

    Args:
        show: see there.
        camera: see there.
        truth: see there.
        seen: see there.

    Returns:
        The camera-to-world matrix, and the fraction of the squared difference that it explains.
    """
    view = _View(show, camera, truth, seen)
    image = view.render(view.tracked)
    if not view.shows(image):
        return camera.camera_to_worlds[0], 0.0
    slopes, difference, centre = _linearised(image, view, STEP_BLUR, OUTLINE)
    step = _damped(slopes.T @ slopes, slopes.T @ difference, DAMPING)
    left = float(((difference - slopes @ step) ** 2).sum() / max((difference**2).sum(), 1e-12))
    return torch.from_numpy(_moved(view.tracked, step, centre)).to(camera.camera_to_worlds), 1.0 - left


class _View:
    """A camera and its image at :data:`SIZE`, and the head from there.

    Args:
        show: see :func:`fit_pose`.
        camera: see there.
        truth: see there.
        seen: see there.
    """

    def __init__(self, show: Show, camera: Cameras, truth: Tensor, seen: Optional[Tensor]) -> None:
        self._show = show
        self._camera, self._truth = _reduced(camera, truth)
        height, width = self._truth.shape[:2]
        self.hidden = np.zeros((height, width), dtype=bool)
        if seen is not None:
            hidden = (~seen).cpu().numpy().astype(np.float32)
            self.hidden = cv2.resize(hidden, (width, height), interpolation=cv2.INTER_AREA) > 0
        self.focal = np.array([float(self._camera.fx[0]), float(self._camera.fy[0])])
        centre = np.array([float(self._camera.cx[0]), float(self._camera.cy[0])])
        pixels = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1)
        rays = (pixels - centre) / self.focal * (1.0, -1.0)
        rays = np.concatenate([rays, -np.ones((height, width, 1))], axis=-1)
        self.rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
        self.tracked: ndarray = camera.camera_to_worlds[0].double().cpu().numpy()

    def target(self, color: Float[ndarray, "height width 3"]) -> Float[ndarray, "height width 3"]:
        """What a render is compared with: the truth, and the render itself where the truth is hidden."""
        return np.where(self.hidden[..., None], color, self._truth)

    def shows(self, image: Rendered) -> bool:
        """Whether a render has any of the head where the truth is not hidden."""
        return bool(((image[1] > 0.5) & ~self.hidden).any())

    def render(self, pose: Float[ndarray, "3 4"]) -> Rendered:
        """The head from a pose."""
        small = self._camera
        small.camera_to_worlds = torch.from_numpy(pose[None].astype(np.float32)).to(small.device)
        outputs = self._show(small)
        color, opacity, depth = (outputs[name].float().cpu().numpy() for name in ("rgb", "accumulation", "depth"))
        return color.clip(0.0, 1.0), opacity[..., 0], depth[..., 0]


def _descend(view: _View, pose: ndarray) -> ndarray:
    """The pose after the steps of :data:`BLURS`; none makes the error larger."""
    damping, image = DAMPING, view.render(pose)
    error = _error(image, view)
    for blur in BLURS:
        if not view.shows(image):
            break
        slopes, difference, centre = _linearised(image, view, blur)
        normal, right = slopes.T @ slopes, slopes.T @ difference
        gain = 0.0
        for _ in range(MOST_TRIES):
            step = _damped(normal, right, damping)
            moved = _moved(pose, step, centre)
            there = view.render(moved)
            least = _error(there, view)
            if least < error:
                gain = 10.0 * np.log10(error / max(least, 1e-12))
                pose, image, error = moved, there, least
                damping = max(damping / 5.0, LEAST_DAMPING)
                break
            damping *= 10.0
        if blur == 0.0 and gain < LEAST_GAIN:
            break
    return pose


def _linearised(
    image: Rendered, view: _View, blur: float, outline: float = 1.0
) -> Tuple[Float[ndarray, "values 6"], Float[ndarray, "values"], Float[ndarray, "3"]]:
    """How colours change with a turn about the head's centre and a shift in the camera's axes, by what they differ from
    the target, both times ``outline`` where the outline is near; and that centre."""
    (color, opacity, depth), focal = image, view.focal
    solid = opacity > 0.5
    # Beyond the outline the surface goes on at the depth of its nearest point.
    depth, _ = nearest_known(depth.astype(np.float64), solid)
    window = np.ones((2 * NEAR + 1, 2 * NEAR + 1), np.uint8)
    near = (cv2.dilate(solid.astype(np.uint8), window) > 0) & ~view.hidden
    rendered, wanted = (_blurred(part.astype(np.float32), blur) for part in (color, view.target(color)))
    mean = 0.5 * (rendered + wanted)
    gradient = np.stack([cv2.Sobel(mean, cv2.CV_32F, *axis, ksize=3) / 8.0 for axis in ((1, 0), (0, 1))], axis=-1)
    points = view.rays[near] * depth[near][:, None]
    centre = points.mean(0)
    away, x, y = -points[:, 2], points[:, 0], points[:, 1]
    shift = np.zeros((len(points), 2, 3))  # Of the pixel with the point.
    shift[:, 0, 0], shift[:, 0, 2] = focal[0] / away, focal[0] * x / away**2
    shift[:, 1, 1], shift[:, 1, 2] = -focal[1] / away, -focal[1] * y / away**2
    arm = points - centre
    turn = np.cross(np.eye(3)[None], arm[:, None]).swapaxes(1, 2)  # Column i: axis i times the arm.
    slopes = gradient[near] @ np.concatenate([shift @ turn, shift], axis=-1)
    difference = (rendered - wanted)[near]
    factor = np.where(cv2.erode(solid.astype(np.uint8), window)[near] > 0, 1.0, outline)[:, None]
    return (slopes * factor[..., None]).reshape(-1, 6), (difference * factor).reshape(-1), centre


def _damped(normal: Float[ndarray, "6 6"], right: Float[ndarray, "6"], damping: float) -> Float[ndarray, "6"]:
    return np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-12), right)


def _moved(pose: ndarray, step: ndarray, centre: ndarray) -> ndarray:
    """The camera-to-world matrix that shows the head turned about a centre and shifted, all in the camera's axes."""
    rotation = Rotation.from_rotvec(step[:3]).as_matrix()
    shift = centre + step[3:] - rotation @ centre
    axes = pose[:, :3] @ rotation.T
    return np.concatenate([axes, (pose[:, 3] - axes @ shift)[:, None]], axis=1)


def _reduced(camera: Cameras, truth: Tensor) -> Tuple[Cameras, ndarray]:
    """Camera and image with a longer side of :data:`SIZE` at most."""
    image = truth.float().cpu().numpy()
    small = camera[0:1].to(camera.device)  # A copy.
    factor = min(1.0, SIZE / max(image.shape[:2]))
    if factor < 1.0:
        height, width = (max(1, round(factor * side)) for side in image.shape[:2])
        across, down = width / image.shape[1], height / image.shape[0]
        small.fx, small.cx, small.fy, small.cy = (
            part * scale for part, scale in ((small.fx, across), (small.cx, across), (small.fy, down), (small.cy, down))
        )
        small.width, small.height = torch.full_like(small.width, width), torch.full_like(small.height, height)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return small, image


def _error(image: Rendered, view: _View) -> float:
    return float(((image[0] - view.target(image[0])) ** 2).mean())


def _blurred(image: ndarray, deviation: float) -> ndarray:
    return image if deviation == 0.0 else cv2.GaussianBlur(image, (0, 0), deviation)
