"""How much memory this process needs, arrays beyond it, and what becomes of memory that it has freed."""

from __future__ import annotations

import ctypes
import math
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Optional, Tuple

import numpy as np
import numpy.typing as npt
import psutil

from nerfblendshape_ns.common.errors import UserError

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


def restart_peak_memory() -> None:
    """Let :func:`peak_memory_mb` forget what this process held before, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def keep_freed_memory() -> None:
    """Let this process keep the memory of freed arrays for the next ones, where the system's library can (glibc).

    By default it goes back to the system, and each image that NumPy or OpenCV makes then costs a page fault per 4 kB:
    a third of the time of work on images of a few hundred pixels.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**25)
        mallopt(M_TRIM_THRESHOLD, 2**28)


def uninitialised(shape: Tuple[int, ...], dtype: npt.DTypeLike, in_memory: bool) -> np.ndarray:
    """An array to be filled.

    Args:
        shape: of the array.
        dtype: of its values.
        in_memory: False keeps it in a temporary file that goes with the array, if there is room for it; the system
            holds in memory what there is room for.

    Raises:
        UserError: neither the folder for temporary files nor memory has room for it.
    """
    if in_memory:
        return np.empty(shape, dtype)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    with tempfile.TemporaryFile() as file:
        try:
            if hasattr(os, "posix_fallocate"):  # A mapped file that finds the disk full ends the process by a signal.
                os.posix_fallocate(file.fileno(), 0, max(1, size))
            return np.memmap(file, dtype, "w+", shape=shape)
        except OSError as error:
            if size < psutil.virtual_memory().available:
                return np.empty(shape, dtype)
            raise UserError(
                f"{tempfile.gettempdir()} and memory have no room for {size / 1e9:.1f} GB "
                f"({error.strerror}); free as much, or name another folder by TMPDIR."
            ) from None
