"""Frames whose landmarks must not be believed: thrown off for a moment, or unlike a face at all."""

from __future__ import annotations

from typing import Optional

import numpy as np
from scipy.ndimage import median_filter

# A frame whose landmarks fit the clip's face worse than this many times the usual is trusted less and less.
POOR_FIT = 4.0
# The landmarks' centre or size away from the running median of this many frames by this much (of their spread) is a
# slip of the tracker: real heads move on, slips come back.
SLIP_WINDOW = 7
SLIP_SHIFT, SLIP_SIZE = 0.35, 0.2
# What is left of the trust in a frame that is not believed; its pose then follows from its neighbours'.
LEAST_TRUST = 1e-4
# Below this trust a frame is named in the report, and its pose is laid between its neighbours'.
DISTRUSTED = 0.1


def slips(observed: np.ndarray, breaks: Optional[np.ndarray] = None) -> np.ndarray:
    """Frames in which the landmarks as a whole jump away and come back.

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
