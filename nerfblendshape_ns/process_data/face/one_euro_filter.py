"""The one-euro filter with the Face Landmarker's constants."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np


class OneEuroFilter:
    """A low-pass filter of landmarks whose cutoff frequency grows with their speed in face sizes per second.

    Source: Casiez, Roussel and Vogel, "1€ Filter", CHI 2012; constants of MediaPipe 0.10.9.
    """

    LEAST_CUTOFF, SPEED_CUTOFF, SPEED_GAIN = 0.05, 1.0, 80.0
    """Hz, Hz, and Hz per face size per second."""
    FIRST_RATE = 30.0

    def __init__(self) -> None:
        self._time: Optional[float] = None
        self._rate = self.FIRST_RATE
        self._raw = self._smooth = self._speed = np.zeros(0)

    def __call__(self, points: np.ndarray, seconds: float) -> np.ndarray:
        """The smoothed points of the next frame.

        Args:
            points: ``[points, 3]`` pixels.
            seconds: when; later than at the call before.
        """
        if self._time is None:
            self._smooth, self._speed = points, np.zeros_like(points)
        else:
            # MediaPipe takes a time of 0 for none.
            self._rate = 1 / (seconds - self._time) if self._time != 0 else self._rate
            size = float(np.ptp(points[:, :2], axis=0).mean())
            speed = (points - self._raw) / size * self._rate
            self._speed = self._speed + self._weight(self.SPEED_CUTOFF) * (speed - self._speed)
            weight = self._weight(self.LEAST_CUTOFF + self.SPEED_GAIN * np.abs(self._speed))
            self._smooth = self._smooth + weight * (points - self._smooth)
        self._time, self._raw = seconds, points
        return self._smooth

    def _weight(self, cutoff: Any) -> Any:
        return 1 / (1 + self._rate / (2 * np.pi * cutoff))
