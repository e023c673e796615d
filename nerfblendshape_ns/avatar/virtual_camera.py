"""An avatar as a camera of this machine, which video calls and streaming programs can choose."""

from __future__ import annotations

import threading
from typing import Any, Callable, Tuple

import cv2
import numpy as np
from nerfstudio.utils.rich_utils import CONSOLE
from nerfstudio.viewer.viewer import Viewer

from nerfblendshape_ns.avatar.avatar import Avatar, byte_image
from nerfblendshape_ns.common.console import say
from nerfblendshape_ns.common.errors import UserError

FPS = 25.0
"""Frames per second that the camera has; images that are not ready in time are shown again."""
SIDE = 512
"""Longer side of its image in pixels."""
NO_PACKAGE = "--virtual-camera needs the package pyvirtualcam: pip install pyvirtualcam."
NO_DEVICE = (
    "There is no virtual camera ({}). On Linux make one with: sudo modprobe v4l2loopback devices=1. On Windows and "
    "macOS install OBS Studio and start its virtual camera once."
)


class VirtualCamera:
    """Renders what the viewer's controls show, as the clip's camera sees it, and sends it to a virtual camera.

    Args:
        avatar: shown by the viewer.
        viewer: of the avatar; its lock keeps two renders apart.

    Raises:
        UserError: pyvirtualcam is not installed, or this machine has no virtual camera.
    """

    def __init__(self, avatar: Avatar, viewer: Viewer) -> None:
        try:
            import pyvirtualcam  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise UserError(NO_PACKAGE) from None
        pipeline: Any = viewer.pipeline
        session = pipeline.viewer_control.session
        self._avatar, self._session = avatar, session
        self._lock = viewer.train_lock or threading.Lock()
        height, width = int(avatar.camera.height[0]), int(avatar.camera.width[0])
        scale = SIDE / max(height, width)
        self._size = round(height * scale / 2) * 2, round(width * scale / 2) * 2
        try:
            self._camera: Any = pyvirtualcam.Camera(width=self._size[1], height=self._size[0], fps=FPS)
        except RuntimeError as error:
            raise UserError(NO_DEVICE.format(str(error).strip().splitlines()[0])) from None
        self._image = np.zeros((*self._size, 3), np.uint8)
        self._running, self._changed = True, threading.Event()
        self._changed.set()
        session.store.subscribe(lambda before, after: self._changed.set())
        for run in (self._render, self._send):
            name = f"nbs-virtual-camera{run.__name__}"
            threading.Thread(target=self._until_stopped, args=(run,), name=name, daemon=True).start()

    @property
    def device(self) -> str:
        """Name of the camera in other programs."""
        return str(self._camera.device)

    @property
    def size(self) -> Tuple[int, int]:
        """Height and width of its image."""
        return self._size

    def stop(self) -> None:
        """Let the threads end and the camera go."""
        self._running = False

    def _until_stopped(self, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:  # Nobody waits for these threads.
            self.stop()
            say(CONSOLE, f"The virtual camera stopped: {type(error).__name__}: {error}.")

    def _render(self) -> None:
        while self._running:
            if not self._changed.wait(0.5):
                continue
            self._changed.clear()
            state = self._session.expression.driving_state(self._session.store.state)
            assert state.head_pose is not None, "an avatar has the pose of its clip"
            with self._lock:
                image = self._avatar.render(state, self._avatar.camera_of(state.head_pose))["rgb"]
            self._image = cv2.resize(byte_image(image), self._size[::-1], interpolation=cv2.INTER_CUBIC)

    def _send(self) -> None:
        with self._camera:
            while self._running:
                self._camera.send(np.ascontiguousarray(self._image))
                self._camera.sleep_until_next_frame()
