"""Rows of a recording in which there is no face."""

from __future__ import annotations

from pathlib import Path
from typing import List, Tuple

import numpy as np

from nerfblendshape_ns.common.errors import UserError


def leave_out_lost(
    path: Path, values: np.ndarray, times: np.ndarray, seen: np.ndarray, unit: str
) -> Tuple[np.ndarray, np.ndarray, List[str]]:
    """Leave out rows without a face; what is read between others is interpolated over them.

    The first and last row keep their times: without a face they hold the coefficients of the nearest row with one, so
    that the recording begins and ends when it did.

    Args:
        path: the file, for messages.
        values: ``[rows, basis]``; what it holds in rows without a face is not looked at.
        times: ``[rows]`` ascending times or frame numbers.
        seen: bool ``[rows]`` whether a row has a face.
        unit: of ``times``, for notes: ``s`` or ``rows``.

    Returns:
        Values and times of the rows that are left, and notes.

    Raises:
        UserError: no row has a face.
    """
    if not seen.any():
        raise UserError(f"{path} has no row with coefficients: no face was seen in any; record the face again.")
    if seen.all():
        return values, times, []
    kept = np.flatnonzero(seen)
    first, last = kept[0], kept[-1]
    count = int((~seen).sum())
    lost = "1 row without a face is" if count == 1 else f"{count} rows without a face are"
    notes = [f"{path.name}: {lost} left out and interpolated over."]
    if first > 0:
        notes.append(
            f"{path.name}: there is no face in the first {_length(times[first] - times[0], unit)}; what is seen "
            "first is held there."
        )
    if last < len(seen) - 1:
        notes.append(
            f"{path.name}: there is no face in the last {_length(times[-1] - times[last], unit)}; what is seen last "
            "is held there."
        )
    held = np.array(sorted({0, *kept.tolist(), len(seen) - 1}))
    return values[np.clip(held, first, last)], times[held], notes


def _length(extent: float, unit: str) -> str:
    if unit == "s":
        return f"{extent:.2f} s"
    return "row" if round(extent) == 1 else f"{extent:.0f} {unit}"
