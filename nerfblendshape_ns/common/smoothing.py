"""Smoothing that shifts nothing in time, filling of gaps, and a measure of jitter."""

from __future__ import annotations

from typing import Optional

import numpy as np
from scipy.linalg import solveh_banded

JITTER_WINDOW = 9


def whittaker(values: np.ndarray, smoothness: float, breaks: Optional[np.ndarray] = None) -> np.ndarray:
    """Smooth each column by penalised least squares (Eilers, "A perfect smoother", 2003; second differences).

    Forward and backward in time are treated alike, so nothing is delayed; straight lines pass unchanged.

    Args:
        values: ``[frames, columns]``, no NaN.
        smoothness: in frames: motion with a period of ``2 pi * smoothness`` frames is halved; 0 changes nothing.
        breaks: bool ``[frames]``, frames that do not follow the one before in time; nothing is smoothed across them.

    Returns:
        float64 ``[frames, columns]``.
    """
    values = np.asarray(values, dtype=np.float64)
    if smoothness <= 0 or len(values) < 3:
        return values.copy()
    band = smoothness**4 * weighted_difference_band(unbroken(len(values), breaks))
    band[0] += 1.0
    return solveh_banded(band, values, lower=True)


def unbroken(num_frames: int, breaks: Optional[np.ndarray]) -> np.ndarray:
    """Weight of each second difference, float64 ``[frames - 2]``: 0 where one of its three frames begins anew."""
    if breaks is None:
        return np.ones(max(num_frames - 2, 0))
    return 1.0 - (np.asarray(breaks)[1:-1] | np.asarray(breaks)[2:])


def weighted_difference_band(weights: np.ndarray) -> np.ndarray:
    """``D' diag(weights) D`` of the second-difference operator in lower band storage, ``[3, len(weights) + 2]``."""
    band = np.zeros((3, len(weights) + 2))
    stencil = (1.0, -2.0, 1.0)
    for first in range(3):
        for offset in range(3 - first):
            band[offset, first : first + len(weights)] += weights * stencil[first] * stencil[first + offset]
    return band


def jitter(values: np.ndarray) -> np.ndarray:
    """Standard deviation of what a nine-frame parabola cannot follow, for each column (real fast motion included)."""
    return jitter_by_frame(values).std(0)


def jitter_by_frame(values: np.ndarray) -> np.ndarray:
    """What a nine-frame parabola cannot follow in each frame, ``[frames, columns]``; 0 for shorter clips."""
    if len(values) < JITTER_WINDOW:
        return np.zeros(np.shape(values))
    # Here, because the import takes 0.4 s, which most commands never need.
    from scipy.signal import savgol_filter

    return values - savgol_filter(values, JITTER_WINDOW, 2, axis=0)


def fill_gaps(values: np.ndarray) -> np.ndarray:
    """Replace rows with NaN by linear interpolation in time; rows before the first or after the last are repeated.

    Args:
        values: ``[frames, ...]`` with at least one row without NaN.
    """
    flat = np.asarray(values).reshape(len(values), -1)
    known = np.flatnonzero(~np.isnan(flat).any(1))
    filled = np.stack([np.interp(np.arange(len(flat)), known, column[known]) for column in flat.T], axis=1)
    return filled.reshape(np.shape(values)).astype(np.asarray(values).dtype)
