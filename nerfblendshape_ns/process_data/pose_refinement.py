"""Sharper head poses from the picture itself: the still parts of the face must look alike in every frame.

Landmarks wander by a pixel or two, slowly, with expression and view. Skin texture does not: points on the upper face of
the personalised mesh are followed photometrically (Lucas-Kanade on the pose, all frames against a common template,
band-passed and contrast-normalised so that light and gain do not matter), with the landmarks as an anchor and the
acceleration penalty of :mod:`~nerfblendshape_ns.process_data.head_pose`. On real clips the hair, which takes no part in
the fit, is steadier for it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence, Tuple

import cv2
import numpy as np
from scipy.linalg import solveh_banded
from scipy.spatial import Delaunay

from nerfblendshape_ns.process_data.banded_system import (
    acceleration_band,
    acceleration_weights,
    band_product,
    information_into_band,
)
from nerfblendshape_ns.process_data.camera_motion import (
    Intrinsics,
    cross_matrices,
    left_jacobian,
    project,
    rotations,
)
from nerfblendshape_ns.process_data.head_pose import (
    QUICK_SMOOTHNESS,
    PoseFit,
    linearise,
    projection_jacobian,
    robust_weights,
)
from nerfblendshape_ns.process_data.smoothing import whittaker

# Pass bands as Gaussian sigmas in pixels of a 512-pixel image, coarse to fine, and rounds at each.
PASS_BANDS = ((3.0, 12.0), (1.5, 8.0))
ROUNDS_PER_BAND = 4
NUM_POINTS = 2000
# Contrast below this many grey levels is noise and is not amplified.
CONTRAST_FLOOR = 4.0
# Normalised pictures are kept as int8 with this many steps a unit.
STEPS_PER_UNIT = 24.0
# Points fade out between these cosines of the angle to the camera.
VISIBLE_FROM, VISIBLE_FULL = 0.2, 0.5
EYE_CORNERS = ((33, 133), (263, 362))
SUBNASALE = 2


def num_rounds() -> int:
    """Rounds that :func:`refine_poses` makes."""
    return ROUNDS_PER_BAND * len(PASS_BANDS)


def face_points(mesh: np.ndarray, num_points: int = NUM_POINTS, seed: int = 0) -> Tuple[np.ndarray, np.ndarray]:
    """Points and outward normals spread evenly over the still part of the face: above the mouth, round the eyes.

    Args:
        mesh: ``[468, 3]`` in head space.
        num_points: how many.
        seed: of the random places.

    Returns:
        Points and unit normals, float64 ``[num_points, 3]`` each.
    """
    triangles = mesh[Delaunay(mesh[:, :2]).simplices]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normals *= np.sign(normals[:, 2:] + 1e-12)
    area = np.linalg.norm(normals, axis=1)
    centres = triangles.mean(1)
    # Skinny triangles along the outline bridge concave parts and lie on no skin.
    usable = (normals[:, 2] > 0.15 * area) & (centres[:, 1] > mesh[SUBNASALE, 1])
    for outer, inner in EYE_CORNERS:
        width = np.linalg.norm(mesh[outer] - mesh[inner])
        offset = np.abs(centres - (mesh[outer] + mesh[inner]) / 2)
        usable &= ~((offset[:, 0] < 0.8 * width) & (offset[:, 1] < 0.45 * width))
    random = np.random.default_rng(seed)
    share = np.where(usable, area, 0.0)
    chosen = random.choice(len(triangles), num_points, p=share / share.sum())
    corners = random.dirichlet([1.0, 1.0, 1.0], num_points)
    points = (triangles[chosen] * corners[:, :, None]).sum(1)
    return points, normals[chosen] / area[chosen, None]


@dataclass
class _Patch:
    """The band-passed picture round the face of one frame."""

    pixels: np.ndarray
    left: int
    top: int


def refine_poses(
    frames: Sequence[np.ndarray],
    fit: PoseFit,
    mesh: np.ndarray,
    observed: np.ndarray,
    intrinsics: Intrinsics,
    smoothness: float,
    progress: Optional[Callable[[int], None]] = None,
) -> np.ndarray:
    """Refine the poses of a clip photometrically.

    Args:
        frames: uint8 RGB images by index.
        fit: poses, rigid shape and landmark noise from :func:`~nerfblendshape_ns.process_data.head_pose.fit_clip`.
        mesh: the clip's face ``[468, 3]`` in head space.
        observed: ``[frames, points, 2]`` pixels of the rigid landmarks, the anchor.
        intrinsics: the camera.
        smoothness: in frames, as for :func:`~nerfblendshape_ns.process_data.head_pose.fit_clip`.
        progress: called with 1 after each of :func:`num_rounds` rounds.

    Returns:
        Poses ``[frames, 6]`` relative to ``fit.reference``.
    """
    points, normals = face_points(mesh)
    poses = fit.poses.copy()
    for low, high in PASS_BANDS:
        patches = _band_passed(frames, poses, fit.reference, mesh, intrinsics, low, high)
        for _ in range(ROUNDS_PER_BAND):
            poses = poses + _round(patches, poses, fit, points, normals, observed, intrinsics, smoothness)
            if progress is not None:
                progress(1)
    return poses


def _round(
    patches: List[_Patch],
    poses: np.ndarray,
    fit: PoseFit,
    points: np.ndarray,
    normals: np.ndarray,
    observed: np.ndarray,
    intrinsics: Intrinsics,
    smoothness: float,
) -> np.ndarray:
    """One Gauss-Newton step on all poses."""
    rotation = rotations(poses, fit.reference)
    values = np.empty((len(poses), len(points)), dtype=np.float32)
    visible = np.empty_like(values)
    for index, patch in enumerate(patches):
        camera = points @ rotation[index].T + poses[index, 3:]
        values[index] = _sample(patch.pixels.astype(np.float32), project(camera, intrinsics), patch)
        facing = -((normals @ rotation[index].T) * camera).sum(-1) / np.linalg.norm(camera, axis=-1)
        visible[index] = np.clip((facing - VISIBLE_FROM) / (VISIBLE_FULL - VISIBLE_FROM), 0, 1)
    values /= STEPS_PER_UNIT
    template = _template(values, visible)
    residual = template - values
    spread = max(1.4826 * float(np.median(np.abs(residual))), 1e-3)
    weights = visible * robust_weights_of_texture(residual / spread) / spread**2
    information, gradient = _landmark_anchor(poses, fit, observed, intrinsics)
    jacobians = left_jacobian(poses[:, :3])
    for index, patch in enumerate(patches):
        by_pose = _texture_jacobian(patch, points, rotation[index], poses[index], jacobians[index], intrinsics)
        weighted = by_pose * weights[index][:, None]
        information[index] += weighted.T @ by_pose
        gradient[index] += weighted.T @ residual[index]
    metric = information.mean(0)
    motion = acceleration_weights(whittaker(poses, QUICK_SMOOTHNESS), metric)
    band = acceleration_band(smoothness**4 * metric, motion)
    right_side = gradient.reshape(-1) - band_product(band, poses)
    step = solveh_banded(information_into_band(information, band), right_side, lower=True)
    return step.reshape(poses.shape)


def robust_weights_of_texture(scaled: np.ndarray) -> np.ndarray:
    """Geman-McClure weights in (0, 1] of residuals in standard deviations: hair, glints and wrinkles count little."""
    return 1.0 / (1.0 + (scaled / 2.0) ** 2) ** 2


def _template(values: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Robust mean over frames of each point's brightness (two rounds of Cauchy weights)."""
    template = (values * visible).sum(0) / np.maximum(visible.sum(0), 1e-3)
    for _ in range(2):
        weights = visible / (1.0 + ((values - template) / 0.5) ** 2)
        template = (values * weights).sum(0) / np.maximum(weights.sum(0), 1e-3)
    return template


def _landmark_anchor(
    poses: np.ndarray, fit: PoseFit, observed: np.ndarray, intrinsics: Intrinsics
) -> Tuple[np.ndarray, np.ndarray]:
    """Information ``[frames, 6, 6]`` and gradient ``[frames, 6]`` of the rigid landmarks."""
    residual, jacobian, _ = linearise(poses, fit.reference, fit.shape, observed, intrinsics)
    weights = robust_weights(np.linalg.norm(residual, axis=-1) / fit.noise) / fit.noise**2
    weighted = jacobian * weights[..., None, None]
    information = np.einsum("npia,npib->nab", weighted, jacobian, optimize=True)
    return information, np.einsum("npia,npi->na", weighted, residual, optimize=True)


def _texture_jacobian(
    patch: _Patch,
    points: np.ndarray,
    rotation: np.ndarray,
    pose: np.ndarray,
    jacobian: np.ndarray,
    intrinsics: Intrinsics,
) -> np.ndarray:
    """Derivative of the sampled brightness by the pose, ``[points, 6]``."""
    turned = points @ rotation.T
    camera = turned + pose[3:]
    pixels = project(camera, intrinsics)
    picture = patch.pixels.astype(np.float32)
    slopes = [
        _sample(cv2.Sobel(picture, cv2.CV_32F, right, down, ksize=3, scale=0.125 / STEPS_PER_UNIT), pixels, patch)
        for right, down in ((1, 0), (0, 1))
    ]
    by_camera = np.einsum("pi,pia->pa", np.stack(slopes, -1), projection_jacobian(camera, intrinsics.focal))
    # d(R x) = -[R x]_x J d(rotation vector), and g . (-[y]_x) = y x g written as a row.
    by_rotation = -np.einsum("pa,pab->pb", by_camera, cross_matrices(turned)) @ jacobian
    return np.concatenate([by_rotation, by_camera], axis=-1)


def _sample(picture: np.ndarray, pixels: np.ndarray, patch: _Patch) -> np.ndarray:
    """Bilinear values at ``pixels`` (whole-image coordinates; the centre of the first pixel is 0.5, 0.5)."""
    columns = (pixels[:, 0] - patch.left - 0.5).astype(np.float32)[None]
    rows = (pixels[:, 1] - patch.top - 0.5).astype(np.float32)[None]
    return cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]


def _band_passed(
    frames: Sequence[np.ndarray],
    poses: np.ndarray,
    reference: np.ndarray,
    mesh: np.ndarray,
    intrinsics: Intrinsics,
    low: float,
    high: float,
) -> List[_Patch]:
    """Band-passed, contrast-normalised pictures of the face in every frame, small enough to hold for a long clip."""
    rotation = rotations(poses, reference)
    patches = []
    for index in range(len(poses)):
        frame = frames[index]
        height, width = frame.shape[:2]
        scale = max(height, width) / 512.0
        outline = project(mesh @ rotation[index].T + poses[index, 3:], intrinsics)
        margin = 6 * scale
        left, top = np.clip(np.floor(outline.min(0) - margin), 0, (width - 2, height - 2)).astype(int)
        right, bottom = np.clip(np.ceil(outline.max(0) + margin), (left + 2, top + 2), (width, height)).astype(int)
        grey = cv2.cvtColor(frame[top:bottom, left:right], cv2.COLOR_RGB2GRAY).astype(np.float32)
        band = cv2.GaussianBlur(grey, (0, 0), low * scale) - cv2.GaussianBlur(grey, (0, 0), high * scale)
        contrast = np.sqrt(cv2.GaussianBlur(band * band, (0, 0), high * scale)) + CONTRAST_FLOOR
        pixels = np.clip(np.rint(band / contrast * STEPS_PER_UNIT), -127, 127).astype(np.int8)
        patches.append(_Patch(pixels, int(left), int(top)))
    return patches
