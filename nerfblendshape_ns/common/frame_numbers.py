"""Frame numbers: a few of many, gaps, and in words."""

from __future__ import annotations

from typing import Iterable, List, Sequence, Tuple, Union

import numpy as np


def spread(length: int, count: int) -> List[int]:
    """``count`` indices evenly spread over ``length``, ends included, each once."""
    return sorted({int(round(index)) for index in np.linspace(0, length - 1, max(0, min(count, length)))})


def gaps(numbers: Union[Sequence[int], np.ndarray]) -> np.ndarray:
    """bool ``[frames - 1]``: where more numbers are left out than usual; frames may be numbered in steps of 2 or 100.

    Args:
        numbers: ascending.
    """
    steps = np.diff(numbers)
    return steps > 1.5 * np.median(steps) if len(steps) else np.zeros(0, dtype=bool)


def runs(indices: Iterable[int]) -> List[Tuple[int, int]]:
    """Group ascending integers into inclusive runs: ``[3, 4, 5, 9]`` gives ``[(3, 5), (9, 9)]``."""
    grouped: List[Tuple[int, int]] = []
    for index in (int(value) for value in indices):
        if grouped and grouped[-1][1] == index - 1:
            grouped[-1] = (grouped[-1][0], index)
        else:
            grouped.append((index, index))
    return grouped


def name_frames(indices: Union[Sequence[int], np.ndarray], most: int = 12) -> str:
    """Frame numbers in words for a message: ``frame 3``, ``frames 3-5, 9``, cut off after ``most`` groups."""
    grouped = runs(indices)
    words = [str(first) if first == last else f"{first}-{last}" for first, last in grouped[:most]]
    if len(grouped) > most:
        words.append(f"and {len(grouped) - most} more stretches")
    return ("frame " if len(indices) == 1 else "frames ") + ", ".join(words)
