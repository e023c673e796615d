"""The controls of live driving, moved as a browser's messages move them."""

from __future__ import annotations

import html
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from panel_rig import Rig, table
from waiting import until

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.live.frame import LiveFrame, turn_of_angles
from nerfblendshape_ns.expressions.live.live_link import encode_coefficients
from nerfblendshape_ns.viewer import live_camera
from nerfblendshape_ns.viewer.bound_controls import as_markdown
from nerfblendshape_ns.viewer.live_panel import CAMERA
from nerfblendshape_ns.viewer.session import offered_camera
from nerfblendshape_ns.viewer.state import changes_image, is_streamed


def test_live_is_off_until_it_is_ticked(rig):
    live = rig.panel.live
    assert live.source is None
    rig.send(live.receive, True)
    assert rig.store.state.source == "live" and live.source.port > 0
    live.source.handle(encode_coefficients({"jawOpen": 0.3, "browInnerUp": 1.0}, subject="Ada"))
    np.testing.assert_allclose(rig.store.state.base(rig.actions.table), [0.3, 0, 0, 0], atol=1e-6)
    assert "Ada: 1 frames" in live.describe() and "4 coefficients of this avatar" in live.describe()
    assert live.describe().endswith("9 images per second.")
    live.source.handle(b"rubbish")
    assert "1 malformed" in live.describe()
    rig.send(live.calibrate)
    live.source.handle(encode_coefficients({"jawOpen": 0.3, "browInnerUp": 1.0}, subject="Ada", frame=1))
    np.testing.assert_allclose(rig.store.state.live, np.zeros(4), atol=1e-6)
    rig.send(live.retarget, "none")
    live.source.handle(encode_coefficients({"jawOpen": 0.5, "browInnerUp": 1.0}, subject="Ada", frame=2))
    np.testing.assert_allclose(rig.store.state.live, [0.2, 0, 0, 0], atol=1e-6)  # The calibration stays.
    until(lambda: "Listening" in live.status.content)
    assert rig.slider("jawOpen").value == 0, "sliders rest while a stream comes"
    rig.send(live.receive, False)
    assert live.source is None
    assert live.status.content.startswith("Off")
    assert rig.slider("jawOpen").value == pytest.approx(0.2), "what stays is what the sliders show"


def test_what_stopping_says_stays(rig):
    """The thread that says what is received may be about to write."""
    live, looks = rig.panel.live, threading.Event()

    class Status:
        text = ""

        @property
        def content(self) -> str:
            if threading.current_thread() is not threading.main_thread():
                looks.set()
                time.sleep(0.5)
            return self.text

        @content.setter
        def content(self, text: str) -> None:
            self.text = text

    live.status = status = Status()
    rig.send(live.receive, True)
    assert looks.wait(60)
    rig.send(live.receive, False)
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "nbs-live-status"])
    assert status.text.startswith("Off")


def test_an_address_that_cannot_be_bound_unticks_listen(rig):
    rig.panel.live.address.value = "192.0.2.1"
    rig.send(rig.panel.live.receive, True)
    assert rig.panel.live.source is None and not rig.panel.live.receive.value
    assert "Cannot listen on UDP 192.0.2.1" in rig.client.notes[-1]
    assert rig.store.state.source == "captured frame"


class Camera:
    """Stands for the tracked camera."""

    def __init__(self, source: str, receive: Any) -> None:
        self.source, self.take, self.running, self.problem = source, receive, False, ""

    def start(self) -> None:
        if self.source == "7":
            raise UserError("Camera 7 gives no image; connect it.")
        self.running = True

    def stop(self) -> None:
        self.running = False

    def status(self) -> str:
        return "Camera: 30 frames per second tracked."


def test_a_camera_moves_face_and_head(rig, monkeypatch):
    monkeypatch.setattr(live_camera, "CameraSource", Camera)
    live = rig.panel.live
    rig.send(live.kind, "Camera")
    assert live.camera.visible and not live.port.visible and live.camera.value == "clip.mp4"
    rig.send(live.receive, True)
    camera = live.source
    assert camera.running and camera.source == "clip.mp4"
    for _ in range(40):
        camera.take(LiveFrame({"jawOpen": 0.3}, np.eye(3)), 5.0)
    turn = turn_of_angles(0.1, 0.0, 0.0)
    camera.take(LiveFrame({"jawOpen": 0.3}, turn), 6.0)
    np.testing.assert_allclose(rig.store.state.turn, turn, atol=0.01)
    assert rig.store.state.came == 6.0 and rig.store.state.live[0] == pytest.approx(0.3)
    rig.send(live.turn_head, False)
    camera.take(LiveFrame({"jawOpen": 0.3}, turn), 7.0)
    assert rig.store.state.turn is None
    rig.send(live.kind, "iFacialMocap")
    assert not camera.running and live.source is None and not live.receive.value and live.port.value == 49983


def test_a_camera_that_fails_is_no_longer_received_from(rig, monkeypatch):
    monkeypatch.setattr(live_camera, "CameraSource", Camera)
    live = rig.panel.live
    rig.send(live.kind, "Camera")
    rig.send(live.receive, True)
    live.source.problem = "Camera 0 gives no image."
    until(lambda: live.status.content == "Camera 0 gives no image.")
    assert live.source is None and not live.receive.value
    rig.send(live.receive, True)
    assert live.source.running and live.receive.value


def test_files_and_missing_cameras_are_refused_in_the_browser(rig, monkeypatch):
    monkeypatch.setattr(live_camera, "CameraSource", Camera)
    live = rig.panel.live
    rig.send(live.kind, "Camera")
    for typed, told in (
        ("/etc/passwd", "'/etc/passwd' is no camera; give its number"),
        ("7", "Camera 7 gives no image"),
    ):
        rig.send(live.camera, typed)
        rig.send(live.receive, True)
        assert told in rig.client.notes[-1] and live.source is None and not live.receive.value
    rig.send(live.camera, "2")
    live.start()
    assert live.source.source == "2"


def test_a_sender_cannot_write_into_the_page(rig):
    """viser's markdown is MDX, whose expressions the browser runs."""
    live = rig.panel.live
    rig.send(live.receive, True)
    subject = "{alert(1)} <b>Ada</b> ![](http://x/y) `a` *b*"
    live.source.handle(encode_coefficients({"jawOpen": 0.3}, subject=subject))
    until(lambda: "1 frames" in live.status.content)
    assert not set("{}<>[]!`*/") & set(live.status.content) and subject in html.unescape(live.status.content)


@pytest.mark.parametrize("text", ["export a=1", "import a", "a {b} <c> & d", "Camera 0: 3 frames, 12 % (9 ms); it's."])
def test_text_is_shown_as_it_is(text):
    assert html.unescape(as_markdown(f" {text}\n")) == text
    assert not as_markdown(text).startswith(("export", "import"))


def test_calibration_needs_somebody_who_is_received(rig):
    live = rig.panel.live
    rig.send(live.receive, True)
    live.source.handle(encode_coefficients({"jawOpen": 0.3}))
    rig.send(live.receive, False)
    rig.send(live.calibrate)
    assert "No face has been received yet" in rig.client.notes[-1], "it would hold for nobody"


def test_a_head_is_turned_back_also_while_nothing_comes(rig):
    live = rig.panel.live
    live.start()
    for angle in (0.0, 0.2):
        live._take(LiveFrame({"jawOpen": 0.3}, turn_of_angles(angle, 0.0, 0.0)), 1.0)
    before = rig.store.state
    assert before.turn is not None
    rig.send(live.turn_head, False)
    assert rig.store.state.turn is None and changes_image(before, rig.store.state)
    assert not is_streamed(before, rig.store.state), "training holds still for it"


@pytest.mark.parametrize("name, value", [("address", "0.0.0.0"), ("port", 11112)])
def test_another_address_ends_receiving_from_the_old_one(rig, name, value):
    live = rig.panel.live
    rig.send(live.receive, True)
    rig.send(getattr(live, name), value)
    assert live.source is None and not live.receive.value and getattr(live, name).value == value


def test_a_camera_that_is_not_offered_cannot_be_opened(server, monkeypatch):
    monkeypatch.setattr(live_camera, "CameraSource", Camera)
    rig = Rig(server, Path("none"), table(), camera=None)
    assert CAMERA not in rig.panel.live.kind.options
    rig.send(rig.panel.live.kind, CAMERA)
    rig.send(rig.panel.live.receive, True)
    assert rig.panel.live.source is None and "offers no camera" in rig.client.notes[-1]


@pytest.mark.parametrize(
    "host, shared, given, offered",
    [
        ("127.0.0.1", False, None, "0"),
        ("0.0.0.0", False, None, None),
        ("127.0.0.1", True, None, None),  # By viser's tunnel everyone with the link gets here.
        ("0.0.0.0", True, "clip.mp4", "clip.mp4"),
    ],
)
def test_a_camera_is_offered_to_this_machine_alone(host, shared, given, offered):
    viewer: Any = SimpleNamespace(
        viser_server=SimpleNamespace(get_host=lambda: host), config=SimpleNamespace(make_share_url=shared)
    )
    assert offered_camera(viewer, given) == offered
