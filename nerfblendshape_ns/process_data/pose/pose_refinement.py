"""Head poses refined photometrically: rigid parts of the head must look alike in every frame.

Landmarks wander by a pixel or two, slowly, with expression and view. Texture does not: points on the upper face and on
the hair (:mod:`.head_points`) are tracked by Lucas-Kanade on the pose (Baker and Matthews, "Lucas-Kanade 20 years on",
2004), all frames against a common template, band-passed and contrast-normalised so that light and gain do not matter.
The landmarks stay as an anchor, and so does the acceleration penalty of the landmark fit (:mod:`.head_pose`). On real
clips, hair that took no part in the fit is steadier afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional, Sequence, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.common.memory import uninitialised
from nerfblendshape_ns.common.parallel import ordered_map
from nerfblendshape_ns.process_data.pose.banded_system import smooth_step
from nerfblendshape_ns.process_data.pose.head_points import PointSet
from nerfblendshape_ns.process_data.pose.head_pose import PoseFit, landmark_information
from nerfblendshape_ns.process_data.pose.landmark_trust import geman_mcclure, least_smoothness
from nerfblendshape_ns.process_data.pose.pose_geometry import (
    Intrinsics,
    left_jacobian,
    project,
    rotations,
    to_camera,
)

PASS_BANDS = ((3.0, 12.0), (1.5, 8.0))
"""Pass bands as Gaussian sigmas in pixels of a 512-pixel image, coarse to fine."""
ROUNDS_PER_BAND = 4
"""Gauss-Newton rounds in each."""
# Contrast below this many grey levels is noise and is not amplified.
CONTRAST_FLOOR = 4.0
# Normalised images are kept as int8 with this many steps per unit.
STEPS_PER_UNIT = 24.0
# Images of more bytes than this are kept in a temporary file.
BYTES_IN_MEMORY = 2**28
# Points fade out between these cosines of the angle to the camera.
VISIBLE_FROM, VISIBLE_FULL = 0.2, 0.5


@dataclass
class _BandPassed:
    """The band-passed images of a clip, cropped to one rectangle that holds the head in every frame."""

    pixels: np.ndarray
    left: int
    top: int

    def values(self, index: int) -> np.ndarray:
        """The image of frame ``index`` as float32."""
        return self.pixels[index].astype(np.float32)

    def sample(self, image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Bilinear values at ``pixels`` ``[2, points]`` (whole image; the centre of its first pixel is 0.5, 0.5)."""
        columns = (pixels[0] - self.left - 0.5).astype(np.float32)[None]
        rows = (pixels[1] - self.top - 0.5).astype(np.float32)[None]
        return cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]


def refine_poses(
    frames: Sequence[np.ndarray],
    fit: PoseFit,
    point_sets: Sequence[PointSet],
    observed: np.ndarray,
    intrinsics: Intrinsics,
    smoothness: float,
    bands: Sequence[Tuple[float, float]],
    progress: Callable[[int], None],
    breaks: Optional[np.ndarray] = None,
) -> np.ndarray:
    """Refine the poses of a clip photometrically.

    Args:
        frames: uint8 RGB images by index.
        fit: poses, rigid shape and landmark noise from :func:`~nerfblendshape_ns.process_data.pose.head_pose.fit_clip`.
        point_sets: the points that are tracked.
        observed: ``[frames, points, 2]`` pixels of the rigid landmarks, the anchor.
        intrinsics: the camera.
        smoothness: in frames, as for :func:`~nerfblendshape_ns.process_data.pose.head_pose.fit_clip`.
        bands: the pass bands, in order.
        progress: called with 1 after each of :data:`ROUNDS_PER_BAND` rounds per band.
        breaks: bool ``[frames]``, frames before which motion is interrupted; nothing is smoothed across them.

    Returns:
        Poses ``[frames, 6]`` relative to ``fit.reference``.

    Raises:
        UserError: there is no room for the images of a long clip.
    """
    poses, smoothness = fit.poses, least_smoothness(smoothness, fit.trust)
    for low, high in bands:
        clip_images = _band_passed(frames, poses, fit.reference, point_sets, intrinsics, low, high)
        for _ in range(ROUNDS_PER_BAND):
            information, gradient = landmark_information(fit, poses, observed, intrinsics)
            _add_texture(information, gradient, clip_images, poses, fit.reference, point_sets, intrinsics)
            poses = poses + smooth_step(information, gradient, poses, smoothness, breaks)
            progress(1)
    return poses


def _add_texture(
    information: np.ndarray,
    gradient: np.ndarray,
    clip_images: _BandPassed,
    poses: np.ndarray,
    reference: np.ndarray,
    point_sets: Sequence[PointSet],
    intrinsics: Intrinsics,
) -> None:
    """Add the points' evidence on every pose to ``information`` and ``gradient``, in place."""
    rotation, jacobians = rotations(poses, reference), left_jacobian(poses[:, :3])
    points = np.concatenate([one.points for one in point_sets]).T
    ends = np.cumsum([len(one.points) for one in point_sets])
    parts = [slice(end - len(one.points), end) for one, end in zip(point_sets, ends)]
    values = np.empty((len(poses), points.shape[1]), dtype=np.float32)
    weights = np.ones_like(values)
    # Coordinates are rows of [3, points]: numpy is slow where the last axis is short.
    for index in range(len(poses)):
        camera = rotation[index] @ points + poses[index, 3:, None]
        values[index] = clip_images.sample(clip_images.values(index), _pixels(camera, intrinsics))
        for one, part in zip(point_sets, parts):
            if one.normals is not None:
                normals, away = rotation[index] @ one.normals.T, camera[:, part]
                facing = -(normals * away).sum(0) / np.sqrt((away * away).sum(0))
                weights[index, part] = np.clip((facing - VISIBLE_FROM) / (VISIBLE_FULL - VISIBLE_FROM), 0, 1)
    values /= STEPS_PER_UNIT
    residual = _template(values, weights) - values
    for one, part in zip(point_sets, parts):
        spread = max(1.4826 * float(np.median(np.abs(residual[:, part]))), 1e-3)
        # Loose hair and glints count little.
        weights[:, part] *= one.weight * geman_mcclure(residual[:, part] / spread, 2.0) / spread**2
    for index in range(len(poses)):
        turned = rotation[index] @ points
        camera = turned + poses[index, 3:, None]
        by_pose = _texture_jacobian(clip_images, index, turned, camera, jacobians[index], intrinsics)
        weighted = by_pose * weights[index]
        information[index] += weighted @ by_pose.T
        gradient[index] += weighted @ residual[index]


def _template(values: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Robust mean over frames of each point's brightness (two rounds of Cauchy weights)."""
    template = (values * visible).sum(0) / np.maximum(visible.sum(0), 1e-3)
    for _ in range(2):
        weights = visible / (1.0 + ((values - template) / 0.5) ** 2)
        template = (values * weights).sum(0) / np.maximum(weights.sum(0), 1e-3)
    return template


def _texture_jacobian(
    clip_images: _BandPassed,
    index: int,
    turned: np.ndarray,
    camera: np.ndarray,
    jacobian: np.ndarray,
    intrinsics: Intrinsics,
) -> np.ndarray:
    """Derivative of the sampled brightness by the pose, ``[6, points]``.

    Args:
        clip_images: that are sampled.
        index: of the frame.
        turned: ``[3, points]`` in the axes of the camera, from the head's origin.
        camera: ``[3, points]`` in the camera.
        jacobian: ``[3, 3]``, the left Jacobian of the pose's rotation vector.
        intrinsics: the camera.
    """
    image, pixels = clip_images.values(index), _pixels(camera, intrinsics)
    slopes = [
        clip_images.sample(cv2.Sobel(image, cv2.CV_32F, right, down, ksize=3, scale=0.125 / STEPS_PER_UNIT), pixels)
        for right, down in ((1, 0), (0, 1))
    ]
    per_depth = intrinsics.focal / camera[2]
    x, y = slopes[0] * per_depth, slopes[1] * per_depth
    z = -(x * camera[0] + y * camera[1]) / camera[2]
    # A row g times -[p]_x is the cross product p x g.
    by_turn = np.stack([turned[1] * z - turned[2] * y, turned[2] * x - turned[0] * z, turned[0] * y - turned[1] * x])
    return np.concatenate([jacobian.T @ by_turn, [x, y, z]])


def _pixels(camera: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Pixels ``[2, points]`` of points ``[3, points]`` in the camera."""
    centre = np.array([[intrinsics.centre_x], [intrinsics.centre_y]])
    return camera[:2] * (intrinsics.focal / camera[2]) + centre


def _band_passed(
    frames: Sequence[np.ndarray],
    poses: np.ndarray,
    reference: np.ndarray,
    point_sets: Sequence[PointSet],
    intrinsics: Intrinsics,
    low: float,
    high: float,
) -> _BandPassed:
    """Band-passed, contrast-normalised images of the head in every frame; many are kept in a temporary file."""
    height, width = frames[0].shape[:2]
    scale = max(height, width) / 512.0
    seen = project(to_camera(poses, reference, np.concatenate([one.points[::8] for one in point_sets])), intrinsics)
    margin = 8 * scale
    left, top = np.clip(np.floor(seen.min((0, 1)) - margin), 0, (width - 2, height - 2)).astype(int)
    right, bottom = np.clip(np.ceil(seen.max((0, 1)) + margin), (left + 2, top + 2), (width, height)).astype(int)
    shape = (len(poses), bottom - top, right - left)
    pixels = uninitialised(shape, np.int8, int(np.prod(shape, dtype=np.int64)) <= BYTES_IN_MEMORY)

    def add(index: int) -> None:
        grey = cv2.cvtColor(frames[index][top:bottom, left:right], cv2.COLOR_RGB2GRAY).astype(np.float32)
        band = cv2.GaussianBlur(grey, (0, 0), low * scale) - cv2.GaussianBlur(grey, (0, 0), high * scale)
        band /= np.sqrt(cv2.GaussianBlur(band * band, (0, 0), high * scale)) + CONTRAST_FLOOR
        band *= STEPS_PER_UNIT
        pixels[index] = np.clip(np.rint(band, out=band), -127, 127, out=band)

    for _ in ordered_map(add, range(len(poses))):
        pass
    return _BandPassed(pixels, int(left), int(top))
