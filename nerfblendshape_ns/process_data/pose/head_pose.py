"""Head pose for every frame and a face shape for the clip, from landmarks, by one joint least-squares fit.

Perspective-n-Point on a reference face starts it; then poses, the shape of the rigid landmarks and each landmark's own
noise are estimated together (a small bundle adjustment). The reference face enters as a prior on the shape: it fixes
what a video does not show (position, orientation and size of the head axes) and steadies depth where the head turns
little. Acceleration is penalised in the metric of the data, so one number says how much the track is smoothed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional, Tuple

import cv2
import numpy as np
from scipy.linalg import solveh_banded

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.smoothing import fill_gaps
from nerfblendshape_ns.process_data.pose.banded_system import acceleration_weights, penalised_system
from nerfblendshape_ns.process_data.pose.landmark_trust import (
    LEAST_TRUST,
    ROBUST_SCALE,
    geman_mcclure,
    interpolate_distrusted,
    landmark_noise,
    least_smoothness,
    robust_weights,
    slips,
    trust_in_frames,
)
from nerfblendshape_ns.process_data.pose.pose_geometry import (
    Intrinsics,
    linearise,
    mean_rotation,
    pack,
    project,
    projection_jacobian,
    rotations,
    to_camera,
)

# Standard deviation of a point of a person's face from the reference face, centimetres.
SHAPE_DEVIATION = 0.4
# Landmark errors stay alike over about this many frames, so frames count for less than their number.
CORRELATED_FRAMES = 25.0
ROUNDS = 16
"""Gauss-Newton rounds of :func:`fit_clip`."""
MESH_ROUNDS = 6
"""Those of :func:`fit_mesh`."""
# Poses settle for this many rounds before smoothing begins.
FREE_ROUNDS = 5
# Frames of a long clip that the mesh fit takes at a time.
MESH_PIECE = 1000


@dataclass
class PoseFit:
    """Poses and shape of one clip."""

    poses: np.ndarray
    """float64 ``[frames, 6]``: rotation vector relative to ``reference``, translation in centimetres."""
    reference: np.ndarray
    """float64 ``[3, 3]``: the rotation that the rotation vectors are relative to."""
    shape: np.ndarray
    """float64 ``[points, 3]`` in head space."""
    noise: np.ndarray
    """float64 ``[points]``: each landmark's standard deviation in pixels."""
    trust: np.ndarray
    """float64 ``[frames]``: trust in each frame's landmarks, 1 for all but bad ones."""

    def reprojection_errors(self, observed: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
        """Distances ``[frames, points]`` in pixels of the projected shape from ``observed`` ``[frames, points, 2]``."""
        predicted = project(to_camera(self.poses, self.reference, self.shape), intrinsics)
        return np.linalg.norm(predicted - observed, axis=-1)


def rms(errors: np.ndarray) -> float:
    """Root mean square over every element."""
    return float(np.sqrt(np.mean(np.square(errors))))


def initial_poses(shape: np.ndarray, observed: np.ndarray, intrinsics: Intrinsics) -> Tuple[np.ndarray, np.ndarray]:
    """Perspective-n-Point for every frame by itself (SQPnP, then Levenberg-Marquardt).

    Args:
        shape: ``[points, 3]`` in head space.
        observed: ``[frames, points, 2]`` pixels.
        intrinsics: the camera.

    Returns:
        Poses ``[frames, 6]`` and the reference rotation ``[3, 3]`` (the mean over the clip).
    """
    shape = np.ascontiguousarray(shape, dtype=np.float64)
    camera, undistorted = intrinsics.matrix(), np.zeros(5)
    matrices, translations = [], []
    for points in np.ascontiguousarray(observed, dtype=np.float64):
        try:
            _, vector, translation = cv2.solvePnP(shape, points, camera, undistorted, flags=cv2.SOLVEPNP_SQPNP)
            vector, translation = cv2.solvePnPRefineLM(shape, points, camera, undistorted, vector, translation)
        except cv2.error:
            vector, translation = np.full((3, 1), np.nan), np.full((3, 1), np.nan)
        matrices.append(cv2.Rodrigues(vector)[0])
        translations.append(translation[:, 0])
    stacked, shifts = np.stack(matrices), np.stack(translations)
    # Landmarks unlike a face may give a pose behind the camera, or none: such frames take their neighbours' pose.
    sound = np.isfinite(stacked).all((1, 2)) & np.isfinite(shifts).all(1) & (shifts[:, 2] > 0)
    if not sound.any():
        raise UserError("no head pose fits the landmarks of any frame; use a video that shows one face clearly.")
    reference = mean_rotation(stacked[sound])
    poses = np.full((len(stacked), 6), np.nan)
    poses[sound] = pack(stacked[sound], shifts[sound], reference)
    return fill_gaps(poses), reference


def fit_clip(
    observed: np.ndarray,
    reference_shape: np.ndarray,
    intrinsics: Intrinsics,
    smoothness: float,
    *,
    image_size: float = 512.0,
    breaks: Optional[np.ndarray] = None,
    progress: Optional[Callable[[int], None]] = None,
) -> PoseFit:
    """Estimate poses, shape and noise together over the whole clip.

    Args:
        observed: ``[frames, points, 2]`` pixels of the rigid landmarks, no NaN.
        reference_shape: ``[points, 3]`` of the reference face in head space.
        intrinsics: the camera; its focal length is not estimated, since a face alone does not show it.
        smoothness: in frames; motion with a period of ``2 pi * smoothness`` frames is halved, slower motion kept
            (Whittaker smoothing); 0 switches the penalty off.
        image_size: longer image side, which the noise floor is relative to.
        breaks: bool ``[frames]``, frames before which motion is interrupted; nothing is smoothed across them.
        progress: called with 1 after each round.

    Returns:
        The fit; :attr:`PoseFit.shape` is in the axes of the reference shape.
    """
    num_frames = len(observed)
    poses, reference = initial_poses(reference_shape, observed, intrinsics)
    shape = reference_shape.astype(np.float64).copy()
    noise = np.full(len(shape), 2.0 * image_size / 512.0)
    # The prior counts as if only every CORRELATED_FRAMES-th frame held new information.
    prior_weight = min(num_frames, CORRELATED_FRAMES) / SHAPE_DEVIATION**2
    slipped = np.where(slips(observed, breaks), LEAST_TRUST, 1.0)
    trust, motion = slipped, np.zeros(num_frames - 2)
    for done in range(ROUNDS):
        residual, pose_jacobian, shape_jacobian = linearise(poses, reference, shape, observed, intrinsics)
        distance = np.linalg.norm(residual, axis=-1)
        if done:
            noise = landmark_noise(distance, image_size)
        if done == FREE_ROUNDS:
            # Judged by the free fit: smoothing makes the neighbours of a bad frame look bad too.
            trust = np.minimum(slipped, trust_in_frames(distance / noise))
            poses = interpolate_distrusted(poses, trust)
            residual, pose_jacobian, shape_jacobian = linearise(poses, reference, shape, observed, intrinsics)
            distance = np.linalg.norm(residual, axis=-1)
        weights = robust_weights(distance / noise) / noise**2 * trust[:, None]
        if done == FREE_ROUNDS:
            # Measured on the track before any smoothing, so that smoothing does not hide quick motion.
            metric = np.einsum("np,npia,npib->ab", weights, pose_jacobian, pose_jacobian, optimize=True) / num_frames
            motion = acceleration_weights(poses, metric, breaks)
        pose_step, shape_step = _solve(
            residual, pose_jacobian, shape_jacobian, weights, poses, least_smoothness(smoothness, trust), motion,
            prior_weight, shape - reference_shape,
        )  # fmt: skip
        poses, shape = poses + pose_step, shape + shape_step
        if progress is not None:
            progress(1)
        if np.abs(pose_step).max() < 1e-9 and np.abs(shape_step).max() < 1e-9 and done > FREE_ROUNDS + 2:
            break
    return PoseFit(poses, reference, shape, noise, trust)


def fit_mesh(
    fit: PoseFit,
    observed: np.ndarray,
    reference_mesh: np.ndarray,
    intrinsics: Intrinsics,
    *,
    image_size: float = 512.0,
) -> np.ndarray:
    """The clip's mean face as a whole mesh, with the poses held.

    Every landmark is triangulated from all frames by robust Gauss-Newton, with the reference mesh as the prior.

    Args:
        fit: the clip's poses.
        observed: ``[frames, points, 2]`` pixels, no NaN.
        reference_mesh: ``[points, 3]`` in the axes of the reference shape of ``fit``.
        intrinsics: the camera.
        image_size: as in :func:`fit_clip`.

    Returns:
        float64 ``[points, 3]`` in head space.
    """
    mesh = reference_mesh.astype(np.float64).copy()
    prior_weight = min(len(observed), CORRELATED_FRAMES) / SHAPE_DEVIATION**2
    # A piece of the clip at a time: the derivatives of ten minutes at once would take gigabytes.
    pieces = [slice(first, first + MESH_PIECE) for first in range(0, len(observed), MESH_PIECE)]
    for _ in range(MESH_ROUNDS):
        distance = np.concatenate(
            [np.linalg.norm(observed[piece] - _seen(fit, piece, mesh, intrinsics)[1], axis=-1) for piece in pieces]
        )
        noise = landmark_noise(distance, image_size)
        weights = geman_mcclure(distance / noise, ROBUST_SCALE) / noise**2 * fit.trust[:, None]
        blocks = np.tile(prior_weight * np.eye(3), (len(mesh), 1, 1))
        gradient = -prior_weight * (mesh - reference_mesh)
        for piece in pieces:
            camera, predicted = _seen(fit, piece, mesh, intrinsics)
            rotation = rotations(fit.poses[piece], fit.reference)
            by_shape = projection_jacobian(camera, intrinsics.focal) @ rotation[:, None]
            weighted = by_shape * weights[piece, :, None, None]
            blocks += np.einsum("npia,npib->pab", weighted, by_shape, optimize=True)
            gradient += np.einsum("npia,npi->pa", weighted, observed[piece] - predicted, optimize=True)
        mesh += np.linalg.solve(blocks, gradient[..., None])[..., 0]
    return mesh


def _seen(fit: PoseFit, piece: slice, mesh: np.ndarray, intrinsics: Intrinsics) -> Tuple[np.ndarray, np.ndarray]:
    """Camera-space points and pixels of ``mesh`` in some frames."""
    camera = to_camera(fit.poses[piece], fit.reference, mesh)
    return camera, project(camera, intrinsics)


def landmark_information(
    fit: PoseFit, poses: np.ndarray, observed: np.ndarray, intrinsics: Intrinsics
) -> Tuple[np.ndarray, np.ndarray]:
    """What the landmarks say about every pose: information ``[frames, 6, 6]`` and gradient ``[frames, 6]``.

    Args:
        fit: all but its poses is used.
        poses: ``[frames, 6]`` at which the projection is linearised.
        observed: ``[frames, points, 2]`` pixels.
        intrinsics: the camera.
    """
    residual, by_pose, _ = linearise(poses, fit.reference, fit.shape, observed, intrinsics)
    weights = robust_weights(np.linalg.norm(residual, axis=-1) / fit.noise) / fit.noise**2 * fit.trust[:, None]
    weighted = by_pose * weights[..., None, None]
    information = np.einsum("npia,npib->nab", weighted, by_pose, optimize=True)
    return information, np.einsum("npia,npi->na", weighted, residual, optimize=True)


def _solve(
    residual: np.ndarray,
    pose_jacobian: np.ndarray,
    shape_jacobian: np.ndarray,
    weights: np.ndarray,
    poses: np.ndarray,
    smoothness: float,
    motion: np.ndarray,
    prior_weight: float,
    shape_offset: np.ndarray,
) -> Tuple[np.ndarray, np.ndarray]:
    """One Gauss-Newton step; the banded pose block is eliminated first (Schur complement on the shape)."""
    num_frames, num_points = weights.shape
    weighted = pose_jacobian * weights[..., None, None]
    information = np.einsum("npia,npib->nab", weighted, pose_jacobian, optimize=True)
    pose_gradient = np.einsum("npia,npi->na", weighted, residual, optimize=True)
    coupling = np.einsum("npia,npib->napb", weighted, shape_jacobian, optimize=True)
    coupling = coupling.reshape(num_frames * 6, num_points * 3)
    weighted_shape = shape_jacobian * weights[..., None, None]
    shape_blocks = np.einsum("npia,npib->pab", weighted_shape, shape_jacobian, optimize=True)
    shape_gradient = np.einsum("npia,npi->pa", weighted_shape, residual, optimize=True) - prior_weight * shape_offset
    band, right_side = penalised_system(information, pose_gradient, poses, smoothness, motion)
    eliminated = solveh_banded(band, np.column_stack([coupling, right_side]), lower=True)
    schur = -coupling.T @ eliminated[:, :-1]
    for point in range(num_points):
        block = slice(point * 3, point * 3 + 3)
        schur[block, block] += shape_blocks[point] + prior_weight * np.eye(3)
    shape_step = np.linalg.solve(schur, shape_gradient.reshape(-1) - coupling.T @ eliminated[:, -1])
    pose_step = eliminated[:, -1] - eliminated[:, :-1] @ shape_step
    return pose_step.reshape(num_frames, 6), shape_step.reshape(num_points, 3)
