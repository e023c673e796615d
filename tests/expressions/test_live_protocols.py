"""VMC over OSC and iFacialMocap's text: what senders send, and everything else."""

import random
import socket

import numpy as np
import pytest
from waiting import until

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.live import ifacialmocap, vmc
from nerfblendshape_ns.expressions.live.frame import PacketError
from nerfblendshape_ns.expressions.live.listener import LOOPBACK, PROTOCOLS, UdpListener

FRAME = (
    "mouthSmile_R-0|eyeLookOut_L-0|jawOpen-12|browInnerUp-20|hapihapi-0|"
    "=head#-21.4,-6.0,-6.6,-0.03,-0.10,-0.65|rightEye#6.0,2.4,0.2|leftEye#6.0,-1.6,-0.1|"
)


def test_a_frame_of_ifacialmocap():
    frame = ifacialmocap.decode(FRAME.encode())
    assert frame.coefficients == pytest.approx(
        {"mouthSmileRight": 0.0, "eyeLookOutLeft": 0.0, "jawOpen": 0.12, "browInnerUp": 0.2}
    )
    nose = frame.turn @ [0, 0, 1]
    assert nose[1] > 0.3 and nose[0] < -0.05, "negative pitch is up, negative yaw to the image's left"
    assert ifacialmocap.decode(b"jawOpen&12.5|").coefficients["jawOpen"] == pytest.approx(0.125)
    assert ifacialmocap.decode(b"jawOpen-5|").turn is None
    spaced = ifacialmocap.decode(b"jawOpen - 5 | eyeBlink_L - 7 |= head # 0, 3.0, 0 |")
    assert spaced.coefficients == {"jawOpen": 0.05, "eyeBlinkLeft": 0.07} and spaced.turn is not None
    small = ifacialmocap.decode(b"jawOpen-2.5e-05|eyeBlink_L-1E+1|").coefficients
    assert small == pytest.approx({"jawOpen": 2.5e-7, "eyeBlinkLeft": 0.1}), "as programs write numbers near 0"


@pytest.mark.parametrize(
    "data, message",
    [
        (b"\xff\xfe", "no text"),
        (b"", "no NAME-PERCENT"),
        (b"jawOpen=3|", "but 'jawOpen=3'"),
        (b"mine-3|", "no coefficient of ARKit"),
        (b"jawOpen-999999|", "far outside"),
        (b"jawOpen-3|=head#1,2|", "three finite numbers"),
        (b"jawOpen-3|=head#1,2,nan|", "three finite numbers"),
        (b"jawOpen-3|=head#a,b,c|", "no number"),
    ],
)
def test_what_is_no_frame_of_ifacialmocap(data, message):
    with pytest.raises(PacketError, match=message):
        ifacialmocap.decode(data)


def message(address: str, *values) -> bytes:
    builder = pytest.importorskip("pythonosc.osc_message_builder")
    made = builder.OscMessageBuilder(address)
    for value in values:
        made.add_arg(value)
    return made.build().dgram


def bundle(*messages) -> bytes:
    builder = pytest.importorskip("pythonosc.osc_bundle_builder")
    from pythonosc.osc_message import OscMessage

    made = builder.OscBundleBuilder(builder.IMMEDIATELY)
    for content in messages:
        made.add_content(OscMessage(content))
    return made.build().dgram


def test_a_frame_of_vmc_in_one_bundle_or_in_many_messages():
    messages = [
        message("/VMC/Ext/Bone/Pos", "Head", 0.0, 1.5, 0.0, 0.0, 0.1, 0.0, 0.995),
        message("/VMC/Ext/Bone/Pos", "Hips", 0.0, 1.0, 0.0, 0.0, 0.7, 0.0, 0.7),
        message("/VMC/Ext/Blend/Val", "JawOpen", 0.5),
        message("/VMC/Ext/Blend/Val", "Joy", 1.0),
        message("/VMC/Ext/Blend/Apply"),
    ]
    whole = vmc.VmcDecoder()(bundle(*messages))
    single = vmc.VmcDecoder()
    parts = [single(content) for content in messages]
    assert parts[:-1] == [None] * 4
    for frame in (whole, parts[-1]):
        assert frame.coefficients == {"jawOpen": 0.5}
        # About Unity's up axis an avatar turns to its right, which is the image's left.
        assert (frame.turn @ [0, 0, 1])[0] == pytest.approx(
            -np.sin(2 * np.arcsin(0.1 / np.hypot(0.1, 0.995))), abs=1e-6
        )


def test_neck_and_head_turn_together():
    pytest.importorskip("pythonosc")
    decoder = vmc.VmcDecoder()
    half = np.sin(np.radians(5)), np.cos(np.radians(5))
    for bone in ("Head", "Neck"):
        decoder(message("/VMC/Ext/Bone/Pos", bone, 0.0, 0.0, 0.0, float(half[0]), 0.0, 0.0, float(half[1])))
    decoder(message("/VMC/Ext/Blend/Val", "jawOpen", 0.5))
    frame = decoder(message("/VMC/Ext/Blend/Apply"))
    assert np.degrees(np.arcsin(-(frame.turn @ [0, 0, 1])[1])) == pytest.approx(20, abs=1e-3), "down"


def test_what_is_no_vmc():
    good = message("/VMC/Ext/Blend/Val", "jawOpen", 0.5)
    for data, problem in [
        (b"rubbish", "no OSC"),
        (b"#bundle\0", "no OSC|no VMC"),
        (message("/other", 1.0), "no VMC message"),
        (message("/VMC/Ext/Blend/Val", 1.0, 2.0), "a name and 1 numbers"),
        (message("/VMC/Ext/Blend/Val", "jawOpen"), "a name and 1 numbers"),
        (message("/VMC/Ext/Blend/Val", "jawOpen", float("nan")), "no number"),
        (message("/VMC/Ext/Blend/Val", "jawOpen", 1e9), "far outside"),
        (message("/VMC/Ext/Bone/Pos", "Head", *[0.0] * 7), "unit quaternion"),
        (message("/VMC/Ext/Blend/Apply"), "none of ARKit's coefficients; switch on perfect sync"),
    ]:
        with pytest.raises(PacketError, match=problem):
            vmc.VmcDecoder()(data)
    generator = random.Random(0)
    decoder, whole = vmc.VmcDecoder(), bundle(good, message("/VMC/Ext/Blend/Apply"))
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(generator.randrange(1, 6)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        try:
            decoder(bytes(data[: generator.randrange(len(data) + 1)]))
        except PacketError:
            pass
    nested = b""
    for _ in range(2500):
        nested = b"#bundle\0" + bytes(8) + len(nested).to_bytes(4, "big") + nested
    with pytest.raises(PacketError):
        vmc.VmcDecoder()(nested[-60_000:])


@pytest.mark.parametrize("name", ["VMC (OSC)", "iFacialMocap"])
def test_a_stream_over_loopback(name):
    def datagrams(value: int) -> list:
        if name == "iFacialMocap":
            return [f"jawOpen-{value}|=head#0,0,0,0,0,0|".encode()]
        return [message("/VMC/Ext/Blend/Val", "JawOpen", value / 100), message("/VMC/Ext/Blend/Apply")]

    datagrams(0)  # Skips here where python-osc is missing.
    received = []
    listener = UdpListener(name, received.append, port=0)
    listener.start()
    try:
        assert listener._socket.getsockname()[0] == LOOPBACK
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((LOOPBACK, listener.port))
            for value in range(20):
                for data in (*datagrams(value), b"rubbish"):
                    sender.send(data)
                until(lambda both=(value + 1, value + 1): (len(received), listener.counts.malformed) == both)
        assert (listener.counts.faces, listener.counts.malformed, listener.counts.failed) == (20, 20, 0)
        assert [frame.coefficients["jawOpen"] for frame in received] == pytest.approx(np.arange(20) / 100)
        assert "20 frames" in listener.status() and "Dropped: 20 malformed" in listener.status()
    finally:
        listener.stop()


def test_vmc_without_its_package_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pythonosc.osc_packet", None)
    with pytest.raises(UserError, match="VMC needs the package python-osc: pip install python-osc"):
        UdpListener("VMC (OSC)", lambda frame: None)


def test_the_ports_are_those_of_the_senders():
    assert {name: protocol.port for name, protocol in PROTOCOLS.items()} == {
        "Live Link Face": 11111,
        "VMC (OSC)": 39539,
        "iFacialMocap": 49983,
    }
