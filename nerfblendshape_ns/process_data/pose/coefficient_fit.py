"""Coefficients that agree with the landmarks of their frames.

A tracker's coefficients are a network's guess, and miss what its landmarks show: a jaw pushed sideways, a chin that
drops by a little. Each landmark's position is linear in the coefficients
(:func:`~nerfblendshape_ns.data.landmark_motion.landmark_motion`, as training estimates it too), so the smallest change
of a frame's coefficients that brings the face to its landmarks is a linear least-squares problem with a Gaussian prior.
Motion and coefficients are solved for in turn: non-rigid structure from motion (Bregler et al. 2000) that starts from
known shape coefficients and stays near them.
"""

from __future__ import annotations

from typing import Sequence, Tuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from nerfblendshape_ns.data.landmark_motion import landmark_motion, widest_range
from nerfblendshape_ns.process_data.pose.landmark_trust import DISTRUSTED
from nerfblendshape_ns.process_data.pose.pose_geometry import Intrinsics, camera_to_head, linearise

ROUNDS = 3
"""Times that the motion, then the coefficients are solved for."""
PRIOR = 0.5
"""Standard deviation of a coefficient's change, relative to that of the coefficient over the clip."""
LEAST_DEVIATION = 1e-4
"""Coefficients that vary by less, in the units of the widest one's range, stay as they are."""
NOISE = 1.0
"""Standard deviation of a landmark's error, in pixels of a 512-pixel image."""
INDEPENDENT = 20
"""Errors of neighbouring landmarks are alike: all together weigh as so many independent ones."""


def fit_coefficients(
    observed: Float[ndarray, "frames points 2"],
    coefficients: Float[ndarray, "frames basis"],
    poses: Float[ndarray, "frames 6"],
    reference: Float[ndarray, "3 3"],
    mesh: Float[ndarray, "points 3"],
    intrinsics: Intrinsics,
    trust: Float[ndarray, "frames"],
    image_size: float = 512.0,
    alone: Sequence[int] = (),
) -> Tuple[Float[ndarray, "frames basis"], Float[ndarray, "frames"], Float[ndarray, "frames"]]:
    """The coefficients of a clip, moved to where its landmarks are.

    Args:
        observed: pixels of the landmarks, no NaN.
        coefficients: of the tracker.
        poses: of the head; see :mod:`.pose_geometry`.
        reference: the rotation that they are relative to.
        mesh: the clip's face in head space.
        intrinsics: the camera.
        trust: in the landmarks of each frame, 0 to 1; below :data:`.DISTRUSTED` they say nothing of the motion.
        image_size: longer image side, which the noise is relative to.
        alone: landmarks whose errors are like no neighbour's, such as irises.

    Returns:
        Coefficients, none beyond the smallest and the largest tracked one, and per frame the rms distance of the
        landmarks from the face, weighted as in the fit, before and after, in pixels.
    """
    deviation = PRIOR * coefficients.std(0)
    moving = deviation > PRIOR * LEAST_DEVIATION * widest_range(coefficients)
    precision = np.diag((NOISE * image_size / 512.0 / deviation[moving]) ** 2)
    bounds = coefficients.min(), coefficients.max()
    tangents = (observed - (intrinsics.centre_x, intrinsics.centre_y)) / intrinsics.focal
    tangents[trust < DISTRUSTED] = np.nan
    independent = np.full(len(mesh), INDEPENDENT / len(mesh))
    independent[list(alone)] = 1.0
    matrices = camera_to_head(poses, reference)[:, :3].reshape(len(poses), 12)

    def seen(frame: int, values: ndarray) -> Tuple[ndarray, ndarray]:
        """How far a frame's landmarks are from the face, and how the points of the face take them there."""
        one, shape = slice(frame, frame + 1), neutral + np.tensordot(values, motion, 1)
        residual, _, by_shape = linearise(poses[one], reference, shape, observed[one], intrinsics)
        return residual[0], by_shape[0]

    def distances(values: ndarray) -> Float[ndarray, "frames"]:
        squares = ((seen(*row)[0] ** 2).sum(-1) for row in enumerate(values))
        return np.sqrt([np.average(each, weights=independent) for each in squares])

    fitted = coefficients.astype(np.float64)
    neutral, motion = landmark_motion(tangents, fitted, matrices, mesh)
    before = distances(fitted)
    for _ in range(ROUNDS):
        moved = motion[moving]
        for frame, tracked in enumerate(coefficients):
            # Linear at the tracked coefficients, from which the change is counted.
            residual, by_shape = seen(frame, tracked)
            slopes = np.einsum("pij,kpj->pik", by_shape, moved).reshape(residual.size, len(moved))
            weighted = slopes.T * np.repeat(trust[frame] * independent, 2)
            change = np.linalg.solve(weighted @ slopes + precision, weighted @ residual.ravel())
            fitted[frame, moving] = (tracked[moving] + change).clip(*bounds)
        neutral, motion = landmark_motion(tangents, fitted, matrices, mesh)
    return fitted, before, distances(fitted)
