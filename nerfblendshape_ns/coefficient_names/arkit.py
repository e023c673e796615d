"""The 52 coefficients of Apple's ARKit and the spellings that face-capture programs give them."""

from __future__ import annotations

from typing import Dict, List, Literal, Optional, Sequence, Tuple

from nerfblendshape_ns.coefficient_names.head_columns import is_head_motion

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

LIVE_LINK_ANGLES: Tuple[str, ...] = tuple(
    part + angle for part in ("head", "leftEye", "rightEye") for angle in ("Yaw", "Pitch", "Roll")
)
"""What follows ARKit's coefficients in the packets and the recordings of Live Link Face."""

MEDIAPIPE_NAMES: Tuple[str, ...] = ("_neutral", *sorted(set(ARKIT_NAMES) - {"tongueOut"}))
"""The 52 coefficients of MediaPipe's Face Landmarker in its order: a neutral one, then ARKit's by the alphabet without
the tongue."""

NAME_LISTS: Dict[str, Tuple[str, ...]] = {"arkit52": ARKIT_NAMES, "mediapipe52": MEDIAPIPE_NAMES}
"""Names for columns that have none, by the words of ``--names``."""
NameList = Literal["arkit52", "mediapipe52"]
"""A key of :data:`NAME_LISTS`."""

_BY_SPELLING: Dict[str, str] = {name.lower(): name for name in ("_neutral", *ARKIT_NAMES)}


def arkit_name(spelling: str) -> Optional[str]:
    """ARKit's name for a column: ``EyeBlinkLeft``, ``eyeBlink_L``, ``Mouth Smile Right``, ``blendShapes.JawOpen``.

    Args:
        spelling: the column's name.

    Returns:
        The name as ARKit writes it, MediaPipe's ``_neutral`` included; None where it is no ARKit coefficient.
    """
    text = spelling.strip().rpartition(".")[2]
    if text.lower() in _BY_SPELLING:
        return _BY_SPELLING[text.lower()]
    text = text.replace(" ", "").replace("-", "_").lower()
    for short, side in (("_l", "left"), ("_r", "right")):
        if text.endswith(short):
            text = text[: -len(short)] + side
    return _BY_SPELLING.get(text.replace("_", ""))


def spelled_as_arkit(names: Sequence[str]) -> List[str]:
    """ARKit's spelling of the names that are ARKit's where all are, apart from head angles; else the names."""
    spelled = [arkit_name(name) or (name if is_head_motion(name) else None) for name in names]
    return list(names) if None in spelled else [str(name) for name in spelled]


def basis_of_names(names: Sequence[str]) -> str:
    """:data:`ARKIT_BASIS` where all names that are no head angles are ARKit's (or ``_neutral``), else ``custom``."""
    coefficients = [arkit_name(name) for name in names if not is_head_motion(name)]
    return ARKIT_BASIS if coefficients and None not in coefficients else "custom"
