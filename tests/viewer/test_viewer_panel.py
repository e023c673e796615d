"""The panel on a real viser server, moved as a browser's messages move it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, List

import numpy as np
import pytest
import viser
from viser import GuiEvent
from waiting import until

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.live.frame import LiveFrame, turn_of_angles
from nerfblendshape_ns.expressions.live.live_link import encode_coefficients
from nerfblendshape_ns.expressions.live.performer import LivePerformer
from nerfblendshape_ns.expressions.retarget import CoefficientSpace
from nerfblendshape_ns.viewer import live_camera
from nerfblendshape_ns.viewer.actions import Actions
from nerfblendshape_ns.viewer.coefficients import CoefficientTable
from nerfblendshape_ns.viewer.panel import ExpressionPanel
from nerfblendshape_ns.viewer.state import StateStore

NAMES = ["jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "tongueOut"]


class Outputs:
    """Stands for nerfstudio's output choice."""

    def __init__(self) -> None:
        self.names: List[str] = []
        self.shown = "not set"

    def options(self) -> List[str]:
        return self.names

    def selected(self) -> str:
        return self.shown

    def select(self, output: str) -> None:
        self.shown = output


class Client:
    """Stands for a browser."""

    def __init__(self) -> None:
        self.notes: List[str] = []
        self.downloads: List[bytes] = []

    def add_notification(self, title: str, body: str, **_: Any) -> None:
        self.notes.append(f"{title}: {body}")

    def send_file_download(self, name: str, content: bytes) -> None:
        self.downloads.append(content)


def table(num_more: int = 0) -> CoefficientTable:
    names = NAMES + [f"extra{index:02d}" for index in range(num_more)]
    count = len(names)
    track = np.linspace(0, 1, 10, dtype=np.float32)[:, None] * np.linspace(1, 0.1, count, dtype=np.float32)
    maximum = np.full(count, 0.8, np.float32)
    maximum[3] = 0.0
    return CoefficientTable(names, np.zeros(count), maximum, track, np.arange(8))


class Rig:
    """A panel with everything that it touches."""

    def __init__(self, server: Any, folder: Path, coefficients: CoefficientTable) -> None:
        self.actions, self.outputs, self.client = Actions(coefficients, seed=0), Outputs(), Client()
        self.store = StateStore(self.actions.initial())
        self.views: List[Any] = []
        person = CoefficientSpace(
            coefficients.names, "", coefficients.track.astype(float), coefficients.minimum, coefficients.maximum
        )
        self.panel = ExpressionPanel(
            server, self.store, self.actions, self.outputs, folder,
            lambda mode: LivePerformer(person, np.full((4, 3), 20.0), mode), lambda: "9 images per second.",
            lambda client: self.views.append("front"),
            lambda client, frame: self.views.append(frame),
            "clip.mp4",
        )  # fmt: skip
        self.panel.live.port.value = 0

    def send(self, handle: Any, value: Any = True) -> None:
        """What viser does when a browser reports a value."""
        handle._impl.value = value
        for callback in handle._impl.update_cb:
            callback(GuiEvent(client=self.client, client_id=0, target=handle))  # type: ignore[arg-type]

    def slider(self, name: str) -> Any:
        return self.panel.sliders.handles[self.actions.table.index(name)]


@pytest.fixture(scope="module")
def server():
    server = viser.ViserServer(host="127.0.0.1", port=0, verbose=False)
    yield server
    server.stop()


@pytest.fixture
def rig(server, tmp_path):
    rig = Rig(server, tmp_path / "expressions", table())
    yield rig
    rig.panel.live.stop()


def test_a_slider_sets_its_coefficient_once(rig):
    rig.send(rig.slider("jawOpen"), 0.5)
    assert rig.store.version == 1
    assert rig.store.state.manual[0] == pytest.approx(0.5)
    assert rig.panel.source.value == "manual"


def test_a_pair_moves_together_without_ping_pong(rig):
    rig.send(rig.panel.symmetric, True)
    before = rig.store.version
    rig.send(rig.slider("eyeBlinkLeft"), 0.4)
    assert rig.slider("eyeBlinkRight").value == pytest.approx(0.4)
    # viser reports the value set by the program from another thread, with no client.
    for handle in rig.panel.sliders.handles.values():
        for callback in handle._impl.update_cb:
            callback(GuiEvent(client=None, client_id=None, target=handle))
    assert rig.store.version == before + 1
    np.testing.assert_allclose(rig.store.state.manual[1:3], 0.4, atol=1e-6)


def test_the_frame_slider_shows_the_frame_and_its_coefficients(rig):
    rig.send(rig.panel.frame, 5)
    assert (rig.store.state.source, rig.store.state.frame) == ("captured frame", 5)
    assert rig.slider("jawOpen").value == pytest.approx(5 / 9, abs=1e-3)


def test_playback_runs_and_leaves_the_sliders_alone(rig):
    jaw = rig.slider("jawOpen").value
    rig.send(rig.panel.play)
    assert rig.store.state.playing and rig.panel.pause.visible and not rig.panel.play.visible
    for frame in range(1, 8):
        rig.store.change(lambda state, frame=frame: replace(state, frame=frame))
    assert rig.slider("jawOpen").value == jaw
    rig.send(rig.panel.pause)
    assert rig.panel.frame.value == 7
    assert rig.slider("jawOpen").value == pytest.approx(7 / 9, abs=1e-3)


def test_resets(rig):
    rig.send(rig.panel.random)
    rig.send(rig.panel.neutral)
    assert not rig.store.state.manual.any() and rig.slider("jawOpen").value == 0
    rig.send(rig.panel.frame, 4)
    rig.send(rig.panel.to_frame)
    assert rig.store.state.source == "manual"
    assert rig.slider("jawOpen").value == pytest.approx(4 / 9, abs=1e-3)


def test_without_the_clamp_sliders_go_beyond(rig):
    assert rig.slider("jawOpen").value <= 0.8
    rig.send(rig.panel.clamp, False)
    rig.send(rig.slider("jawOpen"), 1.1)
    assert rig.store.state.expression(rig.actions.table)[0] == pytest.approx(1.1)
    rig.send(rig.panel.clamp, True)
    assert rig.slider("jawOpen").value == pytest.approx(0.8)
    assert rig.store.state.expression(rig.actions.table)[0] == pytest.approx(0.8)
    rig.send(rig.panel.gain, 1.5)
    assert rig.store.state.expression(rig.actions.table)[0] == pytest.approx(1.2)


def test_what_never_moves_has_no_slider(rig):
    assert rig.actions.table.index("tongueOut") not in rig.panel.sliders.handles


def test_many_coefficients_are_filtered_by_name(server, tmp_path):
    rig = Rig(server, tmp_path, table(num_more=70))
    assert len(rig.panel.sliders.handles) == 73
    rig.panel.sliders.filter("BLINK")
    assert {rig.actions.table.names[index] for index in rig.panel.sliders.handles} == {"eyeBlinkLeft", "eyeBlinkRight"}
    rig.panel.sliders.filter("")
    assert len(rig.panel.sliders.handles) == 73


def test_background(rig):
    assert rig.store.state.background is None
    rig.send(rig.panel.image.background, "black")
    assert rig.store.state.background == (0.0, 0.0, 0.0) and not rig.panel.image.color.visible
    rig.send(rig.panel.image.background, "chosen colour")
    rig.send(rig.panel.image.color, (255, 0, 51))
    assert rig.store.state.background == pytest.approx((1.0, 0.0, 0.2)) and rig.panel.image.color.visible
    rig.send(rig.panel.image.background, "model's own")
    assert rig.store.state.background is None


def test_the_outputs_that_exist_are_offered(rig):
    assert not rig.panel.image.refresh_outputs()
    rig.outputs.names, rig.outputs.shown = ["depth", "rgb", "torso_rgb", "normals", "accumulation"], "rgb"
    assert rig.panel.image.refresh_outputs()
    assert rig.panel.image.output.options == ("whole", "torso", "depth", "alpha", "normals")
    rig.send(rig.panel.image.output, "alpha")
    assert rig.outputs.shown == "accumulation"
    rig.outputs.shown = "depth"  # Chosen in nerfstudio's own panel.
    rig.panel.image.refresh_outputs()
    assert rig.panel.image.output.value == "depth"


def test_views(rig):
    rig.send(rig.panel.frame, 6)
    rig.send(rig.panel.frame_view)
    rig.send(rig.panel.image.front)
    assert rig.views == [6, "front"]


def test_an_expression_is_saved_downloaded_and_loaded(rig, tmp_path):
    rig.send(rig.slider("jawOpen"), 0.6)
    rig.panel.files.name.value = "wide"
    rig.send(rig.panel.files.save)
    assert (tmp_path / "expressions" / "wide.json").exists() and "wide.json" in rig.client.notes[-1]
    rig.send(rig.panel.files.download)
    rig.send(rig.panel.neutral)
    rig.send(rig.panel.files.load)
    assert rig.store.state.manual[0] == pytest.approx(0.6)
    rig.send(rig.panel.neutral)
    rig.send(rig.panel.files.upload, SimpleNamespace(name="mine.json", content=rig.client.downloads[0]))
    assert rig.store.state.manual[0] == pytest.approx(0.6) and "mine.json" in rig.client.notes[-1]


def test_what_goes_wrong_is_told_in_the_browser(rig):
    rig.panel.files.name.value = "../../etc/passwd"
    rig.send(rig.panel.files.save)
    assert "cannot be the name" in rig.client.notes[-1]
    version = rig.store.version
    rig.send(rig.panel.files.upload, SimpleNamespace(name="bad.json", content=b"{}"))
    assert "bad.json is no expression file" in rig.client.notes[-1] and rig.store.version == version
    rig.send(rig.panel.files.load)
    assert "No expression is saved here yet" in rig.client.notes[-1] and rig.store.version == version
    rig.send(rig.panel.live.calibrate)
    assert "No face has been received" in rig.client.notes[-1]


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
