"""A lock that ends with its process, however that ends."""

from __future__ import annotations

from typing import IO, Any, Union

try:
    import fcntl
except ImportError:  # Windows: two processes that write the same are not noticed there.
    fcntl = None


def try_lock(file: Union[int, IO[Any]]) -> bool:
    """Lock an open file or folder until all processes that have it open close it; nothing is waited for.

    Args:
        file: or its descriptor.

    Returns:
        False where another process has locked it; True also where nothing can be locked.
    """
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # A file system without locks.
            pass
    return True
