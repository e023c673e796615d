"""The project's tracker on a camera, for which a video stands in."""

import itertools
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from video_files import shared_folder, write_video
from waiting import until

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.process_data.video.frames import decode
from nerfblendshape_ns.viewer import live_camera
from nerfblendshape_ns.viewer.live_camera import CameraSource, LiveTracker, camera_images


@pytest.fixture(scope="module")
def turned_video() -> Path:
    path = shared_folder() / "clips" / "turned_400f_25fps.mp4"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return path


@pytest.fixture
def model(monkeypatch, landmarker_path):
    monkeypatch.setattr(live_camera.LANDMARKER.__class__, "find", lambda self, *arguments: landmarker_path)


@pytest.mark.slow
def test_coefficients_and_head_of_a_real_face(turned_video, landmarker_path):
    tracker = LiveTracker(landmarker_path)
    names, noses = [], []
    for number, _, image in decode(turned_video, end=6.0):
        frame = tracker(image, 40 * number)
        if number % 10 == 0:
            names.append(set(frame.coefficients))
            face = tracker._last.landmarks
            noses.append((frame.turn[0, 2], face[1, 0] - (face[234, 0] + face[454, 0]) / 2))
    assert all(len(one) == 51 and "jawOpen" in one and "_neutral" not in one for one in names)
    turns, offsets = np.array(noses).T
    assert np.ptp(turns) > 0.1 and np.corrcoef(turns, offsets)[0, 1] > 0.9, "a nose to the image's right turns there"


@pytest.mark.slow
def test_a_video_stands_in_for_a_camera(turned_video, model):
    before = set(threading.enumerate())
    received = []
    source = CameraSource(str(turned_video), lambda frame, came: received.append(frame))
    source.start()
    until(lambda: len(received) >= 20)
    assert source.faces.per_second() > 0
    assert "turned_400f_25fps.mp4: " in source.status() and "frames per second tracked, each in" in source.status()
    source.stop()
    until(lambda: not any(thread.name.startswith("nbs-") for thread in set(threading.enumerate()) - before))


@pytest.mark.slow
def test_a_picture_without_a_face(tmp_path, model):
    source = CameraSource(str(write_video(tmp_path / "grey.mp4", 12)), lambda frame, came: None)
    source.start()
    time.sleep(0.5)
    assert source.status() == "grey.mp4: no face is seen."
    source.stop()


@pytest.fixture
def numbered(monkeypatch, tmp_path):
    """A source of images that are their number, and a list of those that were tracked."""
    tracked = []

    def images(source):
        for number in itertools.count():
            yield np.full((4, 4, 3), number)
            time.sleep(0.001)

    monkeypatch.setattr(live_camera, "camera_images", images)
    monkeypatch.setattr(live_camera.LANDMARKER.__class__, "find", lambda self, *arguments: None)
    source = CameraSource(str(write_video(tmp_path / "any.mp4", 2)), lambda frame, came: None)

    def track(image, milliseconds):
        tracked.append(int(image[0, 0, 0]))
        until(lambda: not source._running or (source._newest or [0, image])[1][0, 0, 0] > 20 * len(tracked))

    monkeypatch.setattr(live_camera, "LiveTracker", lambda model: track)
    yield source, tracked
    source.stop()


def test_old_images_are_left_out(numbered):
    source, tracked = numbered
    source.start()
    until(lambda: len(tracked) >= 3)
    assert tracked[1] > 20 and tracked[2] > 40


def test_a_slow_machine_sees_the_face_between_two_images(tmp_path):
    """Tracking takes 0.4 s there, and rests for 0.8 s."""
    source = CameraSource("0", lambda frame, came: None)
    now = time.monotonic()
    source._times.append((now - 1.2, now - 1.6))
    assert "tracked, each in 400 ms" in source.status()
    source._times.append((now - 4.0, now - 4.4))
    assert source.status() == "Camera 0: no face is seen."


def test_a_video_is_played_again_at_its_pace(tmp_path):
    images = camera_images(str(write_video(tmp_path / "five.mp4", 5, fps=25.0)))
    started = time.monotonic()
    levels = [next(images).mean() for _ in range(12)]
    assert time.monotonic() - started > 0.35
    assert levels[5] == pytest.approx(levels[0], abs=1) and levels[4] > levels[0] + 10


def test_cameras_that_are_not_there_are_told(tmp_path, model):
    with pytest.raises(UserError, match="Camera 63 gives no image; connect it, close other programs"):
        CameraSource("63", lambda frame, came: None).start()
    for none in ("99999999999999", "²"):
        with pytest.raises(UserError, match=f"Camera {none} gives no image|{none} does not exist"):
            CameraSource(none, lambda frame, came: None).start()
    with pytest.raises(UserError, match="none.mp4 does not exist"):
        CameraSource(str(tmp_path / "none.mp4"), lambda frame, came: None).start()


def test_a_camera_that_fails_is_told(tmp_path, model, monkeypatch):
    def fail(self, image, milliseconds):
        raise RuntimeError("out of order")

    monkeypatch.setattr(LiveTracker, "__call__", fail)
    source = CameraSource(str(write_video(tmp_path / "grey.mp4", 12)), lambda frame, came: None)
    source.start()
    until(lambda: "stopped" in source.status())
    assert source.status() == "The camera stopped: RuntimeError: out of order."


def test_rendering_gets_most_of_the_time(tmp_path, monkeypatch):
    starts = []

    def track(image, milliseconds):
        starts.append(time.monotonic())
        time.sleep(0.1)

    monkeypatch.setattr(live_camera.LANDMARKER.__class__, "find", lambda self, *arguments: None)
    monkeypatch.setattr(live_camera, "LiveTracker", lambda model: track)
    source = CameraSource(str(write_video(tmp_path / "many.mp4", 50, fps=50.0)), lambda frame, came: None)
    source.start()
    until(lambda: len(starts) >= 4)
    source.stop()
    assert np.diff(starts).min() > 0.25
