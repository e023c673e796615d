"""When the rows of a table are: its column of timecodes, seconds, or frame numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np
from jaxtyping import Float64

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.tracks.base import GIVE_RATE, at_rate
from nerfblendshape_ns.expressions.tracks.table_text import column_numbers
from nerfblendshape_ns.expressions.tracks.timecodes import timecode_seconds

_CLOCKS: Dict[str, float] = {
    **dict.fromkeys(("time", "timestamp", "seconds", "time_s", "time_sec", "timestamp_s", "elapsed", "t"), 1.0),
    **dict.fromkeys(("time_ms", "timestamp_ms", "milliseconds", "elapsed_ms", "t_ms", "ms"), 1e-3),
    **dict.fromkeys(("time_us", "timestamp_us"), 1e-6),
    **dict.fromkeys(("time_ns", "timestamp_ns"), 1e-9),
}
_FRAMES = ("frame", "frame_id", "frame_index", "frame_number", "frame_num", "frame_no", "frame_idx", "img_id")
CLOCK_COLUMNS = {"timecode", *_CLOCKS, *_FRAMES}
"""Columns that say when a row is, by :func:`column_key`."""
SLOWEST_SECONDS = 5.0
"""No recording has steps of so many seconds; a column of such steps counts thousandths."""


@dataclass(frozen=True)
class Clock:
    """When the rows of a table are."""

    times: Float64[np.ndarray, "rows"]
    """Seconds, or frame numbers."""
    seconds: bool
    """Whether they are seconds."""


def column_key(name: str) -> str:
    """A column's name in small letters with underscores; ``Time [ms]`` is ``time_ms``."""
    return re.sub(r"[\s\-_]+", "_", re.sub(r"[\[\]()]", " ", name.lower()).strip())


def read_clock(path: Path, header: List[str], rows: List[List[str]], fps: Optional[float]) -> Tuple[Clock, List[str]]:
    """Find and read the clock of a table; where the user gives a rate, that overrules it.

    Args:
        path: the file, for messages.
        header: the columns' names.
        rows: cells of all rows, those without a face included.
        fps: rows (of numbered rows: frames) per second where the user gives them.

    Returns:
        The clock, and notes. Without a column of time the rows are numbered from 0.

    Raises:
        UserError: a cell is no time, or the times or numbers do not ascend.
    """
    index_of: Dict[str, int] = {column_key(name): index for index, name in reversed(list(enumerate(header)))}
    column = next((name for name in ("timecode", *_CLOCKS, *_FRAMES) if name in index_of), None)
    if column is None:
        numbers = np.arange(len(rows), dtype=np.float64)
        return (Clock(numbers, False), []) if fps is None else (Clock(at_rate(path, len(rows), fps)[0], True), [])
    cells = [row[index_of[column]] for row in rows]
    title = header[index_of[column]]
    if column == "timecode" and any(":" in cell or ";" in cell for cell in cells):
        times, notes = timecode_seconds(cells, path)
        return _in_seconds(path, times, notes, fps)
    numbers = column_numbers(path, title, cells)
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers))[0]) + 1
        raise UserError(f"{path}: {title} is empty in row {row}; fill it in or take the row out.")
    if column in _CLOCKS:
        times, notes = _CLOCKS[column] * numbers, []
        if len(times) > 1 and _CLOCKS[column] == 1.0:
            times, notes = _not_thousandths(path, title, times)
        return _in_seconds(path, times, notes, fps)
    if column == "timecode" and (numbers % 1 != 0).any():
        return _in_seconds(path, numbers, [], fps)
    # Whole numbers, also where a program writes them under the name of a timecode.
    _require_ascending(path, "the frame number", numbers, "above", "sort the rows")
    if fps is None:
        return Clock(numbers, False), []
    return Clock((numbers - numbers[0]) / fps, True), []


def _in_seconds(path: Path, times: np.ndarray, notes: List[str], fps: Optional[float]) -> Tuple[Clock, List[str]]:
    if fps is not None:
        times, notes = at_rate(path, len(times), fps, times)
        return Clock(times, True), notes
    _require_ascending(path, "the time", times, "after", f"sort the rows by time, or {GIVE_RATE}")
    return Clock(times, True), notes


def _require_ascending(path: Path, what: str, times: np.ndarray, relation: str, advice: str) -> None:
    wrong = np.flatnonzero(~(np.diff(times) > 0))
    if len(wrong):
        raise UserError(f"{path}: {what} of row {wrong[0] + 2} is not {relation} that of the row before; {advice}.")


def _not_thousandths(path: Path, title: str, times: np.ndarray) -> Tuple[np.ndarray, List[str]]:
    """Times in seconds, also where the column counts milli-, micro- or nanoseconds without saying so."""
    step, unit = float(np.median(np.abs(np.diff(times)))), 1.0
    while step * unit > SLOWEST_SECONDS and unit > 1e-9:
        unit *= 1e-3
    if unit == 1.0:
        return times, []
    words = {3: "milliseconds", 6: "microseconds", 9: "nanoseconds"}[round(-np.log10(unit))]
    return unit * times, [f"{path.name}: {title} rises by {step:g} from row to row and is taken for {words}."]
