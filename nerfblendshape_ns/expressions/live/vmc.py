"""The Virtual Motion Capture protocol: OSC messages over UDP, as VTuber programs send them.

``/VMC/Ext/Blend/Val NAME VALUE`` sets a coefficient, ``/VMC/Ext/Blend/Apply`` ends a frame, and
``/VMC/Ext/Bone/Pos NAME px py pz qx qy qz qw`` gives a bone's rotation from its parent's in Unity's left-handed axes (x
to the avatar's right, y up, z forwards). Other messages are passed over. Source: https://protocol.vmc.info/.
"""

from __future__ import annotations

import math
from typing import Any, Dict, Optional

import numpy as np
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.coefficient_names.arkit import arkit_name
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.live.frame import MAX_VALUE, LiveFrame, PacketError

DEFAULT_PORT = 39539
"""UDP port of programs that receive a performance."""
BONES = ("Neck", "Head")
"""Bones whose rotations turn the head, from the body outwards."""


class VmcDecoder:
    """Gathers the messages of a frame, which may come in several datagrams.

    Raises:
        UserError: python-osc is not installed.
    """

    def __init__(self) -> None:
        try:
            from pythonosc.osc_packet import OscPacket  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise UserError("VMC needs the package python-osc: pip install python-osc.") from None
        self._parse = OscPacket
        self._coefficients: Dict[str, float] = {}
        self._bones: Dict[str, np.ndarray] = {}

    def __call__(self, data: bytes) -> Optional[LiveFrame]:
        """Take one datagram.

        Returns:
            The frame that it ends, None where it ends none.

        Raises:
            PacketError: it is no OSC, holds no VMC message, or a message with other values than VMC's.
        """
        try:
            messages = [timed.message for timed in self._parse(data).messages]
        except Exception as error:  # Whatever python-osc raises on garbage, too deep nesting among it.
            raise PacketError(f"no OSC ({type(error).__name__})") from None
        if not any(message.address.startswith("/VMC/") for message in messages):
            raise PacketError("no VMC message")
        complete = None
        for message in messages:
            values = list(message.params)
            if message.address == "/VMC/Ext/Blend/Val":
                name, value = _named(values, 1)
                known = arkit_name(name)
                if known is not None:
                    self._coefficients[known] = value[0]
            elif message.address == "/VMC/Ext/Bone/Pos":
                name, value = _named(values, 7)
                if name in BONES:
                    self._bones[name] = _turn_of_quaternion(value[3:])
            elif message.address == "/VMC/Ext/Blend/Apply":
                complete = self._frame()
        return complete

    def _frame(self) -> LiveFrame:
        if not self._coefficients:
            raise PacketError("none of ARKit's coefficients; switch on perfect sync (52 blendshapes) in the sender")
        turn = None
        for bone in BONES:
            if bone in self._bones:
                turn = self._bones[bone] if turn is None else turn @ self._bones[bone]
        return LiveFrame(dict(self._coefficients), turn, "VMC")


def _named(values: "list[Any]", count: int) -> "tuple[str, list[float]]":
    """A name and the numbers behind it."""
    if len(values) != count + 1 or not isinstance(values[0], str):
        raise PacketError(f"a message without a name and {count} numbers")
    numbers = values[1:]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            raise PacketError("a value that is no number")
    if count == 1 and abs(numbers[0]) > MAX_VALUE:
        raise PacketError("a value far outside any range")
    return values[0], [float(number) for number in numbers]


def _turn_of_quaternion(quaternion: "list[float]") -> np.ndarray:
    """A rotation ``[3, 3]`` in the image's axes from Unity's quaternion x, y, z, w.

    The avatar faces Unity's +z and the camera's viewer, so x changes its sign, and with it rotations about y and z.
    """
    x, y, z, w = quaternion
    if not 0.5 < x * x + y * y + z * z + w * w < 2.0:
        raise PacketError("a rotation that is no unit quaternion")
    return Rotation.from_quat([x, -y, -z, w]).as_matrix()
