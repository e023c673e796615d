"""Black bars around the image: above and below, or left and right."""

from __future__ import annotations

from typing import Optional, Tuple

import cv2
import numpy as np

# Nowhere in the clip is a bar brighter than this.
BAR_LEVEL = 26
# A bar is at least this fraction of the frame, and the two bars differ by at most that.
SMALLEST_BAR, LARGEST_DIFFERENCE = 0.012, 0.03
# Where a bar ends, this fraction of the next line has been brighter at some time: a bar ends straight, a dark room does
# not.
STRAIGHT_FRACTION = 0.45
# Lines next to a bar that compression has darkened.
SOFT_EDGE = 2


class BarFinder:
    """Takes frames of a clip; :meth:`content` then gives the rectangle inside the bars."""

    def __init__(self) -> None:
        self._brightest: Optional[np.ndarray] = None

    def add(self, frame: np.ndarray) -> None:
        """Take one frame, uint8 RGB ``[height, width, 3]``."""
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        self._brightest = grey if self._brightest is None else np.maximum(self._brightest, grey)

    def content(self) -> Optional[Tuple[int, int, int, int]]:
        """``(left, top, width, height)`` of the image inside the bars, or None where there are no bars."""
        if self._brightest is None:
            return None
        bright = self._brightest > BAR_LEVEL
        top, bottom = _bars(bright)
        left, right = _bars(bright.T)
        if not (top or left):
            return None
        height, width = bright.shape
        return left, top, width - left - right, height - top - bottom


def _bars(bright: np.ndarray) -> Tuple[int, int]:
    """Lines taken by the bars at both ends of the first axis, ``(0, 0)`` where there is no pair of them."""
    length = len(bright)
    # Specks of compression noise do not end a bar.
    brightness = bright.mean(1)
    lit = np.flatnonzero(brightness > 0.02)
    if not len(lit):
        return 0, 0
    first, last = int(lit[0]), length - 1 - int(lit[-1])
    if min(first, last) < max(2, SMALLEST_BAR * length) or abs(first - last) > LARGEST_DIFFERENCE * length:
        return 0, 0
    soft = slice(first, first + 2 * SOFT_EDGE + 1), slice(length - last - 2 * SOFT_EDGE - 1, length - last)
    if any(brightness[edge].max() < STRAIGHT_FRACTION for edge in soft):
        return 0, 0
    return first + SOFT_EDGE, last + SOFT_EDGE
