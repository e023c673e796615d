"""Waits for what other threads and processes do."""

from __future__ import annotations

import time
from typing import Callable


def until(met: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)
