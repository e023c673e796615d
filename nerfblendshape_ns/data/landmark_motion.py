"""How far each landmark of the face moves in space with each coefficient, measured on the training frames.

A landmark is seen in every frame under a known head pose and with known coefficients. Its position in head space is
taken as linear in the coefficients, as in any blendshape rig, so its neutral position and its displacement per unit of
each coefficient solve a small least-squares problem: non-rigid structure from motion (Bregler et al. 2000) whose shape
coefficients are known. A head that turns shows depth too; a ridge keeps small what the clip does not determine.
"""

from __future__ import annotations

from typing import Sequence, Tuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from nerfblendshape_ns.coefficient_names.face_groups import gaze
from nerfblendshape_ns.common.frame_numbers import spread
from nerfblendshape_ns.data.contract import IRIS_LANDMARKS

MOST_FRAMES = 1500
"""Largest number of frames used; of a longer clip they are evenly spread."""
RIDGE = 0.01
"""Weight of the squared displacements against the sum of all frames' squared errors, for coefficients scaled so that
the widest has range 1; the longer the clip the less it counts."""
EVERY_POINT = 4
"""Where one landmark in so many is enough: neighbours move alike."""
POINTS_AT_ONCE = 64
"""Landmarks whose normal equations are in memory at a time."""
NEUTRAL_WEIGHT = 1e-3
"""Weight of the given mesh as evidence of a landmark's neutral position, per frame."""


def landmark_motion(
    tangents: Float[ndarray, "frames points 2"],
    expression: Float[ndarray, "frames basis"],
    poses: Float[ndarray, "frames 12"],
    mesh: Float[ndarray, "points 3"],
) -> Tuple[Float[ndarray, "points 3"], Float[ndarray, "basis points 3"]]:
    """Neutral positions of the landmarks, and their displacements per unit of each coefficient.

    Args:
        tangents: where the landmarks are seen: pixels from the principal point over the focal length, x to the right,
            y downwards; NaN where one was not found.
        expression: coefficients of the frames.
        poses: camera-to-head matrices (OpenGL axes), row by row.
        mesh: what the neutral positions are near to, in the poses' space.

    Returns:
        Neutral positions (all coefficients 0) and displacements, float64 in scene units.
    """
    picked = spread(len(tangents), MOST_FRAMES)
    seen, coefficients = (np.asarray(array, np.float64)[picked] for array in (tangents, expression))
    widest = widest_range(coefficients)
    weights = np.concatenate([np.ones((len(picked), 1)), coefficients / widest], axis=1)
    pose, mesh = np.asarray(poses, np.float64)[picked].reshape(-1, 3, 4), np.asarray(mesh, np.float64)
    penalty = np.full(weights.shape[1], RIDGE)
    penalty[0] = NEUTRAL_WEIGHT * len(weights)
    pieces = [slice(first, first + POINTS_AT_ONCE) for first in range(0, len(mesh), POINTS_AT_ONCE)]
    offsets = np.concatenate(
        [_offsets(weights, *_equations(seen[:, piece], pose, mesh[piece]), penalty) for piece in pieces]
    )
    return mesh + offsets[:, 0], np.ascontiguousarray((offsets[:, 1:] / widest).transpose(1, 0, 2))


def widest_range(coefficients: Float[ndarray, "frames basis"]) -> float:
    """Largest range of any coefficient; 1 where all stand still but for rounding."""
    widest = float(np.ptp(coefficients, axis=0).max())
    return widest if widest > 1e-9 * float(np.abs(coefficients).max()) else 1.0


def _offsets(
    weights: Float[ndarray, "frames unknowns"],
    rows: Float[ndarray, "frames points 2 3"],
    right: Float[ndarray, "frames points 2"],
    penalty: Float[ndarray, "unknowns"],
) -> Float[ndarray, "points unknowns 3"]:
    """The ridge regression of every point by its normal equations: three values per unknown.

    Args:
        weights: 1 and the coefficients of each frame.
        rows: see :func:`_equations`.
        right: see there.
        penalty: on the squares of the unknowns.
    """
    (frames, unknowns), points = weights.shape, rows.shape[1]
    pairs = (weights[:, :, None] * weights[:, None, :]).reshape(frames, -1)
    outer = (rows.swapaxes(-1, -2) @ rows).reshape(frames, -1)
    normal = (pairs.T @ outer).reshape(unknowns, unknowns, points, 3, 3).transpose(2, 0, 3, 1, 4)
    normal = normal.reshape(points, 3 * unknowns, 3 * unknowns)
    sums = (weights.T @ (right[..., None, :] @ rows).reshape(frames, -1)).reshape(unknowns, points, 3)
    diagonal = np.arange(3 * unknowns)
    normal[:, diagonal, diagonal] += np.repeat(penalty, 3)
    values = np.linalg.solve(normal, sums.transpose(1, 0, 2).reshape(points, -1, 1))
    return values.reshape(points, unknowns, 3)


def _equations(
    seen: Float[ndarray, "frames points 2"], pose: Float[ndarray, "frames 3 4"], mesh: Float[ndarray, "points 3"]
) -> Tuple[Float[ndarray, "frames points 2 3"], Float[ndarray, "frames points 2"]]:
    """Two linear equations per sighting, ``row · offset = right``, for the offset of the point from the mesh.

    With p the point in camera space, ``x = -p_x / p_z`` and ``y = p_y / p_z``; multiplied by ``p_z``, so that an error
    is a length at the point's depth.
    """
    found = np.isfinite(seen).all(-1)[..., None]
    seen = np.where(found, seen, 0.0)
    rotation, centre = pose[:, :, :3], pose[:, :, 3]
    axis_x, axis_y, axis_z = (rotation[:, None, :, axis] for axis in range(3))
    rows = np.stack([axis_x + seen[..., :1] * axis_z, seen[..., 1:] * axis_z - axis_y], axis=2)
    rows = rows * found[..., None]
    return rows, np.einsum("fpei,fpi->fpe", rows, centre[:, None] - mesh)


def shows_gaze(num_landmarks: int, names: Sequence[str]) -> bool:
    """Whether a dataset shows how eyes turn: by landmarks of the irises, and coefficients of gaze among the names.

    A head with face motion then turns them, and gaze may leave its training range by
    :data:`~nerfblendshape_ns.coefficient_names.face_groups.GAZE_BEYOND`.
    """
    return num_landmarks > max(IRIS_LANDMARKS) and any(gaze(names))
