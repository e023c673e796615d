"""The 52 coefficients of Apple's ARKit and the spellings that face-capture programs give them."""

from __future__ import annotations

from typing import Dict, Optional, Sequence, Tuple

ARKIT_BASIS = "arkit52"
"""Basis id of coefficients that are all ARKit's."""

ARKIT_NAMES: Tuple[str, ...] = (
    *("eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft"),
    *("eyeSquintLeft", "eyeWideLeft"),
    *("eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight"),
    *("eyeSquintRight", "eyeWideRight"),
    *("jawForward", "jawRight", "jawLeft", "jawOpen"),
    *("mouthClose", "mouthFunnel", "mouthPucker", "mouthRight", "mouthLeft"),
    *("mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight"),
    *("mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *("mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight"),
    *("mouthUpperUpLeft", "mouthUpperUpRight"),
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut"),
)
"""ARKit's names (``ARFaceAnchor.BlendShapeLocation``) in the order of Live Link Face's columns."""

_BY_SPELLING: Dict[str, str] = {name.lower(): name for name in ARKIT_NAMES}
_BY_SPELLING["_neutral"] = "_neutral"


def arkit_name(spelling: str) -> Optional[str]:
    """ARKit's name for a column such as ``EyeBlinkLeft``, ``eyeBlink_L`` or ``Mouth Smile Right``.

    Args:
        spelling: the column's name.

    Returns:
        The name as ARKit writes it, MediaPipe's ``_neutral`` included; None where it is no ARKit coefficient.
    """
    text = spelling.strip()
    if text.lower() in _BY_SPELLING:
        return _BY_SPELLING[text.lower()]
    text = text.replace(" ", "").replace("-", "_").lower()
    for short, side in (("_l", "left"), ("_r", "right")):
        if text.endswith(short):
            text = text[: -len(short)] + side
    return _BY_SPELLING.get(text.replace("_", ""))


def is_arkit(names: Sequence[str]) -> bool:
    """Whether all names are ARKit's (or MediaPipe's ``_neutral``)."""
    return all(name in _BY_SPELLING.values() for name in names)
