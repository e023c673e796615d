"""How much memory this process needs."""

from __future__ import annotations

import sys
from typing import Optional


def peak_memory_mb() -> Optional[int]:
    """The most host memory that this process has held so far, in MiB; None where the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows.
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if sys.platform == "darwin" else peak / 2**10)
