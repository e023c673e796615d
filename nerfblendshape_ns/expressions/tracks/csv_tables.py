"""CSV tables of face capture: Live Link Face, MediaPipe and ARKit exports, OpenFace, or any table with named columns.

Live Link Face (Epic Games, iOS) writes ``Timecode,BlendShapeCount,EyeBlinkLeft,…,TongueOut,HeadYaw,…``: 52 ARKit
coefficients in PascalCase and 9 angles of head and eyes. A timecode is ``HH:MM:SS:FF.subframe``, FF counted at the
recording's rate (60, or 30 where the app is set so). Of a frame without a face it writes the timecode and a
``BlendShapeCount`` of 0 alone.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_BASIS, LIVE_LINK_ANGLES, arkit_name
from nerfblendshape_ns.coefficient_names.head_columns import is_head_motion
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.tracks.base import ExpressionReader, ExpressionTrack, head_motion_note, make_track
from nerfblendshape_ns.expressions.tracks.lost_rows import leave_out_lost
from nerfblendshape_ns.expressions.tracks.table_clock import CLOCK_COLUMNS, column_key, read_clock
from nerfblendshape_ns.expressions.tracks.table_text import column_numbers, is_number, read_table

MOST_FRAMES = 1_000_000
"""Between the first and the last frame number of a table: eleven hours at 25 a second."""

ACTION_UNIT = re.compile(r"AU\d+_r$", re.IGNORECASE)
"""OpenFace's action-unit intensities."""

FACE_FLAGS = {"blendshapecount", "success", "detected", "face_detected", "face_found", "has_face", "tracked", "valid"}
"""Columns that are 0 where no face was seen."""
_IGNORED = CLOCK_COLUMNS | FACE_FLAGS | {"face_id", "confidence", "index", "row", "id", "unnamed:_0", ""}


class CsvReader(ExpressionReader):
    """A table with a line of column names.

    Columns with ARKit's names (any capitalisation, ``_L`` and ``_R`` for the sides) are taken and the others left out;
    without any, OpenFace's ``AU01_r`` and so on; without those, every column of numbers that is no angle or position
    of the head. The clock is a ``Timecode``, a ``time``/``timestamp`` in seconds, a ``time_ms``, or a ``frame`` number
    with the rate given.
    """

    name = "csv"
    looked_for = ".csv with named columns (Live Link Face, OpenFace, or any)"

    def matches(self, path: Path) -> bool:
        """A file that ends in ``.csv`` or ``.tsv``."""
        return path.suffix.lower() in (".csv", ".tsv") and path.is_file()

    def read(self, path: Path, fps: Optional[float]) -> ExpressionTrack:
        """See :meth:`ExpressionReader.read`."""
        header, rows = read_table(path)
        if any(column_key(name) in CLOCK_COLUMNS for name in header):
            # Without a clock an empty row is a frame without a face; with one it is nothing.
            rows = [row for row in rows if any(row)]
        flags = [column for column, name in enumerate(header) if column_key(name) in FACE_FLAGS]
        rows, notes = _of_full_length(path, header, rows, flags)
        _refuse_several_faces(path, header, rows)
        names, columns, basis = _choose_columns(path, header, rows)
        seen = np.array([_has_face(row, flags, columns) for row in rows])
        values = np.zeros((len(rows), len(columns)))
        for index, column in enumerate(columns):
            cells = [row[column] if has_face else "0" for row, has_face in zip(rows, seen)]
            values[:, index] = column_numbers(path, header[column], cells)
        notes += _left_out(path, header, columns, basis)
        clock, clock_notes = read_clock(path, header, rows, fps)
        values, times, lost_notes = leave_out_lost(path, values, clock.times, seen, "s" if clock.seconds else "rows")
        if not clock.seconds:
            # One row for every number, so that rows are frames.
            if clock.times[-1] - clock.times[0] > MOST_FRAMES:
                raise UserError(
                    f"{path}: its frame numbers go from {clock.times[0]:g} to {clock.times[-1]:g}; correct them."
                )
            every = np.arange(clock.times[0], clock.times[-1] + 1)
            values = np.stack([np.interp(every, times, column) for column in values.T], axis=1)
        track = make_track(
            path,
            names,
            values,
            basis,
            times=times if clock.seconds else None,
            notes=[*notes, *clock_notes, *lost_notes],
        )
        return track if fps is None else replace(track, fps=fps)


def _of_full_length(
    path: Path, header: List[str], rows: List[List[str]], flags: Sequence[int]
) -> Tuple[List[List[str]], List[str]]:
    """Rows with a cell for every column: rows without a face may end early, and so may the last of a cut recording."""
    notes = []
    full = []
    for number, row in enumerate(rows):
        if len(row) >= len(header):
            full.append(row)
        elif any(column < len(row) and _is_no(row[column]) for column in flags):
            full.append(row + [""] * (len(header) - len(row)))
        elif number == len(rows) - 1:
            notes.append(f"{path.name}: the last row is cut short and left out.")
        else:
            raise UserError(f"{path}: row {number + 1} has {len(row)} cells, not {len(header)}; export it again.")
    if not full:
        raise UserError(f"{path} has column names but no whole row; record the face again.")
    return full, notes


def _refuse_several_faces(path: Path, header: List[str], rows: List[List[str]]) -> None:
    """OpenFace's program for several faces writes a row for each, which are no frames of one person."""
    for column in (column for column, name in enumerate(header) if column_key(name) == "face_id"):
        faces = sorted({row[column] for row in rows} - {""})
        if len(faces) > 1:
            shown = ", ".join(faces[:3]) + (", …" if len(faces) > 3 else "")
            raise UserError(f"{path} has rows of several faces (face_id {shown}); take out all but one face's.")


def _has_face(row: List[str], flags: Sequence[int], columns: Sequence[int]) -> bool:
    """Whether a row holds coefficients: no flag says 0 and not all of its cells are empty or NaN."""
    if any(_is_no(row[column]) for column in flags):
        return False
    return any(row[column].lower() not in ("", "nan", "none", "null") for column in columns)


def _is_no(cell: str) -> bool:
    """Whether a flag says that there is no face."""
    return float(cell) == 0 if is_number(cell) else cell.lower() in ("", "false", "no")


def _choose_columns(path: Path, header: List[str], rows: List[List[str]]) -> Tuple[List[str], List[int], str]:
    """Names and indices of the coefficients' columns, and their basis."""
    arkit = [(arkit_name(name), column) for column, name in enumerate(header)]
    chosen = [(name, column) for name, column in arkit if name is not None]
    basis = ARKIT_BASIS
    if not chosen:
        basis = "openface_au"
        chosen = [(name, column) for column, name in enumerate(header) if ACTION_UNIT.match(name)]
    if not chosen:
        basis = "custom"
        chosen = [
            (name, column)
            for column, name in enumerate(header)
            if column_key(name) not in _IGNORED
            and not is_head_motion(name)
            # The first cell that is not empty decides between numbers and text.
            and is_number(next((row[column] for row in rows if row[column]), ""))
        ]
    if not chosen:
        raise UserError(f"{path} has no column of coefficients; its columns are {', '.join(header[:8])}.")
    return [name for name, _ in chosen], [column for _, column in chosen], basis


def _left_out(path: Path, header: List[str], columns: Sequence[int], basis: str) -> List[str]:
    """What is said of the columns that are not taken."""
    if basis == "openface_au":
        return []
    # Every recording of Live Link Face has the angles, so nothing need be said of them.
    known = _IGNORED | {name.lower() for name in LIVE_LINK_ANGLES}
    others = [name for column, name in enumerate(header) if column not in columns and column_key(name) not in known]
    motion = [name for name in others if is_head_motion(name)]
    notes = [head_motion_note(path, motion)] if motion else []
    left_out = [name for name in others if name not in motion]
    if basis == ARKIT_BASIS and left_out:
        shown = ", ".join(left_out[:6]) + (" …" if len(left_out) > 6 else "")
        what = (
            "1 column is no ARKit coefficient and is"
            if len(left_out) == 1
            else (f"{len(left_out)} columns are no ARKit coefficients and are")
        )
        notes.append(f"{path.name}: {what} left out: {shown}.")
    return notes
