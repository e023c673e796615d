"""The datagrams that Live Link Face sends: ARKit's face coefficients, one packet per captured frame.

Layout of version 6 (all numbers big-endian, as Unreal Engine writes them to its network archives):

===================  =======================================================================================
bytes                content
===================  =======================================================================================
1                    uint8, packet version, 6
4 + n                device: int32 length, then so many bytes (36 characters of a UUID)
4 + n                subject: int32 length, then so many bytes
16                   frame time: int32 frame, float32 part of a frame, int32 rate numerator, int32 denominator
1                    uint8, number of values, 61 (0 or absent while no face is seen)
4 x 61               float32 values in the order of :data:`LIVE_LINK_NAMES`
===================  =======================================================================================

Sources: the reader in JimWest/PyLiveLinkFace (``pylivelinkface/pylivelinkface.py``, read 2026-11) for the order of the
fields and the 61 names; it takes version and device length together as ``<I`` and a ``$``, which are the bytes
``06 | 00 00 00 24``. The field sizes are those that the README of think-biq/LLV quotes from Epic's
``AppleARKitLiveLinkSource.cpp``, which also lists what each version added and makes the version a ``uint8``.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Dict, Optional, Sequence, Tuple

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_NAMES, LIVE_LINK_ANGLES
from nerfblendshape_ns.expressions.live.frame import MAX_VALUE, LiveFrame, PacketError, turn_of_angles

VERSION = 6
"""The version read and written; older ones have other fields before the values."""
DEFAULT_PORT = 11111
"""UDP port that Live Link Face sends to by default."""
MAX_PACKET = 2048
"""Bytes; the longest packet has two names of 256 characters and stays under 800."""
MAX_NAME = 512
"""Bytes of device or subject beyond which a length is taken for garbage."""
ARKIT_MODE = "in the app's settings choose the capture mode Live Link (ARKit), not MetaHuman Animator"
"""What to do about packets of the app that hold something else."""

STREAM_NAMES: Tuple[str, ...] = tuple(
    {"jawLeft": "jawRight", "jawRight": "jawLeft"}.get(name, name) for name in ARKIT_NAMES
)
"""ARKit's 52 coefficients in the order of a packet.

Epic's enum calls the 22nd mouthLeft and the 23rd mouthRight; what they hold is the other way round
(``docs/expression_tracks.md`` has the measurement), as in the app's recordings.
"""

LIVE_LINK_NAMES: Tuple[str, ...] = STREAM_NAMES + LIVE_LINK_ANGLES
"""The 61 values of a packet: coefficients in [0, 1], then angles."""


@dataclass(frozen=True)
class LiveLinkPacket:
    """One captured frame."""

    values: Optional[Tuple[float, ...]]
    """The 61 values; None where the sender sees no face."""
    subject: str = "face"
    """Name that the sender's user gave."""
    device: str = "00000000-0000-0000-0000-000000000000"
    """Identity of the sender."""
    frame: int = 0
    """Number of the frame in the sender's clock."""
    fraction: float = 0.0
    """Part of a frame beyond ``frame``."""
    rate: Tuple[int, int] = (60, 1)
    """Frames per second, numerator and denominator."""

    def coefficients(self) -> Dict[str, float]:
        """The 52 ARKit coefficients by name; empty where there is no face."""
        return {} if self.values is None else dict(zip(STREAM_NAMES, self.values))

    def live_frame(self) -> LiveFrame:
        """What drives a model.

        Positive yaw turns to the person's left and positive pitch down, as the eyes' angles and ``eyeLook…`` of a
        public recording show; positive roll leans to the person's left.
        """
        turn = None
        if self.values is not None:
            yaw, pitch, roll = self.values[len(STREAM_NAMES) : len(STREAM_NAMES) + 3]
            turn = turn_of_angles(yaw, pitch, -roll)
        return LiveFrame(self.coefficients(), turn, self.subject, (self.device, self.frame, self.fraction))


def encode(packet: LiveLinkPacket) -> bytes:
    """The datagram of a packet.

    Raises:
        PacketError: the packet has another number of values than 61.
    """
    data = struct.pack(">B", VERSION) + _encode_name(packet.device) + _encode_name(packet.subject)
    data += struct.pack(">ifii", packet.frame, packet.fraction, *packet.rate)
    if packet.values is None:
        return data + b"\0"
    if len(packet.values) != len(LIVE_LINK_NAMES):
        raise PacketError(f"a packet has {len(LIVE_LINK_NAMES)} values, not {len(packet.values)}")
    return data + struct.pack(f">B{len(packet.values)}f", len(packet.values), *packet.values)


def encode_coefficients(coefficients: Dict[str, float], angles: Sequence[float] = (0.0,) * 9, **fields) -> bytes:
    """The datagram for coefficients by name; those that are not named are 0.

    Args:
        coefficients: any of ARKit's 52.
        angles: of head, left and right eye: yaw, pitch and roll each.
        fields: further fields of :class:`LiveLinkPacket`.
    """
    values = tuple(float(coefficients.get(name, 0.0)) for name in STREAM_NAMES) + tuple(angles)
    return encode(LiveLinkPacket(values, **fields))


def decode(data: bytes) -> LiveLinkPacket:
    """Read a datagram. Nothing that it holds makes this raise anything but :class:`PacketError`.

    Raises:
        PacketError: another version, a length that cannot be, too few or too many bytes, values that are not finite.
    """
    if len(data) > MAX_PACKET:
        raise PacketError(f"{len(data)} bytes are more than any packet has; {ARKIT_MODE}")
    try:
        if data[0] != VERSION:
            raise PacketError(f"packets of version {data[0]}, not {VERSION}; {ARKIT_MODE}")
        device, offset = _decode_name(data, 1)
        subject, offset = _decode_name(data, offset)
        frame, fraction, *rate = struct.unpack_from(">ifii", data, offset)
        offset += 16
        if not math.isfinite(fraction):
            raise PacketError("the frame time is not a number")
        count = data[offset] if offset < len(data) else 0
        values = None
        if count:
            if count != len(LIVE_LINK_NAMES):
                raise PacketError(f"{count} values, not the {len(LIVE_LINK_NAMES)} of ARKit; {ARKIT_MODE}")
            values = struct.unpack_from(f">{count}f", data, offset + 1)
    except (struct.error, IndexError):
        raise PacketError(f"the packet ends after {len(data)} bytes") from None
    if len(data) > offset + 1 + 4 * count:
        raise PacketError(f"{len(data) - offset - 1 - 4 * count} bytes follow the values")
    if values is not None and not all(math.isfinite(value) and abs(value) <= MAX_VALUE for value in values):
        raise PacketError("a value is not a number or far outside any range")
    return LiveLinkPacket(values, subject, device, frame, fraction, (rate[0], rate[1]))


def _encode_name(name: str) -> bytes:
    data = name.encode("utf-8")
    return struct.pack(">i", len(data)) + data


def _decode_name(data: bytes, offset: int) -> Tuple[str, int]:
    """A name and the offset behind it. Unreal gives a negative length to names in two-byte characters."""
    (length,) = struct.unpack_from(">i", data, offset)
    num_bytes = length if length >= 0 else -2 * length
    start, end = offset + 4, offset + 4 + num_bytes
    if num_bytes > MAX_NAME:
        raise PacketError(f"a name of {num_bytes} bytes is longer than any")
    if end > len(data):
        raise PacketError("a name ends behind the packet")
    text = data[start:end].decode("utf-8" if length >= 0 else "utf-16-be", errors="replace")
    return "".join(character for character in text if character.isprintable()), end
