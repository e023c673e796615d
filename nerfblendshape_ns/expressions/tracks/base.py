"""What every reader of expression coefficients returns, and what a reader is.

A new kind of file is one module with a subclass of :class:`ExpressionReader` and its entry in
:data:`nerfblendshape_ns.expressions.tracks.READERS`. The subclass says which paths it takes (``matches``), and reads
one into an :class:`ExpressionTrack` (``read``), for which :func:`make_track` does the checks that all readers share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import numpy as np
from jaxtyping import Float32, Float64

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_BASIS, ARKIT_NAMES
from nerfblendshape_ns.coefficient_names.flame import FLAME_BASIS
from nerfblendshape_ns.coefficient_names.head_columns import has_neutral_column, is_head_motion
from nerfblendshape_ns.common.errors import UserError

HOLD_SECONDS = 0.5
"""How far beyond its ends a track's first and last row may be held."""
GIVE_RATE = "give their rate with --expressions-fps or --source-fps, which overrules the file's clock"
"""What can be done about a wrong clock."""
LARGEST_ARKIT = 2.0
"""ARKit coefficients run from 0 to 1; beyond this a column is in percent or no coefficient."""
WIDE_SPAN, NARROW_PEAK = 10.0, 1.5
"""A column that spans more than the first, beside one whose values stay below the second, is in another unit."""
UNBOUNDED_BASES = (FLAME_BASIS, "bfm64", "bfm79")
"""Bases in which coefficients of very different size are usual."""


@dataclass(frozen=True)
class ExpressionTrack:
    """Expression coefficients over time."""

    names: Tuple[str, ...]
    """Name of each coefficient."""
    values: Float32[np.ndarray, "frames basis"]
    """Coefficients in the file's own units; neutral is 0, no leading neutral 1."""
    fps: Optional[float]
    """Rows per second, gaps not counted; None where the file has no clock and none was given."""
    basis_id: str
    """Which basis they belong to: ``arkit52``, ``flame``, ``bfm79``, ``facewarehouse46``, ``openface_au``, ``custom``,
    or what the file says."""
    times: Optional[Float64[np.ndarray, "frames"]] = None
    """Seconds of each row since the file's first, strictly ascending; None exactly where ``fps`` is None."""
    notes: Tuple[str, ...] = ()
    """What was done to the file's contents that its user should know, in sentences."""
    unnamed: bool = False
    """Whether the file has no names, so that those here are made up."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def duration(self) -> float:
        """Seconds from the first row to the last; 0 without a clock."""
        return 0.0 if self.times is None else float(self.times[-1])

    def with_fps(self, fps: float) -> ExpressionTrack:
        """The same rows as if recorded at ``fps`` rows per second, whatever the file's own clock says."""
        return replace(self, fps=float(fps), times=np.arange(len(self)) / float(fps))

    def at(self, times: Float64[np.ndarray, "wanted"]) -> Float32[np.ndarray, "wanted basis"]:
        """Coefficients at other times, linear between rows; before the first and after the last row those are held.

        Args:
            times: seconds since the first row.

        Raises:
            UserError: the track has no clock.
        """
        if self.times is None:
            raise UserError("the expression file says nothing of time; give its rows per second.")
        columns = [np.interp(times, self.times, column) for column in self.values.T.astype(np.float64)]
        return np.stack(columns, axis=1).astype(np.float32)


class ExpressionReader(ABC):
    """A kind of file or folder that holds expression coefficients."""

    name: str
    """Name for messages and documentation."""
    looked_for: str
    """What it is recognised by, in words."""

    @abstractmethod
    def matches(self, path: Path) -> bool:
        """Whether ``path``, which exists, looks like this kind; must not raise."""

    @abstractmethod
    def read(self, path: Path, fps: Optional[float]) -> ExpressionTrack:
        """Read ``path``.

        Args:
            path: a file or folder that :meth:`matches`.
            fps: rows per second where the user gives them; they overrule the file's own clock.

        Raises:
            UserError: the contents are wrong.
        """


def make_track(
    path: Path,
    names: Sequence[str],
    values: np.ndarray,
    basis_id: str,
    *,
    times: Optional[np.ndarray] = None,
    fps: Optional[float] = None,
    notes: Sequence[str] = (),
) -> ExpressionTrack:
    """Check what a reader found, take out what is no expression, and make the track.

    A leading neutral 1 and columns that are named as angles or positions of the head are taken out.

    Args:
        path: where it was read, for messages.
        names: name of each column.
        values: ``[frames, basis]`` real numbers.
        basis_id: id of the basis.
        times: seconds of each row on any clock; None where the file has none.
        fps: rows per second where the user gives them; they overrule ``times``.
        notes: sentences for the user.

    Raises:
        UserError: no rows, values that are not finite, names that repeat, ARKit coefficients far above 1, or times that
            do not ascend.
    """
    names = tuple(str(name) for name in names)
    values = np.asarray(values)
    if values.ndim != 2 or 0 in values.shape:
        raise UserError(
            f"{path} holds no [frames, coefficients] table but shape {values.shape}; write one row per frame."
        )
    if values.dtype.kind not in "fiu":
        raise UserError(f"{path} holds {values.dtype} values where coefficients are numbers; write float32.")
    if len(names) != values.shape[1]:
        raise UserError(f"{path} has {values.shape[1]} coefficients but {len(names)} names; write one name for each.")
    names, values, head_notes = _without_head_motion(path, names, values)
    notes = [*notes, *head_notes]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f"{path} names {', '.join(repeated)} more than once; give every coefficient its own name.")
    with np.errstate(over="ignore"):
        bad = np.argwhere(~np.isfinite(values.astype(np.float32)))
    if len(bad):
        row, column = bad[0]
        raise UserError(
            f"{path} has {len(bad)} values that are not finite, the first in row {row}, {names[column]}; "
            "fill them in or extract the coefficients again."
        )
    # A table may show closed eyes from its first row to its last.
    if names[0] not in ARKIT_NAMES and has_neutral_column(values):
        names, values = names[1:], values[:, 1:]
        notes.append(f"{path.name}: the leading neutral coefficient, always 1, is left out; the model adds its own.")
    if basis_id == ARKIT_BASIS:
        check_arkit_range(path, names, values)
    if basis_id not in UNBOUNDED_BASES:
        notes += _wide_columns(path, names, values)
    if times is not None:
        times = np.asarray(times, dtype=np.float64)
        if times.shape != (len(values),):
            raise UserError(f"{path} has {len(values)} rows and times of shape {times.shape}; give one for each row.")
        times = times - times[0]
    if fps is not None:
        times, clock_notes = at_rate(path, len(values), fps, times)
        notes += clock_notes
    if times is not None:
        steps = np.diff(times)
        if len(steps) and not (steps > 0).all():
            row = int(np.flatnonzero(~(steps > 0))[0]) + 1
            raise UserError(
                f"{path}: the time of row {row} is not after that of the row before; sort the rows by time, or "
                f"{GIVE_RATE}."
            )
        fps = _usual_rate(steps) if len(steps) else fps
        if fps is None:
            times = None
    return ExpressionTrack(names, values.astype(np.float32), fps, basis_id, times, tuple(notes))


def at_rate(
    path: Path, rows: int, fps: float, times: Optional[np.ndarray] = None
) -> Tuple[Float64[np.ndarray, "rows"], List[str]]:
    """Times of ``rows`` rows at a rate that the user gives, and a note where the file's own clock says otherwise.

    Args:
        path: the file, for messages.
        rows: how many there are.
        fps: rows per second.
        times: ``[rows]`` seconds by the file's own clock, where it has one.

    Raises:
        UserError: ``fps`` is no positive number.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise UserError(f"{path}: {fps:g} frames per second is no rate; give a number above 0.")
    even = np.arange(rows) / fps
    # One row more or less at the end is no other clock.
    if times is None or ((np.diff(times) > 0).all() and np.abs(times - times[0] - even).max() < 1.5 / fps):
        return even, []
    return even, [f"{path.name}: the rate given, {fps:g} rows per second, overrules the file's own clock."]


def _usual_rate(steps: np.ndarray) -> float:
    """Rows per second by the mean step, so that rounded or uneven times do not change it, without gaps."""
    return round(float(1.0 / steps[steps <= 2.5 * np.median(steps)].mean()), 4)


def check_arkit_range(path: Path, names: Sequence[str], values: np.ndarray) -> None:
    """Refuse ARKit coefficients ``[frames, basis]`` that are in percent.

    Raises:
        UserError: one is above :data:`LARGEST_ARKIT`.
    """
    if values.max(initial=0.0) > LARGEST_ARKIT:
        row, column = np.unravel_index(values.argmax(), values.shape)
        raise UserError(
            f"{path}: {names[int(column)]} is {values[row, column]:g} in row {row + 1}, but ARKit coefficients run "
            "from 0 to 1; divide percent by 100."
        )


def _without_head_motion(
    path: Path, names: Tuple[str, ...], values: np.ndarray
) -> Tuple[Tuple[str, ...], np.ndarray, List[str]]:
    """Names and values without the columns that are angles or positions of the head, and a note."""
    motion = [column for column, name in enumerate(names) if is_head_motion(name)]
    if not motion:
        return names, values, []
    if len(motion) == len(names):
        raise UserError(f"{path} holds only angles and positions of the head; give a file with coefficients.")
    note = head_motion_note(path, [names[column] for column in motion])
    return (
        tuple(name for column, name in enumerate(names) if column not in motion),
        np.delete(values, motion, axis=1),
        [note],
    )


def head_motion_note(path: Path, names: Sequence[str]) -> str:
    """The sentence that says which columns are left out as head motion."""
    return (
        f"{path.name}: left out as angles or positions of head or eyes, which are no expression: "
        f"{', '.join(names[:9])}{', …' if len(names) > 9 else ''}."
    )


def _wide_columns(path: Path, names: Sequence[str], values: np.ndarray) -> List[str]:
    """A note on columns whose unit is another than that of the others, such as degrees."""
    low, high = values.min(0), values.max(0)
    wide = np.flatnonzero(high.astype(np.float64) - low > WIDE_SPAN)
    if not len(wide) or not (np.maximum(np.abs(low), np.abs(high)) <= NARROW_PEAK).any():
        return []
    shown = ", ".join(f"{names[column]} ({low[column]:g} to {high[column]:g})" for column in wide[:6])
    return [
        f"{path.name}: far outside the range of the other coefficients: {shown}{', …' if len(wide) > 6 else ''}; take "
        "angles, positions and pixels out of the file, and divide percent by 100."
    ]
