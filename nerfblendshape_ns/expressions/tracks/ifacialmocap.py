"""What the iOS app iFacialMocap sends, kept as text: one line per frame.

``eyeBlink_L-12|jawOpen-40|…|=head#-21.4,-6.2,…|rightEye#…|leftEye#…|``: coefficients in percent, their names and values
joined by ``-`` or, in version 2, by ``&``; behind ``=`` angles and positions. A line carries no time.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, Optional

import numpy as np

from nerfblendshape_ns.coefficient_names.arkit import arkit_name, basis_of_names
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.live.ifacialmocap import CELL
from nerfblendshape_ns.expressions.tracks.base import ExpressionReader, ExpressionTrack, make_track

_FIRST_CELLS = re.compile(rb"[A-Za-z_]\w* *[-&] *-?\d+(\.\d*)?([eE][+-]?\d+)? *\| *[A-Za-z_]\w* *[-&]")


class IFacialMocapReader(ExpressionReader):
    """iFacialMocap's frames as text, one per line; what is not ARKit's is left out, and so are head and eye angles."""

    name = "ifacialmocap"
    looked_for = ".txt of iFacialMocap (lines of NAME-PERCENT|NAME-PERCENT|…)"

    def matches(self, path: Path) -> bool:
        """A ``.txt`` file that begins with a name and a number, and a bar behind them."""
        if path.suffix.lower() != ".txt" or not path.is_file():
            return False
        with path.open("rb") as file:
            return _FIRST_CELLS.match(file.read(4096).lstrip(b"\xef\xbb\xbf \r\n")) is not None

    def read(self, path: Path, fps: Optional[float]) -> ExpressionTrack:
        """See :meth:`ExpressionReader.read`."""
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (UnicodeDecodeError, OSError) as error:
            raise UserError(f"{path} cannot be read as text ({error}); record it again.") from None
        rows: List[Dict[str, float]] = []
        for number, line in enumerate(lines, start=1):
            cells = "".join(line.split()).split("=")[0].split("|")
            found = [CELL.fullmatch(cell) for cell in cells if cell and "tracking" not in cell.lower()]
            row = {arkit_name(cell["name"]) or cell["name"]: float(cell["value"]) for cell in found if cell}
            if None in found or (rows and row and row.keys() != rows[0].keys()):
                raise UserError(
                    f"{path}: line {number} is not NAME-PERCENT|… with the first line's names; take it out."
                )
            if row:
                rows.append(row)
        if not rows:
            raise UserError(f"{path} has no line with coefficients; record it again.")
        # The app sends a hapihapi too, which is none of ARKit's.
        names = [name for name in rows[0] if arkit_name(name)] or list(rows[0])
        values = np.array([[row[name] for name in names] for row in rows]) / 100.0
        return make_track(path, names, values, basis_of_names(names), fps=fps)
