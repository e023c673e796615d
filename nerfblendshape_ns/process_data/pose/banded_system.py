"""The linear system of a whole clip's poses: six unknowns per frame, coupled to the two frames before and after it."""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np
from scipy.linalg import solveh_banded

from nerfblendshape_ns.common.smoothing import unbroken, weighted_difference_band, whittaker

# Accelerations well above this many times the clip's median are taken for real motion.
QUICK_SCALE = 3.0
# Whether motion is quick is measured on poses smoothed this much, in frames.
QUICK_SMOOTHNESS = 0.6


def acceleration_band(penalty: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The acceleration penalty on all poses, in the lower band storage of :func:`scipy.linalg.solveh_banded`.

    Args:
        penalty: ``[6, 6]``, the metric of one second difference.
        weights: ``[frames - 2]``, the weight of each second difference.

    Returns:
        ``[18, frames * 6]``.
    """
    differences = weighted_difference_band(weights)
    num_frames = differences.shape[1]
    band = np.zeros((18, num_frames * 6))
    for offset in range(3):
        columns = np.arange(num_frames - offset) * 6
        for row in range(6):
            for column in range(6):
                below = offset * 6 + row - column
                if below >= 0:
                    values = differences[offset, : num_frames - offset] * penalty[row, column]
                    band[below, columns + column] += values
    return band


def information_into_band(information: np.ndarray, band: np.ndarray) -> np.ndarray:
    """A copy of the banded system ``[18, frames * 6]`` with each frame's information ``[frames, 6, 6]`` added."""
    band = band.copy()
    for row in range(6):
        for column in range(row + 1):
            band[row - column, column::6] += information[:, row, column]
    return band


def acceleration_weights(poses: np.ndarray, metric: np.ndarray, breaks: Optional[np.ndarray]) -> np.ndarray:
    """Weights in [0, 1] of second differences, smaller where motion is quick.

    A nod is not noise: a second difference that is large relative to the clip's median is penalised less (Cauchy).

    Args:
        poses: ``[frames, 6]``.
        metric: ``[6, 6]``, in which the size of a second difference is measured.
        breaks: bool ``[frames]``, frames before which motion is interrupted: weights across them are 0.

    Returns:
        ``[frames - 2]``.
    """
    poses = whittaker(poses, QUICK_SMOOTHNESS, breaks)
    differences = poses[2:] - 2 * poses[1:-1] + poses[:-2]
    size = np.sqrt(np.einsum("na,ab,nb->n", differences, metric, differences))
    usual = max(float(np.median(size)), 1e-12)
    return 1.0 / (1.0 + (size / (QUICK_SCALE * usual)) ** 2) * unbroken(len(poses), breaks)


def band_product(band: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Product of a symmetric matrix in lower band storage with the poses laid end to end."""
    vector = poses.reshape(-1)
    product = band[0] * vector
    for below in range(1, len(band)):
        values = band[below, : len(vector) - below]
        product[below:] += values * vector[: len(vector) - below]
        product[: len(vector) - below] += values * vector[below:]
    return product


def penalised_system(
    information: np.ndarray, gradient: np.ndarray, poses: np.ndarray, smoothness: float, weights: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """The linear system of a Gauss-Newton step of all poses under the acceleration penalty.

    Args:
        information: ``[frames, 6, 6]``, that of each frame's observations about its pose.
        gradient: ``[frames, 6]``, of their weighted residuals.
        poses: ``[frames, 6]``.
        smoothness: in frames, as for :func:`~nerfblendshape_ns.process_data.pose.head_pose.fit_clip`.
        weights: ``[frames - 2]``, the weight of each second difference.

    Returns:
        The matrix in lower band storage ``[18, frames * 6]`` and the right side ``[frames * 6]``.
    """
    band = acceleration_band(smoothness**4 * information.mean(0), weights)
    return information_into_band(information, band), gradient.reshape(-1) - band_product(band, poses)


def smooth_step(
    information: np.ndarray, gradient: np.ndarray, poses: np.ndarray, smoothness: float, breaks: Optional[np.ndarray]
) -> np.ndarray:
    """That step, ``[frames, 6]``, where nothing but poses is estimated; arguments as of :func:`penalised_system`.

    ``breaks``, bool ``[frames]``, are the frames before which motion is interrupted; nothing is smoothed across them.
    """
    weights = acceleration_weights(poses, information.mean(0), breaks)
    band, right_side = penalised_system(information, gradient, poses, smoothness, weights)
    return solveh_banded(band, right_side, lower=True).reshape(poses.shape)
