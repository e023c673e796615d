"""An avatar in nerfstudio's viewer, without a dataset, a pipeline or a trainer."""

from __future__ import annotations

import socket
import threading
from typing import Any, Optional, cast

import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.configs.base_config import LocalWriterConfig, LoggingConfig, ViewerConfig
from nerfstudio.utils import writer
from nerfstudio.utils.rich_utils import CONSOLE
from nerfstudio.viewer.viewer import Viewer
from torch import nn

from nerfblendshape_ns.avatar.avatar import Avatar
from nerfblendshape_ns.avatar.run_config import run_folder
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.viewer.session import ExpressionViewerControl

DEFAULT_PORT = 7007
"""Port tried where none is asked for; nerfstudio's own."""


class _Cameras:
    """Stands in for a training set: its cameras, of which one is known, and no images."""

    def __init__(self, cameras: Cameras) -> None:
        self.cameras = cameras

    def __len__(self) -> int:
        return 0  # Nothing to draw in the scene.


class _DataManager:
    """Stands in for what the viewer asks of a datamanager."""

    includes_time = False

    def __init__(self, cameras: Cameras) -> None:
        self.train_dataset = _Cameras(cameras)
        self.eval_dataset = self.train_dataset


class _Pipeline(nn.Module):
    """Stands in for what the viewer asks of a pipeline."""

    def __init__(self, avatar: Avatar, camera: Optional[str]) -> None:
        super().__init__()
        self.model = avatar.model
        self.viewer_control = ExpressionViewerControl(avatar.model, camera)
        self.datamanager = _DataManager(avatar.camera)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device


def start_viewer(
    avatar: Avatar, host: str = "127.0.0.1", port: Optional[int] = None, camera: Optional[str] = None
) -> Viewer:
    """Serve an avatar to browsers; returns at once, rendering goes on in threads.

    Expressions and camera paths that a person saves in the viewer go beside the run or the file.

    Args:
        avatar: to be shown.
        host: address to listen on; ``0.0.0.0`` lets the whole network in.
        port: None or 0 takes 7007 if it is free, else any that is.
        camera: number of a camera, or a video in its place, that drives the avatar from the start.

    Returns:
        nerfstudio's viewer; ``viewer.viser_server.stop()`` ends it.

    Raises:
        UserError: the port is taken, the address is not one of this machine, or the camera cannot be opened.
    """
    try:  # viser would take the next free port without a word, or wait for ever on a foreign address.
        socket.create_server((host, port or 0)).close()
    except (OSError, OverflowError) as error:
        asked, why = host if port is None else f"{host}:{port}", getattr(error, "strerror", error)
        raise UserError(f"{asked} cannot be listened on ({why}); choose another --port or --host.") from None
    folder = run_folder(avatar.path)
    config = ViewerConfig(websocket_host=host, websocket_port=port or None, websocket_port_default=DEFAULT_PORT)
    # Not to log: the viewer measures its own speed there and chooses its resolution by it.
    logging = LoggingConfig(local_writer=LocalWriterConfig(enable=False))
    with CONSOLE.capture():  # It reports that it is off.
        writer.setup_local_writer(logging, max_iter=1)
    pipeline: Any = _Pipeline(avatar, camera)
    # Browsers and a virtual camera render one after the other.
    lock = threading.Lock()
    viewer = cast(Viewer, Viewer(config, folder / config.relative_log_filename, folder, pipeline, train_lock=lock))
    viewer.init_scene(pipeline.datamanager.train_dataset, "completed")
    viewer.update_step(0 if avatar.step is None else avatar.step + 1)
    for element in (viewer.pause_train, viewer.resume_train, viewer.hide_images, viewer.show_images):
        element.visible = False  # There is no training, and there are no training cameras.
    if camera is not None:
        try:
            pipeline.viewer_control.session.panel.live.start_camera()
        except UserError:
            viewer.viser_server.stop()
            raise
        # Browsers' threads begin with this: torch's own spin while they wait, on the tracker's core.
        torch.set_num_threads(max(1, torch.get_num_threads() - 1))
    return viewer
