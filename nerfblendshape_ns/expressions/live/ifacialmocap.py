"""The datagrams that iFacialMocap sends: text, one frame each.

``eyeBlink_L-12|jawOpen-40|…|=head#-21.4,-6.2,0.1,…|rightEye#…|leftEye#…|``: coefficients in percent, their names and
values joined by ``-`` or, in version 2, by ``&``; behind ``=head#`` pitch, yaw and roll in degrees, then the position.
Some versions put spaces between. Source: https://www.ifacialmocap.com/for-developer/. The app sends after its
"Destination IP Address" is set, or after it has received a greeting, which is not sent here. Facemotion3d and NVIDIA's
desktop tracker speak the same.
"""

from __future__ import annotations

import math
import re
from typing import Dict

from nerfblendshape_ns.coefficient_names.arkit import arkit_name
from nerfblendshape_ns.expressions.live.frame import MAX_VALUE, LiveFrame, PacketError, turn_of_angles

DEFAULT_PORT = 49983
"""UDP port that the app sends to."""
CELL = re.compile(r"(?P<name>[A-Za-z_]\w*)[-&](?P<value>-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)")
"""A coefficient and its percent, without spaces."""


def decode(data: bytes) -> LiveFrame:
    """Read a datagram; names that are not ARKit's are passed over.

    Raises:
        PacketError: it is no frame of iFacialMocap.
    """
    try:
        text = data.decode("utf-8").replace(" ", "").strip("\0\r\n|")
    except UnicodeDecodeError:
        raise PacketError("no text") from None
    coefficients: Dict[str, float] = {}
    turn = None
    for cell in text.split("|"):
        kind, marked, numbers = cell.strip().lstrip("=").partition("#")
        if marked:
            if kind == "head":
                pitch, yaw, roll = _angles(numbers)
                turn = turn_of_angles(yaw, pitch, roll)
            continue
        found = CELL.fullmatch(kind)
        if found is None:
            raise PacketError(f"no NAME-PERCENT|… but {cell[:20]!r}")
        name, value = arkit_name(found["name"]), float(found["value"]) / 100.0
        if name is not None:
            if not abs(value) <= MAX_VALUE:
                raise PacketError("a value far outside any range")
            coefficients[name] = value
    if not coefficients:
        raise PacketError("no coefficient of ARKit")
    return LiveFrame(coefficients, turn, "iFacialMocap")


def _angles(text: str) -> "list[float]":
    """The first three numbers, from degrees to radians."""
    try:
        values = [math.radians(float(number)) for number in text.split(",")[:3]]
    except ValueError:
        raise PacketError("a head angle is no number") from None
    if len(values) != 3 or not all(math.isfinite(value) and abs(value) <= MAX_VALUE for value in values):
        raise PacketError("head angles that are no three finite numbers")
    return values
