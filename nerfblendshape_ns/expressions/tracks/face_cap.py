"""Recordings of the iOS app Face Cap in its text form.

Lines start with their kind: ``info`` (ignored), ``bs`` and the coefficients' names, and ``k`` for a moment:
milliseconds since the start, head position (3), head rotation (3), rotation of left and right eye (2 each), then the
coefficients.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import List, Optional

import numpy as np

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_BASIS, arkit_name
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.tracks.base import ExpressionReader, ExpressionTrack, make_track

# The kind, the time, and ten numbers of head and eyes come before the coefficients.
_FIRST_COEFFICIENT = 12


class FaceCapReader(ExpressionReader):
    """Face Cap's ``.txt``; the eye and head rotations are left out, ARKit's gaze coefficients stay."""

    name = "face-cap"
    looked_for = ".txt of Face Cap (lines that start with bs and k)"

    def matches(self, path: Path) -> bool:
        """A ``.txt`` or ``.csv`` file whose first line that is no ``info`` starts with ``bs,`` or ``k,``."""
        if path.suffix.lower() not in (".txt", ".csv") or not path.is_file():
            return False
        with path.open("rb") as file:
            for line in iter(lambda: file.readline(1 << 16), b""):
                text = line.removeprefix(codecs.BOM_UTF8).strip().lower()
                if text and not text.startswith(b"info"):
                    return text.startswith((b"bs,", b"k,"))
        return False

    def read(self, path: Path, fps: Optional[float]) -> ExpressionTrack:
        """See :meth:`ExpressionReader.read`."""
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (UnicodeDecodeError, OSError) as error:
            raise UserError(f"{path} cannot be read as text ({error}); export the recording again.") from None
        names: Optional[List[str]] = None
        moments = []
        for number, line in enumerate(lines, start=1):
            kind, *cells = [cell.strip() for cell in line.strip().rstrip(",").split(",")]
            kind = kind.lower()
            if kind == "bs":
                names = [arkit_name(cell) or cell for cell in cells]
            elif kind == "k":
                try:
                    moments.append([float(cell) for cell in cells])
                except ValueError:
                    raise UserError(
                        f"{path}: line {number} holds something else than numbers; export it again."
                    ) from None
                if len(moments[-1]) != len(moments[0]):
                    raise UserError(
                        f"{path}: line {number} has {len(cells)} numbers, not {len(moments[0])}; export it again."
                    )
        if names is None:
            raise UserError(f"{path} has no line of names (bs,…); export the recording again from Face Cap.")
        if not moments:
            raise UserError(f"{path} has no recorded moment (k,…); export the recording again from Face Cap.")
        if len(moments[0]) < _FIRST_COEFFICIENT:
            raise UserError(f"{path} has moments (k,…) without coefficients; export the recording again from Face Cap.")
        table = np.array(moments)
        basis = ARKIT_BASIS if all(arkit_name(name) for name in names) else "custom"
        return make_track(path, names, table[:, _FIRST_COEFFICIENT - 1 :], basis, times=1e-3 * table[:, 0], fps=fps)
