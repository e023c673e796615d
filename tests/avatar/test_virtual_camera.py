"""An avatar as a virtual camera; pyvirtualcam is stood in for."""

import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from saved_run import save_run
from tiny_head import make, metadata
from tiny_torso import INTRINSICS
from waiting import until

from nerfblendshape_ns.avatar import viewing
from nerfblendshape_ns.avatar.avatar import open_avatar
from nerfblendshape_ns.avatar.virtual_camera import VirtualCamera
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.recipes.training import end_curves


class Camera:
    """Stands for pyvirtualcam's."""

    device = "/dev/video9"

    def __init__(self, width: int, height: int, fps: float) -> None:
        self.shape, self.fps, self.frames, self.closed = (height, width, 3), fps, [], False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True

    def send(self, frame: np.ndarray) -> None:
        assert frame.dtype == np.uint8 and frame.shape == self.shape and frame.flags["C_CONTIGUOUS"]
        self.frames.append(frame)

    def sleep_until_next_frame(self) -> None:
        time.sleep(0.005)


@pytest.fixture
def shown(tmp_path):
    avatar = open_avatar(save_run(tmp_path / "run", make(metadata() | {"intrinsics": INTRINSICS})))
    viewer = viewing.start_viewer(avatar)
    yield avatar, viewer
    viewer.viser_server.stop()
    end_curves()


def test_what_the_controls_show_is_sent(shown, monkeypatch):
    avatar, viewer = shown
    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=Camera))
    virtual = VirtualCamera(avatar, viewer)
    camera = virtual._camera
    assert virtual.device == "/dev/video9" and virtual.size == (512, 512) and camera.fps == 25.0
    until(lambda: camera.frames and camera.frames[-1].any())
    store = viewer.pipeline.viewer_control.session.store
    store.set(background=(0.0, 1.0, 0.0))
    until(lambda: camera.frames[-1][0, 0].tolist() == [0, 255, 0])
    count = len(camera.frames)
    until(lambda: len(camera.frames) > count + 5)
    virtual.stop()
    until(lambda: camera.closed)


def test_a_camera_that_goes_away_is_told(shown, monkeypatch, capsys):
    avatar, viewer = shown

    class Gone(Camera):
        def send(self, frame):
            raise RuntimeError("the device is gone")

    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=Gone))
    virtual = VirtualCamera(avatar, viewer)
    until(lambda: not virtual._running and virtual._camera.closed)
    assert "The virtual camera stopped: RuntimeError: the device is gone." in capsys.readouterr().out


def test_what_is_missing_is_told(shown, monkeypatch):
    avatar, viewer = shown

    def no_device(**_):
        raise RuntimeError("'v4l2loopback' backend: No devices\n'other': none")

    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=no_device))
    told = r"There is no virtual camera \('v4l2loopback' backend: No devices\). On Linux make one with: sudo modprobe"
    with pytest.raises(UserError, match=told):
        VirtualCamera(avatar, viewer)
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(UserError, match="--virtual-camera needs the package pyvirtualcam: pip install pyvirtualcam"):
        VirtualCamera(avatar, viewer)
