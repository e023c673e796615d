"""Which coefficients act on the upper and which on the lower face, and which turn the eyes, by their names."""

from __future__ import annotations

from typing import List, Sequence, Tuple

UPPER = ("eye", "brow")
"""First letters of coefficients that act above the middle of the nose; ARKit's and FLAME's names."""
LOWER = ("jaw", "mouth", "tongue", "cheekPuff")
"""First letters of coefficients that act below it. Others (cheekSquint, noseSneer) belong to both."""
GAZE = ("eyeLook", "eye_")
"""First letters of coefficients that turn the eyeballs."""
GAZE_BEYOND = 0.5
"""How far gaze may leave its training range where eyes turn, at either end, as a fraction of the range."""


def gaze(names: Sequence[str]) -> List[bool]:
    """Whether each coefficient turns an eyeball."""
    return [name.startswith(GAZE) for name in names]


def upper_and_lower(names: Sequence[str]) -> Tuple[List[bool], List[bool]]:
    """Whether each coefficient acts on the upper face alone, and on the lower face alone."""
    return [name.startswith(UPPER) for name in names], [name.startswith(LOWER) for name in names]
