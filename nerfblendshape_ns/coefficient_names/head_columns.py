"""Columns that are no expression: a neutral 1 in front, and those that say where the head is or looks.

A head that took its pose for an expression would change its shape with it.
"""

from __future__ import annotations

import re

import numpy as np

_MOTION = {"pitch", "yaw", "roll", "euler", "rotation", "rotate", "rot", "quaternion", "quat", "translation", "trans"}
_MOTION |= {"position", "pos", "angle", "angles", "location", "orientation", "degrees", "deg"}
_MOTION |= {f"{kind}{axis}" for kind in ("r", "t", "rot", "pos") for axis in "xyz"} | {"qw", "qx", "qy", "qz"}
_HEAD = {"head", "pose", "face", "neck", "camera", "cam", "gaze"}
_AXES = {"x", "y", "z", "w", "deg", "rad", "degrees", "radians", "cm", "mm", "m", "px", "r", "t", "tilt", "turn", "nod"}
_FACE_PARTS = {"jaw", "mouth", "lip", "lips", "brow", "brows", "eyelid", "eyelids", "lid", "lids", "cheek", "cheeks"}
_FACE_PARTS |= {"chin", "nose", "tongue", "smile", "teeth"}


def is_head_motion(name: str) -> bool:
    """Whether a column is an angle or a position of head, camera or eyes: ``HeadYaw``, ``head_pitch``, ``pose_Rx``.

    Rotations and positions of what moves in a face, such as FLAME's jaw, are expression.
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\D)(?=\d)", " ", name.replace("-", " "))
    words = {word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word}
    # Names without any separation, such as headpitch.
    for word in list(words):
        for head in (*_HEAD, "lefteye", "righteye"):
            if word.startswith(head) and word[len(head) :] in _MOTION | _AXES:
                words |= {head, word[len(head) :]}
    if words & _FACE_PARTS:
        return False
    named_alone = bool(words & _HEAD) and all(word in _HEAD | _AXES or word.isdigit() for word in words - _MOTION)
    return bool(words & _MOTION) or (named_alone and len(words) > 1)


def has_neutral_column(values: np.ndarray) -> bool:
    """Whether the first column of coefficients ``[frames, columns]`` is the neutral 1 that some tools put in front."""
    return values.ndim == 2 and min(values.shape) > 1 and bool(np.allclose(values[:, 0], 1, rtol=0, atol=1e-6))
