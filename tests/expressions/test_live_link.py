"""Live Link Face: packets byte by byte, streams over loopback, and everything that is no packet."""

import random
import socket
import struct

import numpy as np
import pytest
from waiting import until

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_NAMES
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.live.frame import LiveFrame, PacketError
from nerfblendshape_ns.expressions.live.listener import LOOPBACK, UdpListener
from nerfblendshape_ns.expressions.live.live_link import (
    LIVE_LINK_NAMES,
    MAX_PACKET,
    STREAM_NAMES,
    LiveLinkPacket,
    decode,
    encode,
    encode_coefficients,
)

DEVICE = "01234567-89ab-cdef-0123-456789abcdef"


def test_there_are_52_coefficients_and_9_angles():
    assert len(STREAM_NAMES) == 52 and len(set(LIVE_LINK_NAMES)) == 61 and set(STREAM_NAMES) == set(ARKIT_NAMES)
    assert (STREAM_NAMES[0], STREAM_NAMES[17], STREAM_NAMES[51]) == ("eyeBlinkLeft", "jawOpen", "tongueOut")
    assert STREAM_NAMES[14:17] == ("jawForward", "jawLeft", "jawRight") and LIVE_LINK_NAMES[52] == "headYaw"


def test_the_sideways_mouth_is_named_as_in_recordings_and_by_mediapipe():
    """The 22nd value is the mouth to the right, the 23rd to the left, whatever Epic's enum calls them."""
    values = [0.0] * 61
    values[21], values[22] = 0.25, 0.75
    coefficients = decode(encode(LiveLinkPacket(tuple(values), device=DEVICE))).coefficients()
    assert (coefficients["mouthRight"], coefficients["mouthLeft"]) == (0.25, 0.75)
    assert struct.unpack_from("!61f", encode_coefficients({"mouthLeft": 0.5}, device=DEVICE)[-244:])[22] == 0.5


def test_a_packet_byte_by_byte():
    """Written by hand after the reader in PyLiveLinkFace: version and ``$`` in one, name, frame time, rate, values."""
    values = [0.0] * 61
    values[17] = 0.5
    data = struct.pack("<I", 6) + b"$" + DEVICE.encode() + struct.pack("!i", 6) + b"iPhone"
    data += struct.pack("!if2ib", 1234, 0.25, 60, 1, 61) + struct.pack("!61f", *values)
    packet = decode(data)
    assert (packet.device, packet.subject) == (DEVICE, "iPhone")
    assert (packet.frame, packet.fraction, packet.rate) == (1234, 0.25, (60, 1))
    assert packet.coefficients()["jawOpen"] == 0.5 and sum(packet.coefficients().values()) == 0.5
    assert encode(packet) == data


def test_round_trip():
    data = encode_coefficients({"mouthPucker": 0.75}, subject="Zoë", device=DEVICE, frame=7)
    assert decode(data).coefficients()["mouthPucker"] == 0.75
    assert decode(data).subject == "Zoë"


def test_a_packet_without_a_face():
    data = encode(LiveLinkPacket(None, device=DEVICE))
    assert decode(data).values is None and decode(data).coefficients() == {}
    assert decode(data[:-1]).values is None, "the count may be absent"


def test_a_name_in_two_byte_characters_is_read_over():
    name = "顔".encode("utf-16-be")
    whole = encode_coefficients({"jawOpen": 1.0}, subject="", device=DEVICE)
    start = 1 + 4 + len(DEVICE)
    data = whole[:start] + struct.pack(">i", -1) + name + whole[start + 4 :]
    assert decode(data).subject == "顔" and decode(data).coefficients()["jawOpen"] == 1.0


GOOD = encode_coefficients({"jawOpen": 0.5}, device=DEVICE)
START = 1 + 4 + len(DEVICE) + 4 + len("face")


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "ends after 0 bytes"),
        (b"\x05" + GOOD[1:], "version 5, not 6; in the app's settings choose the capture mode Live Link .ARKit."),
        (GOOD[:-1], "ends after"),
        (GOOD[: START + 10], "ends after"),
        (GOOD + b"\0", "1 bytes follow"),
        (GOOD[:1] + struct.pack(">i", 1 << 30) + GOOD[5:], "longer than any"),
        (GOOD[:1] + struct.pack(">i", -(1 << 31)) + GOOD[5:], "longer than any"),
        (GOOD[:1] + struct.pack(">i", 500) + GOOD[5:], "behind the packet"),
        (GOOD[: START + 16] + b"\x34" + GOOD[START + 17 :], "52 values, not the 61 of ARKit; in the app"),
        (GOOD[:-4] + struct.pack(">f", float("nan")), "not a number"),
        (GOOD[:-4] + struct.pack(">f", float("inf")), "not a number"),
        (GOOD[:-4] + struct.pack(">f", 1e9), "far outside"),
        (b"\x06" * (MAX_PACKET + 1), "more than any packet"),
    ],
)
def test_malformed_packets(data, message):
    with pytest.raises(PacketError, match=message):
        decode(data)


def test_noise_never_raises_anything_else():
    generator = random.Random(0)
    for _ in range(3000):
        data = bytearray(GOOD)
        for _ in range(generator.randrange(1, 6)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        data = data[: generator.randrange(len(data) + 1)] if generator.random() < 0.3 else data
        try:
            decode(bytes(data))
        except PacketError:
            pass


def test_a_wrong_number_of_values_is_not_sent():
    with pytest.raises(PacketError, match="61 values, not 52"):
        encode(LiveLinkPacket((0.0,) * 52))


def test_a_stream_with_rubbish_in_it():
    received = []
    listener = UdpListener("Live Link Face", received.append, port=0)
    listener.start()
    assert listener.start() is None, "a second start does nothing"
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((LOOPBACK, listener.port))
            for frame in range(30):
                sender.send(encode_coefficients({"jawOpen": frame / 30}, device=DEVICE, frame=frame))
                if frame % 3 == 0:
                    sender.send(b"rubbish" * frame)
                until(lambda expected=frame + 1: listener.counts.faces == expected)
            sender.send(encode(LiveLinkPacket(None, device=DEVICE, frame=30)))
            sender.send(encode_coefficients({"jawOpen": 1.0}, device=DEVICE, frame=5))
            until(lambda: listener.counts.late == 1)
        counts = listener.counts
        assert (counts.faces, counts.malformed, counts.empty, counts.late, counts.failed) == (30, 10, 1, 1, 0)
        assert [frame.coefficients["jawOpen"] for frame in received] == pytest.approx(
            [frame / 30 for frame in range(30)]
        )
        assert counts.subject == "face" and "rubbish" not in counts.last_problem and counts.last_problem
        assert listener.faces.per_second() > 0
    finally:
        listener.stop()
    assert listener.port == 0


def test_of_two_phones_the_first_drives_as_long_as_it_sends(monkeypatch):
    received, told, now = [], [], [100.0]
    monkeypatch.setattr("nerfblendshape_ns.expressions.live.listener.time.monotonic", lambda: now[0])
    listener = UdpListener(
        "Live Link Face", lambda frame: received.append(frame.coefficients["jawOpen"]), tell=told.append
    )
    for number, (sender, jaw, passed) in enumerate(
        [
            ("10.0.0.5", 0.1, 0.1),
            ("10.0.0.6", 0.2, 1.0),
            ("10.0.0.6", 0.3, 0.5),
            ("10.0.0.5", 0.4, 3.0),
            ("10.0.0.6", 0.5, 0.1),
        ]
    ):
        listener.handle(encode_coefficients({"jawOpen": jaw}, device=sender, frame=number), sender)
        now[0] += passed
    assert received == pytest.approx([0.1, 0.4, 0.5]) and listener.counts.others == 2
    assert told == ["10.0.0.6 sends packets too; they are left out as long as 10.0.0.5 sends a face."]
    assert listener.status().endswith("Left out: 2 packets of a second sender beside 10.0.0.6.")


def test_packets_that_are_none_are_told_once():
    told = []
    listener = UdpListener("Live Link Face", lambda frame: None, tell=told.append)
    for data in (b"\x05" + GOOD[1:], GOOD[:-1]):
        listener.handle(data, "10.0.0.5")
    assert told == [
        "What 10.0.0.5 sends is no frame of Live Link Face and is left out: packets of version 5, not 6; "
        "in the app's settings choose the capture mode Live Link (ARKit), not MetaHuman Animator."
    ]


def test_loopback_is_the_default_and_a_stopped_listener_frees_its_port():
    listener = UdpListener("Live Link Face", lambda frame: None, port=0)
    listener.start()
    port = listener.port
    bound = listener._socket
    assert bound is not None and bound.getsockname()[0] == LOOPBACK
    listener.stop()
    again = UdpListener("Live Link Face", lambda frame: None, port=port)
    again.start()
    assert again.port == port
    again.stop()


def test_a_failing_receiver_does_not_end_the_stream():
    def fail(frame: LiveFrame) -> None:
        raise RuntimeError("broken")

    listener = UdpListener("Live Link Face", fail)
    for frame in range(3):
        listener.handle(encode_coefficients({}, device=DEVICE, frame=frame))
    assert (listener.counts.faces, listener.counts.failed) == (3, 3)
    assert listener.counts.last_problem == "RuntimeError: broken"


def test_a_clock_that_starts_again_is_followed():
    received = []
    listener = UdpListener("Live Link Face", received.append)
    for frame in (1000, 1001, 999, 0, 1):
        listener.handle(encode_coefficients({}, device=DEVICE, frame=frame))
    assert (len(received), listener.counts.late) == (4, 1)


def test_an_address_that_cannot_be_bound_is_reported():
    with pytest.raises(UserError, match=r"Cannot listen on UDP 192\.0\.2\.1:0 .*choose an address of this machine"):
        UdpListener("Live Link Face", lambda frame: None, host="192.0.2.1", port=0).start()
    with pytest.raises(UserError, match="Cannot listen on UDP"):
        UdpListener("Live Link Face", lambda frame: None, host="no such host.invalid", port=0).start()


def test_head_angles_turn_the_head():
    """As in public recordings: positive yaw to the person's left (the image's right), positive pitch down."""
    frame = decode(encode_coefficients({}, (0.2, 0.0, 0.0) + (0.0,) * 6)).live_frame()
    assert frame.turn is not None and (frame.turn @ [0, 0, 1])[0] == pytest.approx(np.sin(0.2))
    down = decode(encode_coefficients({}, (0.0, 0.2, 0.0) + (0.0,) * 6)).live_frame()
    assert down.turn is not None and (down.turn @ [0, 0, 1])[1] == pytest.approx(-np.sin(0.2))
    lean = decode(encode_coefficients({}, (0.0, 0.0, 0.2) + (0.0,) * 6)).live_frame()
    assert lean.turn is not None and (lean.turn @ [0, 1, 0])[0] == pytest.approx(np.sin(0.2))
    assert decode(encode(LiveLinkPacket(None))).live_frame().turn is None
