"""One captured frame of a live source, whatever protocol it came by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional, Tuple

import numpy as np
from scipy.spatial.transform import Rotation

MAX_VALUE = 16.0
"""Largest magnitude taken for a coefficient, or for an angle in radians."""


class PacketError(ValueError):
    """A datagram that is none of its protocol."""


@dataclass(frozen=True)
class LiveFrame:
    """ARKit coefficients, and where the head points."""

    coefficients: Dict[str, float]
    """By ARKit's names; empty where no face is seen."""
    turn: Optional[np.ndarray] = None
    """``[3, 3]`` rotation of the head from looking straight at the camera, in the axes of the image (x to its right, y
    up, z out of it); None where the source does not say."""
    subject: str = "face"
    """Name of the sender."""
    clock: Optional[Tuple[str, int, float]] = None
    """The sender's device, frame and part of a frame, by which late packets are told; None where it has no clock."""


def turn_of_angles(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The turn of a head's angles in radians, yaw after pitch after roll.

    Args:
        yaw: positive to the image's right.
        pitch: positive down.
        roll: positive leans the top of the head to the image's left.
    """
    return Rotation.from_euler("YXZ", [yaw, pitch, roll]).as_matrix()
