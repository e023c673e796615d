"""Head poses refined by all landmarks of a face that its expression coefficients move.

:mod:`.head_pose` and :mod:`.pose_refinement` take the upper face to be rigid. It is not: a frown moves the skin of
brows and nose, landmarks and texture alike, and the head seems to nod. With the coefficients known, the displacement of
each landmark per unit of each coefficient is a linear least-squares problem
(:func:`~nerfblendshape_ns.data.landmark_motion.landmark_motion`); that and the poses are solved for in turn: non-rigid
bundle adjustment (Bregler et al. 2000, with known shape coefficients). Training estimates the same displacements, so
its face model and these poses agree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional, Tuple

import numpy as np
import torch

from nerfblendshape_ns.data.landmark_motion import landmark_motion
from nerfblendshape_ns.process_data.pose.banded_system import smooth_step
from nerfblendshape_ns.process_data.pose.head_pose import MESH_PIECE, PoseFit, landmark_information
from nerfblendshape_ns.process_data.pose.landmark_trust import landmark_noise, least_smoothness
from nerfblendshape_ns.process_data.pose.pose_geometry import Intrinsics, camera_to_head, project, to_camera

ROUNDS = 2
"""Times that displacements, then poses are solved for. More would let both drift together: landmarks alone do not
distinguish a nod from a face that moves downwards; the initial poses do."""
STEPS = 3
"""Gauss-Newton steps on the poses in each."""
RIDGE = 0.005
"""Weight of squared displacements relative to the mean over frames of squared errors: larger than in training, so that
displacements do not absorb errors of the poses."""


@dataclass
class MovingFace:
    """A face whose vertices move linearly with the coefficients, in head space."""

    neutral: np.ndarray
    """float64 ``[points, 3]``."""
    motion: np.ndarray
    """float64 ``[basis, points, 3]`` for each unit of each coefficient."""

    def shapes(self, expression: np.ndarray) -> np.ndarray:
        """``[frames, points, 3]`` under coefficients ``[frames, basis]``."""
        return self.neutral + np.einsum("fk,kpa->fpa", expression, self.motion, optimize=True)


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
) -> Tuple[np.ndarray, MovingFace]:
    """Refine the poses of a clip by all landmarks.

    Args:
        fit: poses and trust in each frame.
        mesh: ``[points, 3]`` the clip's mean face in head space; which the neutral face stays near.
        observed: ``[frames, points, 2]`` pixels of its landmarks, no NaN.
        expression: ``[frames, basis]`` coefficients in a common unit.
        intrinsics: the camera.
        smoothness: in frames, as for :func:`~nerfblendshape_ns.process_data.pose.head_pose.fit_clip`.
        image_size: longer image side, which the noise floor is relative to.
        breaks: bool ``[frames]``, frames before which motion is interrupted; nothing is smoothed across them.

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
            information, gradient = _information_in_pieces(
                poses, fit, face, observed, expression, intrinsics, image_size
            )
            poses = poses + smooth_step(information, gradient, poses, smoothness, breaks)
    return poses, face


def _information_in_pieces(
    poses: np.ndarray,
    fit: PoseFit,
    face: MovingFace,
    observed: np.ndarray,
    expression: np.ndarray,
    intrinsics: Intrinsics,
    image_size: float,
) -> Tuple[np.ndarray, np.ndarray]:
    """As :func:`~.head_pose.landmark_information`, by all landmarks of the moving face; piece by piece of the clip."""
    pieces = [slice(first, first + MESH_PIECE) for first in range(0, len(observed), MESH_PIECE)]
    distances = []
    for piece in pieces:
        camera = to_camera(poses[piece], fit.reference, face.shapes(expression[piece]))
        distances.append(np.linalg.norm(observed[piece] - project(camera, intrinsics), axis=-1))
    noise = landmark_noise(np.concatenate(distances), image_size)
    trust = np.broadcast_to(fit.trust, len(poses))
    found = [
        landmark_information(
            replace(fit, trust=trust[piece]),
            poses[piece],
            face.shapes(expression[piece]),
            noise,
            observed[piece],
            intrinsics,
        )
        for piece in pieces
    ]
    return np.concatenate([part for part, _ in found]), np.concatenate([part for _, part in found])
