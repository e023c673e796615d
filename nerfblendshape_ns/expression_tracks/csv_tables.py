"""CSV tables of face capture: Live Link Face, MediaPipe and ARKit exports, OpenFace, or any table with named columns.

Live Link Face (Epic Games, iOS) writes ``Timecode,BlendShapeCount,EyeBlinkLeft,…,TongueOut,HeadYaw,…``: 52 ARKit
coefficients in PascalCase and 9 angles of head and eyes. A timecode is ``HH:MM:SS:FF.subframe``, FF counted at the
recording's rate (60, or 30 where the app is set so); ``BlendShapeCount`` is 0 in rows without a face.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.arkit import ARKIT_BASIS, arkit_name
from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.expression_tracks.base import ExpressionSource, ExpressionTrack, make_track

TIMECODE_RATES = (24, 25, 30, 48, 50, 60, 90, 120, 240)
"""Frame counts a second that a timecode's last field is taken to run over."""
LARGEST_ARKIT = 2.0
"""ARKit coefficients run from 0 to 1; beyond this a column is in percent or no coefficient."""
ACTION_UNIT = re.compile(r"AU\d+_r$", re.IGNORECASE)
"""OpenFace's action-unit intensities."""

_SECONDS = {"time": 1.0, "timestamp": 1.0, "seconds": 1.0, "time_s": 1.0, "t": 1.0}
_MILLISECONDS = {"time_ms": 1e-3, "timestamp_ms": 1e-3, "milliseconds": 1e-3, "ms": 1e-3}
_CLOCKS = {**_SECONDS, **_MILLISECONDS}
_FRAMES = ("frame", "frame_id", "frame_index", "frame_number", "img_id")
_COUNT = "blendshapecount"
_IGNORED = {"timecode", _COUNT, *_CLOCKS, *_FRAMES, "face_id", "confidence", "success", "index", ""}
_ANGLES = {f"{part}{angle}" for part in ("head", "lefteye", "righteye") for angle in ("yaw", "pitch", "roll")}


class CsvSource(ExpressionSource):
    """A table with a line of column names.

    Columns with ARKit's names (any capitalisation, ``_L`` and ``_R`` for the sides) are taken and the rest left out;
    without any, OpenFace's ``AU01_r`` and so on; without those, every column of numbers. The clock is a ``Timecode``, a
    ``time``/``timestamp`` in seconds, a ``time_ms``, or a ``frame`` number with the rate given.
    """

    name = "csv"
    looked_for = ".csv with named columns (Live Link Face, OpenFace, or any)"

    def matches(self, path: Path) -> bool:
        """A file that ends in ``.csv`` or ``.tsv``."""
        return path.suffix.lower() in (".csv", ".tsv") and path.is_file()

    def read(self, path: Path, fps: Optional[float]) -> ExpressionTrack:
        """See :meth:`ExpressionSource.read`."""
        header, rows, notes = _read_table(path)
        rows, without_face = _rows_with_a_face(header, rows)
        if not rows:
            raise UserError(f"{path} has no row with coefficients; record the face again.")
        names, positions, basis = _choose_columns(path, header, rows)
        values = np.stack([_numbers(path, header[position], rows, position) for position in positions], axis=1)
        if basis == ARKIT_BASIS and values.max(initial=0.0) > LARGEST_ARKIT:
            row, column = np.unravel_index(values.argmax(), values.shape)
            raise UserError(
                f"{path}: {header[positions[column]]} is {values[row, column]:g} in row {row + 1}, but ARKit "
                "coefficients run from 0 to 1; divide percent by 100."
            )
        known = {*_IGNORED, *_ANGLES}
        left_out = [name for place, name in enumerate(header) if place not in positions and name.lower() not in known]
        if without_face:
            notes.append(f"{path.name}: {without_face} rows without a face are left out and interpolated over.")
        if basis == ARKIT_BASIS and left_out:
            shown = ", ".join(left_out[:6]) + (" …" if len(left_out) > 6 else "")
            notes.append(f"{path.name}: {len(left_out)} columns are no ARKit coefficients and are left out: {shown}.")
        times, values = _clock(path, header, rows, values, fps)
        return make_track(path, names, values, basis, times=times, fps=fps, notes=notes)


def timecode_seconds(timecodes: Sequence[str], path: Path, rate: Optional[float] = None) -> np.ndarray:
    """Seconds of SMPTE-like timecodes ``HH:MM:SS:FF.subframe`` (``;`` for ``:`` in drop-frame ones).

    Args:
        timecodes: one for each row, ascending; a step back of more than half a day is midnight.
        path: the file, for messages.
        rate: frames a second that FF counts; None takes the smallest usual rate that the largest FF fits in, or 60
            where less than a second was recorded.

    Raises:
        UserError: one is no timecode.
    """
    fields = []
    for row, text in enumerate(timecodes):
        parts = text.strip().replace(";", ":").split(":")
        try:
            hours, minutes, seconds, frames = (float(part) for part in parts)
        except ValueError:
            raise UserError(
                f"{path}: row {row + 1} has the timecode {text.strip()!r}, which is not HH:MM:SS:FF; correct it."
            ) from None
        fields.append((hours * 3600 + minutes * 60 + seconds, frames))
    whole, frames = np.array(fields).T
    if rate is None:
        largest = float(np.floor(frames.max()))
        if len(np.unique(whole)) < 2:
            rate = 60.0
        else:
            rate = float(next((known for known in TIMECODE_RATES if known > largest), largest + 1))
    seconds = whole + frames / rate
    return seconds + 86400.0 * np.concatenate([[0], np.cumsum(np.diff(seconds) < -43200.0)])


def _read_table(path: Path) -> Tuple[List[str], List[List[str]], List[str]]:
    """Column names, rows of text, and notes."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} cannot be read as text ({error}); export it as CSV in UTF-8.") from None
    lines = text.splitlines()
    if not lines or not lines[0].strip():
        raise UserError(f"{path} is empty; export the recording again.")
    delimiter = max(",;\t", key=lines[0].count)
    table = [row for row in csv.reader(lines, delimiter=delimiter) if any(cell.strip() for cell in row)]
    header = [cell.strip() for cell in table[0]]
    if all(_is_number(cell) for cell in header if cell):
        raise UserError(f"{path} has numbers in its first line; put the columns' names there.")
    rows, notes = table[1:], []
    if rows and len(rows[-1]) < len(header):
        # A recording that was cut off ends in the middle of a row.
        rows.pop()
        notes.append(f"{path.name}: the last row is cut short and left out.")
    for number, row in enumerate(rows):
        if len(row) < len(header):
            raise UserError(f"{path}: row {number + 1} has {len(row)} cells, not {len(header)}; export it again.")
    if not rows:
        raise UserError(f"{path} has column names but no rows; record the face again.")
    return header, rows, notes


def _rows_with_a_face(header: List[str], rows: List[List[str]]) -> Tuple[List[List[str]], int]:
    """The rows that hold a face, and how many do not (Live Link Face counts 0, OpenFace has no success)."""
    flags = [position for position, name in enumerate(header) if name.lower() in (_COUNT, "success")]
    kept = [row for row in rows if all(row[position].strip() not in ("0", "0.0", "") for position in flags)]
    return kept, len(rows) - len(kept)


def _choose_columns(path: Path, header: List[str], rows: List[List[str]]) -> Tuple[List[str], List[int], str]:
    """Names and positions of the coefficients' columns, and their basis."""
    arkit = [(arkit_name(name), position) for position, name in enumerate(header)]
    chosen = [(name, position) for name, position in arkit if name is not None]
    basis = ARKIT_BASIS
    if not chosen:
        basis = "openface_au"
        chosen = [(name, position) for position, name in enumerate(header) if ACTION_UNIT.match(name)]
    if not chosen:
        basis = "custom"
        chosen = [
            (name, position)
            for position, name in enumerate(header)
            if name.lower() not in _IGNORED and _is_number(rows[0][position])
        ]
    if not chosen:
        raise UserError(f"{path} has no column of coefficients; its columns are {', '.join(header[:8])}.")
    return [name for name, _ in chosen], [position for _, position in chosen], basis


def _clock(
    path: Path, header: List[str], rows: List[List[str]], values: np.ndarray, fps: Optional[float]
) -> Tuple[Optional[np.ndarray], np.ndarray]:
    """Seconds of each row, None where the table has no clock, and the values, one row a frame then."""
    place: Dict[str, int] = {name.lower(): position for position, name in reversed(list(enumerate(header)))}
    if "timecode" in place:
        texts = [row[place["timecode"]] for row in rows]
        if all(":" in text or ";" in text for text in texts):
            return timecode_seconds(texts, path), values
        # Other programs write plain frame numbers under this name.
        return _frame_clock(path, _numbers(path, "Timecode", rows, place["timecode"]), values, fps)
    for name, unit in _CLOCKS.items():
        if name in place:
            return unit * _numbers(path, name, rows, place[name]), values
    for name in _FRAMES:
        if name in place:
            return _frame_clock(path, _numbers(path, name, rows, place[name]), values, fps)
    return None, values


def _frame_clock(
    path: Path, frames: np.ndarray, values: np.ndarray, fps: Optional[float]
) -> Tuple[Optional[np.ndarray], np.ndarray]:
    """Times of numbered rows; without a rate one row for every number, missing ones interpolated."""
    if not (np.diff(frames) > 0).all():
        row = int(np.flatnonzero(~(np.diff(frames) > 0))[0]) + 2
        raise UserError(f"{path}: the frame number of row {row} is not above that of the row before; sort the rows.")
    if fps is not None:
        return frames / fps, values
    every = np.arange(frames[0], frames[-1] + 1)
    return None, np.stack([np.interp(every, frames, column) for column in values.T], axis=1)


def _numbers(path: Path, name: str, rows: List[List[str]], position: int) -> np.ndarray:
    """A column as float64 ``[rows]``."""
    try:
        return np.array([row[position] for row in rows], dtype=np.float64)
    except ValueError:
        number, cell = next((n, row[position]) for n, row in enumerate(rows) if not _is_number(row[position]))
        raise UserError(
            f"{path}: {name} is {cell.strip()!r} in row {number + 1}, which is no number; correct it."
        ) from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
