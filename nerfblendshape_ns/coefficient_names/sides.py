"""Which coefficients are the left and right side of the same expression, by their names."""

from __future__ import annotations

import re
from typing import Dict, Sequence

_SIDES = {"Left": "Right", "left": "right", "L": "R", "l": "r"}
_PATTERNS = {
    # Words are sides where a new word starts (LeftEye, eye_left) or at the end; letters only at the end (brow_L).
    "Left": re.compile(r"Left(?![a-z])"),
    "left": re.compile(r"(?<![A-Za-z])left(?![a-z])|left$"),
    "L": re.compile(r"(?<=[_\-. ])L$"),
    "l": re.compile(r"(?<=[_\-. ])l$"),
}
_SIDEWAYS = re.compile(r"(jaw|mouth)_?left", re.IGNORECASE)


def side_pairs(names: Sequence[str], sideways: bool = False) -> Dict[int, int]:
    """For each coefficient of a left/right pair, the index of the other side; both directions.

    Args:
        names: of all coefficients.
        sideways: also pair ``jawLeft`` with ``jawRight`` and ``mouthLeft`` with ``mouthRight``: these are not two sides
            of the face but the two directions of one sideways motion.
    """
    index_of = {name: index for index, name in enumerate(names)}
    pairs: Dict[int, int] = {}
    for index, name in enumerate(names):
        if not sideways and _SIDEWAYS.fullmatch(name):
            continue
        for side, pattern in _PATTERNS.items():
            partner = index_of.get(pattern.sub(_SIDES[side], name))
            if partner is not None and partner != index:
                pairs[index], pairs[partner] = partner, index
    return pairs
