"""How much memory this process needs, and what becomes of memory that it has freed."""

from __future__ import annotations

import ctypes
import sys
from typing import Optional

# Numbers of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def peak_memory_mb() -> Optional[int]:
    """The most host memory that this process has held so far, in MiB; None where the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows.
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if sys.platform == "darwin" else peak / 2**10)


def keep_freed_memory() -> None:
    """Let this process keep the memory of freed arrays for the next ones, where the system's library can (glibc).

    By default it goes back to the system, and each image that NumPy or OpenCV makes then costs a page fault per 4 kB:
    a third of the time of work on images of a few hundred pixels.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**25)
        mallopt(M_TRIM_THRESHOLD, 2**28)
