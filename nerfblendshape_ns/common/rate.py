"""How often something happens."""

from __future__ import annotations

import time
from collections import deque
from typing import Deque

WINDOW = 2.0
"""Seconds over which is counted."""


class Rate:
    """Counts what happens in one thread; any thread may ask how often that is."""

    def __init__(self) -> None:
        self._times: Deque[float] = deque()

    def happened(self) -> None:
        """It happens now."""
        now = time.monotonic()
        self._times.append(now)
        while self._times[0] < now - WINDOW:
            self._times.popleft()

    def per_second(self) -> float:
        """How often it happened over the last seconds."""
        since = time.monotonic() - WINDOW
        return sum(1 for each in tuple(self._times) if each >= since) / WINDOW
