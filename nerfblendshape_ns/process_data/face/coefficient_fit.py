"""Coefficients that agree with the landmarks of their frames.

A tracker's coefficients are a network's guess, and miss what its landmarks show: a jaw pushed sideways, a chin that
drops by a little. Each landmark's position is linear in the coefficients
(:func:`~nerfblendshape_ns.data.landmark_motion.landmark_motion`, as training estimates it too), so the smallest change
of a frame's coefficients that brings the face to its landmarks is a linear least-squares problem with a Gaussian prior.
Motion and coefficients are solved for in turn: non-rigid structure from motion (Bregler et al. 2000) that starts from
known shape coefficients and stays near them.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from nerfblendshape_ns.data.landmark_motion import landmark_motion, widest_range

ROUNDS = 3
"""Times that the motion, then the coefficients are solved for."""
RIDGE = 0.01
"""Of the motion; see :func:`landmark_motion`."""
PRIOR = 0.5
"""Standard deviation of a coefficient's change, relative to that of the coefficient over the clip."""
LEAST_DEVIATION = 1e-4
"""Coefficients that vary by less, in the units of the widest one's range, stay as they are."""
LEAST_TRUST = 0.1
"""In a frame's landmarks, to count for the motion."""
NOISE = 1.0
"""Standard deviation of a landmark's error, in pixels of a 512-pixel image."""
INDEPENDENT = 20
"""Errors of neighbouring landmarks are alike: all together weigh as so many independent ones."""


def fit_coefficients(
    tangents: Float[ndarray, "frames points 2"],
    coefficients: Float[ndarray, "frames basis"],
    poses: Float[ndarray, "frames 12"],
    mesh: Float[ndarray, "points 3"],
    pixel: float,
    trust: Float[ndarray, "frames"],
) -> Tuple[Float[ndarray, "frames basis"], Float[ndarray, "frames"], Float[ndarray, "frames"]]:
    """The coefficients of a clip, moved to where its landmarks are.

    Args:
        tangents: where the landmarks are seen, as for :func:`landmark_motion`; no NaN.
        coefficients: of the tracker.
        poses: camera-to-head matrices (OpenGL axes), row by row.
        mesh: the clip's face, in the poses' space.
        pixel: size of a pixel of a 512-pixel image at distance 1.
        trust: in the landmarks of each frame, 0 to 1; below :data:`LEAST_TRUST` they say nothing of the motion.

    Returns:
        Coefficients, none beyond the smallest and the largest tracked one, and per frame the rms distance of the
        landmarks from the face, before and after, in pixels of a 512-pixel image.
    """
    deviation = PRIOR * coefficients.std(0)
    moving = deviation > PRIOR * LEAST_DEVIATION * widest_range(coefficients)
    precision = np.diag((NOISE * pixel / deviation[moving]) ** 2)
    weight = INDEPENDENT / len(mesh)
    believed = np.where((trust >= LEAST_TRUST)[:, None, None], tangents, np.nan)
    bounds = coefficients.min(), coefficients.max()
    fitted, before = coefficients.astype(np.float64), None
    for _ in range(ROUNDS):
        neutral, motion = landmark_motion(believed, fitted, poses, mesh, RIDGE)
        if before is None:
            before = _distances(tangents, fitted, poses, neutral, motion)
        for frame, (seen, tracked, pose) in enumerate(zip(tangents, coefficients, poses)):
            # Linear at the tracked coefficients, from which the change is counted.
            residual, slopes = _linearised(seen, tracked, pose, neutral, motion[moving], motion)
            normal = weight * trust[frame] * slopes.T @ slopes + precision
            change = np.linalg.solve(normal, weight * trust[frame] * slopes.T @ residual)
            fitted[frame, moving] = (tracked[moving] + change).clip(*bounds)
    neutral, motion = landmark_motion(believed, fitted, poses, mesh, RIDGE)
    assert before is not None
    return fitted, before / pixel, _distances(tangents, fitted, poses, neutral, motion) / pixel


def _in_camera(points: ndarray, pose: ndarray) -> ndarray:
    """Points ``[points, 3]`` of head space in the camera's axes, z its depth and y downwards."""
    matrix = pose.reshape(3, 4)
    return (points - matrix[:, 3]) @ matrix[:, :3] * (1.0, -1.0, -1.0)


def _linearised(
    seen: ndarray, tracked: ndarray, pose: ndarray, neutral: ndarray, moving: ndarray, motion: ndarray
) -> Tuple[Float[ndarray, "values"], Float[ndarray, "values moving"]]:
    """How far the landmarks are from the face under the tracked coefficients, and how those of ``moving`` take it."""
    local = _in_camera(neutral + np.einsum("k,kpa->pa", tracked, motion), pose)
    image = local[:, :2] / local[:, 2:]
    moved = moving @ pose.reshape(3, 4)[:, :3] * (1.0, -1.0, -1.0)
    slopes = (moved[..., :2] - image * moved[..., 2:]) / local[:, 2:]
    return (seen - image).ravel(), slopes.reshape(len(moving), 2 * len(neutral)).T


def _distances(
    tangents: ndarray, coefficients: ndarray, poses: ndarray, neutral: ndarray, motion: ndarray
) -> Float[ndarray, "frames"]:
    """Per frame, the rms distance of the landmarks from the face, at distance 1."""
    rows = []
    for seen, values, pose in zip(tangents, coefficients, poses):
        local = _in_camera(neutral + np.einsum("k,kpa->pa", values, motion), pose)
        rows.append(np.sqrt(((seen - local[:, :2] / local[:, 2:]) ** 2).sum(-1).mean()))
    return np.array(rows)
