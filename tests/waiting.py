"""Waits for what other threads and processes do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable


def until(met: Callable[[], object], seconds: float = 300.0) -> None:
    """Wait for a condition; so long that a busy machine gets there too, for only a test that fails waits to the end."""
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


def has_ended(process: int) -> bool:
    """Whether there is no process of this number, or only what is left of it until somebody asks how it ended."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # It may go between opening and reading too.
        return True
