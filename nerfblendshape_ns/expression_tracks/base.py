"""What every reader of expression coefficients returns, and what a reader is.

A new kind of file is one module with a subclass of :class:`ExpressionSource` and its entry in
:data:`nerfblendshape_ns.expression_tracks.SOURCES`. The subclass says which paths it takes (``matches``), and reads one
into an :class:`ExpressionTrack` (``read``), for which :func:`make_track` does the checks that all readers share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional, Sequence, Tuple

import numpy as np
from jaxtyping import Float32, Float64

from nerfblendshape_ns.errors import UserError

HOLD_SECONDS = 0.5
"""How far beyond its ends a track's first and last row may be held."""


@dataclass(frozen=True)
class ExpressionTrack:
    """Expression coefficients over time."""

    names: Tuple[str, ...]
    """Name of each coefficient."""
    values: Float32[np.ndarray, "frames basis"]
    """Coefficients in the file's own units; neutral is 0, no leading neutral 1."""
    fps: Optional[float]
    """Rows a second (the median where the clock is irregular); None where the file has no clock and none was given."""
    basis_id: str
    """Which basis they belong to: ``arkit52``, ``flame``, ``bfm79``, ``facewarehouse46``, ``openface_au``, ``custom``,
    or what the file says."""
    times: Optional[Float64[np.ndarray, "frames"]] = None
    """Seconds of each row since the first, strictly ascending; None exactly where ``fps`` is None."""
    notes: Tuple[str, ...] = ()
    """What was done to the file's contents that its user should know, in sentences."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def duration(self) -> float:
        """Seconds from the first row to the last; 0 without a clock."""
        return 0.0 if self.times is None else float(self.times[-1])

    def with_fps(self, fps: float) -> ExpressionTrack:
        """The same rows as if recorded at ``fps`` rows a second, whatever the file's own clock says."""
        return replace(self, fps=float(fps), times=np.arange(len(self)) / float(fps))

    def at(self, times: Float64[np.ndarray, "wanted"]) -> Float32[np.ndarray, "wanted basis"]:
        """Coefficients at other times, linear between rows; before the first and after the last row those are held.

        Args:
            times: seconds since the first row.

        Raises:
            UserError: the track has no clock.
        """
        if self.times is None:
            raise UserError("the expression file says nothing of time; give its rows a second.")
        columns = [np.interp(times, self.times, column) for column in self.values.T.astype(np.float64)]
        return np.stack(columns, axis=1).astype(np.float32)

    def resampled(self, fps: float) -> ExpressionTrack:
        """The track at ``fps`` evenly spaced rows a second, over the same stretch of time.

        Raises:
            UserError: the track has no clock.
        """
        count = int(np.floor(self.duration * fps + 1e-6)) + 1
        times = np.arange(count) / float(fps)
        return replace(self, values=self.at(times), fps=float(fps), times=times)


class ExpressionSource(ABC):
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
            fps: rows a second for files without a clock; those with one keep theirs.

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
    """Check what a reader found, take a leading neutral 1 out, and make the track.

    Args:
        path: where it was read, for messages.
        names: name of each column.
        values: ``[frames, basis]`` real numbers.
        basis_id: id of the basis.
        times: seconds of each row on any clock; None where the file has none.
        fps: rows a second; used without ``times``.
        notes: sentences for the user.

    Raises:
        UserError: no rows, values that are not finite, names that repeat, or times that do not ascend.
    """
    names = tuple(str(name) for name in names)
    values = np.asarray(values)
    if values.ndim != 2 or 0 in values.shape:
        raise UserError(
            f"{path} holds no [frames, coefficients] table but shape {values.shape}; write one row a frame."
        )
    if values.dtype.kind not in "fiu":
        raise UserError(f"{path} holds {values.dtype} values where coefficients are numbers; write float32.")
    if len(names) != values.shape[1]:
        raise UserError(f"{path} has {values.shape[1]} coefficients but {len(names)} names; write one name for each.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f"{path} names {', '.join(repeated)} more than once; give every coefficient its own name.")
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise UserError(
            f"{path} has {len(bad)} values that are not finite, the first in row {row}, {names[column]}; "
            "fill them in or extract the coefficients again."
        )
    notes = list(notes)
    if values.shape[1] > 1 and len(values) > 1 and bool((values[:, 0] == 1).all()):
        names, values = names[1:], values[:, 1:]
        notes.append(f"{path.name}: the leading neutral coefficient, always 1, is left out; the model adds its own.")
    if fps is not None and not (np.isfinite(fps) and fps > 0):
        raise UserError(f"{fps:g} frames a second is no rate; give a number above 0.")
    if times is None:
        times = None if fps is None else np.arange(len(values)) / fps
    else:
        times = np.asarray(times, dtype=np.float64) - float(times[0])
        steps = np.diff(times)
        if len(steps) and not (steps > 0).all():
            row = int(np.flatnonzero(~(steps > 0))[0]) + 1
            raise UserError(
                f"{path}: the time of row {row} is not after that of the row before; sort the rows by time."
            )
        fps = round(float(1.0 / np.median(steps)), 4) if len(steps) else fps
        if fps is None:
            times = None
    return ExpressionTrack(names, values.astype(np.float32), fps, basis_id, times, tuple(notes))
