"""How far landmarks are trusted: outliers and noise of single ones, and frames in which none is to be believed."""

from __future__ import annotations

from typing import Optional

import numpy as np
from scipy.ndimage import median_filter

from nerfblendshape_ns.common.smoothing import fill_gaps

# A frame whose landmarks fit the clip's face worse than this many times the usual is trusted the less the worse it is.
POOR_FIT = 4.0
# The landmarks' centre or size away from the running median of this many frames by this much (of their spread) is a
# slip of the tracker: real heads move on, slips come back. A head that shakes quickly gets 0.7 off and comes back too.
SLIP_WINDOW = 7
SLIP_SHIFT, SLIP_SIZE = 1.0, 0.2
# Trust in a frame that is not believed; its pose then follows from its neighbours'.
LEAST_TRUST = 1e-4
# Below this trust a frame is named in the report, and its pose is interpolated between its neighbours'.
DISTRUSTED = 0.1
# Residuals beyond this many standard deviations are weighed down (Geman-McClure).
ROBUST_SCALE = 3.0
# A landmark is never taken to be more accurate than this, in pixels of a 512-pixel image.
NOISE_FLOOR = 0.3


def slips(observed: np.ndarray, breaks: Optional[np.ndarray] = None) -> np.ndarray:
    """Frames in which the landmarks as a whole jump away before they come back.

    Args:
        observed: ``[frames, points, 2]`` pixels.
        breaks: bool ``[frames]``, frames before which motion is interrupted; nothing is compared across them.

    Returns:
        bool ``[frames]``.
    """
    found = np.zeros(len(observed), dtype=bool)
    starts = np.flatnonzero(breaks) if breaks is not None else np.zeros(0, dtype=int)
    for piece in np.split(np.arange(len(observed)), starts):
        if len(piece) < SLIP_WINDOW:
            continue
        centre = observed[piece].mean(1)
        size = np.sqrt(((observed[piece] - centre[:, None]) ** 2).sum(-1).mean(-1))
        usual_centre = median_filter(centre, size=(SLIP_WINDOW, 1), mode="nearest")
        usual_size = median_filter(size, size=SLIP_WINDOW, mode="nearest")
        shift = np.linalg.norm(centre - usual_centre, axis=-1) / usual_size
        found[piece] = (shift > SLIP_SHIFT) | (np.abs(np.log(size / usual_size)) > SLIP_SIZE)
    return found


def trust_in_frames(scaled_distances: np.ndarray) -> np.ndarray:
    """Trust in each frame, in (0, 1], from how well its landmarks fit the clip's rigid face.

    Args:
        scaled_distances: ``[frames, points]`` distances in standard deviations.

    Returns:
        ``[frames]``: exactly 1 for frames up to :data:`POOR_FIT` times the usual distance, falling with the fourth
        power of the ratio beyond.
    """
    size = np.median(scaled_distances, axis=1)
    ratio = size / (POOR_FIT * max(float(np.median(size)), 1e-9))
    return np.maximum(1.0 / np.maximum(ratio, 1.0) ** 4, LEAST_TRUST)


def interpolate_distrusted(poses: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Poses ``[frames, 6]`` with those of distrusted frames interpolated between their neighbours'."""
    if (trust < DISTRUSTED).all():
        return poses
    return fill_gaps(np.where((trust < DISTRUSTED)[:, None], np.nan, poses))


def least_smoothness(smoothness: float, trust: np.ndarray) -> float:
    """The smoothness asked for, or the least that determines the poses of distrusted frames."""
    return max(smoothness, 0.2) if (trust < DISTRUSTED).any() else smoothness


def landmark_noise(distances: np.ndarray, image_size: float) -> np.ndarray:
    """Standard deviation ``[points]`` in pixels of each landmark's coordinates, from distances ``[frames, points]``."""
    # Median of a Rayleigh distribution is 1.177 standard deviations of one coordinate.
    return np.maximum(np.median(distances, axis=0) / 1.177, NOISE_FLOOR * image_size / 512.0)


def geman_mcclure(residuals: np.ndarray, scale: float) -> np.ndarray:
    """Geman-McClure weights in (0, 1] of residuals in standard deviations."""
    return 1.0 / (1.0 + (residuals / scale) ** 2) ** 2


def robust_weights(scaled_distances: np.ndarray) -> np.ndarray:
    """Geman-McClure weights in (0, 1] of distances in standard deviations, ``[frames, points]``.

    What a whole frame has in common is no outlier among its landmarks: distances count relative to the frame's median
    where that is above one, so that no frame loses its hold on the pose.
    """
    median = np.median(scaled_distances, axis=1, keepdims=True)
    return geman_mcclure(scaled_distances / np.maximum(median, 1.0), ROBUST_SCALE)
