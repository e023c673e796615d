"""Head poses once more, by the whole face as its expressions move it.

The fit before takes the upper face to be rigid. It is not: a frown draws the skin of the brows and the nose along, by
landmarks and texture alike, and the head seems to nod with it. With the coefficients known, where each landmark goes
with each of them is a linear least-squares problem
(:func:`~nerfblendshape_ns.data.landmark_motion.landmark_motion`); that and the poses are solved for in turn: non-rigid
bundle adjustment (Bregler et al. 2000, with known shape coefficients). Then the face model of training, which measures
the same displacements, finds every frame's head where it expects it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional

import numpy as np
import torch

from nerfblendshape_ns.data.landmark_motion import landmark_motion
from nerfblendshape_ns.process_data.pose.camera_motion import Intrinsics, camera_to_head, project, to_camera
from nerfblendshape_ns.process_data.pose.head_pose import (
    MESH_PIECE,
    NOISE_FLOOR,
    PoseFit,
    least_smoothness,
    linearise,
    robust_weights,
)
from nerfblendshape_ns.process_data.pose.pose_refinement import smooth_step

ROUNDS = 2
"""Times that displacements, then poses are solved for. More would let both drift together: landmarks alone do not
tell a nod from a face that moves downwards; the poses that come in do."""
STEPS = 3
"""Gauss-Newton steps on the poses in each."""
RIDGE = 0.005
"""Weight of squared displacements beside the mean over frames of squared errors: more than training has, so that
displacements do not swallow what is wrong with the poses."""


@dataclass
class MovingFace:
    """A face whose vertices move linearly with the coefficients, in head space."""

    rest: np.ndarray
    """float64 ``[points, 3]``."""
    motion: np.ndarray
    """float64 ``[basis, points, 3]`` for each unit of each coefficient."""

    def shapes(self, expression: np.ndarray) -> np.ndarray:
        """``[frames, points, 3]`` under coefficients ``[frames, basis]``."""
        return self.rest + np.einsum("fk,kpa->fpa", expression, self.motion, optimize=True)


def refine_on_moving_face(
    fit: PoseFit,
    mesh: np.ndarray,
    observed: np.ndarray,
    expression: np.ndarray,
    intrinsics: Intrinsics,
    smoothness: float,
    *,
    image_size: float = 512.0,
    breaks: Optional[np.ndarray] = None,
    progress: Optional[Callable[[int], None]] = None,
) -> tuple[np.ndarray, MovingFace]:
    """Refine the poses of a clip by all landmarks.

    Args:
        fit: poses and trust in each frame.
        mesh: ``[points, 3]`` the clip's mean face in head space; what rest positions stay near.
        observed: ``[frames, points, 2]`` pixels of its landmarks, no NaN.
        expression: ``[frames, basis]`` coefficients in a common unit.
        intrinsics: the camera.
        smoothness: in frames, as for :func:`~nerfblendshape_ns.process_data.pose.head_pose.fit_clip`.
        image_size: longer image side, which the noise floor is relative to.
        breaks: bool ``[frames]``, frames before which motion is interrupted; nothing is smoothed across them.
        progress: called with 1 after each of :data:`ROUNDS` rounds.

    Returns:
        Poses ``[frames, 6]`` relative to ``fit.reference``, and the face that they were fitted with.
    """
    poses, num_frames = fit.poses.copy(), len(observed)
    smoothness = least_smoothness(smoothness, fit.trust)
    tangents = (observed - np.array([intrinsics.centre_x, intrinsics.centre_y])) / intrinsics.focal
    for _ in range(ROUNDS):
        matrices = camera_to_head(poses, fit.reference)[:, :3].reshape(num_frames, 12)
        measured = landmark_motion(
            *(torch.from_numpy(np.asarray(one, dtype=np.float64)) for one in (tangents, expression, matrices, mesh)),
            ridge=RIDGE * num_frames,
        )
        face = MovingFace(*(one.double().numpy() for one in measured))
        for _ in range(STEPS):
            information, gradient = _landmark_evidence(poses, fit, face, observed, expression, intrinsics, image_size)
            poses = poses + smooth_step(information, gradient, poses, smoothness, breaks)
        if progress is not None:
            progress(1)
    return poses, face


def _landmark_evidence(
    poses: np.ndarray,
    fit: PoseFit,
    face: MovingFace,
    observed: np.ndarray,
    expression: np.ndarray,
    intrinsics: Intrinsics,
    image_size: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Information ``[frames, 6, 6]`` and gradient ``[frames, 6]`` of all landmarks; a piece of the clip at a time."""
    pieces = [slice(first, first + MESH_PIECE) for first in range(0, len(observed), MESH_PIECE)]
    distance = np.concatenate(
        [
            np.linalg.norm(
                observed[piece]
                - project(to_camera(poses[piece], fit.reference, face.shapes(expression[piece])), intrinsics),
                axis=-1,
            )
            for piece in pieces
        ]
    )
    # Median of a Rayleigh distribution is 1.177 standard deviations of one coordinate.
    noise = np.maximum(np.median(distance, axis=0) / 1.177, NOISE_FLOOR * image_size / 512.0)
    weights = robust_weights(distance / noise) / noise**2 * np.broadcast_to(fit.trust, len(poses))[:, None]
    information, gradient = np.empty((len(poses), 6, 6)), np.empty((len(poses), 6))
    for piece in pieces:
        shapes = face.shapes(expression[piece])
        residual, by_pose, _ = linearise(poses[piece], fit.reference, shapes, observed[piece], intrinsics)
        weighted = by_pose * weights[piece, :, None, None]
        information[piece] = np.einsum("npia,npib->nab", weighted, by_pose, optimize=True)
        gradient[piece] = np.einsum("npia,npi->na", weighted, residual, optimize=True)
    return information, gradient
