"""Work on independent items in several threads: NumPy, OpenCV, FFmpeg and LiteRT run outside of Python's lock."""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Callable, Deque, Generic, Iterable, Iterator, List, Optional, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_WORKERS = 8


def num_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def num_workers() -> int:
    """Threads worth having: as many as cores, at most :data:`MOST_WORKERS`."""
    return min(num_cores(), MOST_WORKERS)


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: Optional[int] = None
) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in order, while threads compute the next ones.

    Little more than one item per worker is under way or waiting, so memory does not grow with their number. ``items``
    are taken in the thread of the caller. When an item fails, its error is raised in place of its result; from then on,
    or when the caller stops early, what is under way is finished and nothing else is begun.

    Args:
        function: called from several threads.
        items: what it is called with.
        workers: threads; None for :func:`num_workers`.
    """
    workers = workers or num_workers()
    failed: List[int] = []

    def work(number: int, item: Item) -> Result:
        if any(number > other for other in failed):  # Those before the failed one still give their own results.
            raise CancelledError
        try:
            return function(item)
        except BaseException:
            failed.append(number)
            raise

    pool = ThreadPoolExecutor(workers)
    pending: Deque[Future[Result]] = deque()
    try:
        for number, item in enumerate(items):
            pending.append(pool.submit(work, number, item))
            if len(pending) >= workers + 2:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class PerThread(Generic[Result]):
    """An object for each thread that asks for it, for those that several threads must not use at once.

    Args:
        make: makes one.
    """

    def __init__(self, make: Callable[[], Result]) -> None:
        self._make, self._local = make, threading.local()

    def __call__(self) -> Result:
        """The object of the calling thread."""
        if not hasattr(self._local, "value"):
            self._local.value = self._make()
        return self._local.value
