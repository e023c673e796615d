"""Tables whose columns have no names: what they are taken for, and how the user names them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Optional

import numpy as np

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_BASIS, LIVE_LINK_ANGLES, NAME_LISTS, NameList
from nerfblendshape_ns.coefficient_names.head_columns import has_neutral_column
from nerfblendshape_ns.coefficient_names.unnamed import basis_of_size, unnamed
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.tracks.base import ExpressionTrack, check_arkit_range, make_track

HEAD_ANGLES = len(LIVE_LINK_ANGLES)
"""Columns that may follow ARKit's 52 coefficients."""


def unnamed_track(
    path: Path, values: np.ndarray, fps: Optional[float], *, times: Optional[np.ndarray] = None, by_size: bool = True
) -> ExpressionTrack:
    """A track of columns without names, which are called ``expr_00``, ``expr_01``, ….

    Args:
        path: the file, for messages.
        values: ``[frames, columns]``.
        fps: rows per second where the user gives them.
        times: seconds of each row where the file has a clock.
        by_size: whether the number of columns says which basis it is (:func:`basis_of_size`).

    Raises:
        UserError: as :func:`~.base.make_track`.
    """
    columns = values.shape[1] if values.ndim == 2 else 0
    # The file may carry the neutral 1 in front; then the basis is known by one column less.
    leading = int(has_neutral_column(values))
    names = ("neutral",) * leading + unnamed(columns - leading)
    basis = basis_of_size(columns - leading) if by_size else "custom"
    return replace(make_track(path, names, values, basis, times=times, fps=fps), unnamed=True)


def say_unnamed(path: Path, track: ExpressionTrack) -> ExpressionTrack:
    """Add to a track of unknown columns the sentence that says how to name them.

    Args:
        path: the file, for messages.
        track: what was read from it, without names of its own.
    """
    count = len(track.names)
    if track.basis_id != "custom":
        return track
    what = f"{path.name}: its {count} columns have no names, and only columns in the same order can drive or be driven"
    if count in (52, 52 + HEAD_ANGLES):
        note = (
            f"{what}; 52 are often ARKit's or MediaPipe's coefficients in their order, which --names arkit52 or "
            "--names mediapipe52 says."
        )
    else:
        note = f"{what}; write their names to {path.stem}_names.txt beside an .npy, one per line."
    return replace(track, notes=(*track.notes, note))


def name_columns(path: Path, track: ExpressionTrack, choice: NameList) -> ExpressionTrack:
    """Give the columns of a file without names those of a known list.

    Args:
        path: the file, for messages.
        track: what was read from it.
        choice: which list.

    Raises:
        UserError: the file has names of its own, or another number of columns, or its values are in percent.
    """
    names = NAME_LISTS[choice]
    count = len(track.names)
    if not track.unnamed:
        raise UserError(f"{path} names its columns ({', '.join(track.names[:3])}, …); leave --names {choice} out.")
    if count not in (len(names), len(names) + HEAD_ANGLES):
        raise UserError(
            f"{path} has {count} columns, but --names {choice} names {len(names)}; leave it out, or take the other "
            "columns out of the file."
        )
    values = track.values[:, : len(names)]
    check_arkit_range(path, names, values)
    notes = list(track.notes)
    if count > len(names):
        notes.append(f"{path.name}: the last {HEAD_ANGLES} columns are taken for angles of head and eyes and left out.")
    return replace(track, names=names, values=values, basis_id=ARKIT_BASIS, notes=tuple(notes), unnamed=False)
