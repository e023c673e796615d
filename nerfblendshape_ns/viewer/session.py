"""One avatar in nerfstudio's viewer: panel, state, playback and rendering together."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, ContextManager, Deque, Optional, Sequence

import numpy as np
import viser
from nerfstudio.viewer.utils import CameraState
from nerfstudio.viewer.viewer import Viewer
from nerfstudio.viewer.viewer_elements import ViewerControl
from scipy.spatial.transform import Rotation
from viser import ClientHandle, GuiTabGroupHandle, ViserServer

from nerfblendshape_ns.expressions.live.performer import LivePerformer
from nerfblendshape_ns.expressions.retarget import CoefficientSpace, RetargetMode
from nerfblendshape_ns.models.expression_model import ExpressionModel
from nerfblendshape_ns.viewer.actions import Actions
from nerfblendshape_ns.viewer.bound_controls import unless_stopped
from nerfblendshape_ns.viewer.cameras import median_frame, show_view, view_of_pose
from nerfblendshape_ns.viewer.override import ViewerExpression, coefficient_table
from nerfblendshape_ns.viewer.panel import ExpressionPanel
from nerfblendshape_ns.viewer.playback import PlaybackClock
from nerfblendshape_ns.viewer.render_loop import RenderLoop
from nerfblendshape_ns.viewer.state import ControlState, StateStore, changes_image, is_streamed

TAB = "Expression"
"""Name of the tab beside nerfstudio's own."""
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


class NerfstudioOutputs:
    """The output choice of nerfstudio's own panel, which also has its colour maps."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer

    @property
    def _element(self) -> Any:
        return self._viewer.control_panel._output_render

    def options(self) -> Sequence[str]:
        """The model's outputs; empty until something was rendered."""
        return [name for name in self._element.options if name != "not set"]

    def selected(self) -> str:
        """The output shown."""
        return self._element.value

    def select(self, output: str) -> None:
        """Show another; nerfstudio's element renders it, as if it had been chosen there."""
        self._element.value = output


def expression_tab(server: ViserServer) -> ContextManager[Any]:
    """A new tab beside nerfstudio's, or the bare panel where there are no tabs.

    nerfstudio keeps the handle of its tabs to itself, so it is taken from viser's own list of what the panel holds.
    """
    for child in server.gui._container_handle_from_id["root"]._children.values():
        if isinstance(child, GuiTabGroupHandle):
            return child.add_tab(TAB, viser.Icon.MOOD_SMILE)
    return nullcontext()


def offered_camera(viewer: Viewer, given: Optional[str]) -> Optional[str]:
    """The camera that the live controls offer: the given one, else the first where only this machine gets here."""
    is_local = viewer.viser_server.get_host() in _THIS_MACHINE and not viewer.config.make_share_url
    return given or ("0" if is_local else None)


class ViewerSession:
    """Builds the controls and keeps them at work for as long as the viewer runs.

    Args:
        viewer: nerfstudio's, whose own panel is built.
        model: what it shows; the ``override`` of its expression source is set.
        camera: which camera, or which video in its place, the live controls offer; None offers the first camera where
            nobody but this machine can reach the viewer.
    """

    def __init__(self, viewer: Viewer, model: ExpressionModel, camera: Optional[str] = None) -> None:
        self._viewer, self._model = viewer, model
        self._source = model.expression_source
        table = coefficient_table(self._source)
        self.actions = Actions(table)
        self.store = StateStore(self.actions.initial())
        self._behind: Deque[float] = deque(maxlen=20)
        self.loop = RenderLoop(viewer, lambda: self.store.version, self._placed, self._image_finished)
        self.clock = PlaybackClock(self.store, self._source.track_seconds(), model.metadata["track"]["fps"])
        self.expression = ViewerExpression(self._source, self.store, table, self.loop.rendering)
        self._source.override = self.expression
        self._front = median_frame(self._source.track_pose.cpu(), self._source.train_frames.cpu())
        self.store.subscribe(self._on_change)
        with expression_tab(viewer.viser_server):
            self.panel = ExpressionPanel(
                viewer.viser_server,
                self.store,
                self.actions,
                NerfstudioOutputs(viewer),
                viewer.log_filename.parent / "expressions",
                self.live_performer,
                self._rendering,
                lambda client: self.show_frame_view(client, self._front, upright=True),
                lambda client, frame: self.show_frame_view(client, frame, upright=False),
                offered_camera(viewer, camera),
            )
        viewer.viser_server.on_client_connect(self._welcome)
        threading.Thread(target=self._follow_viewer, name="nbs-viewer-follow", daemon=True).start()

    def _on_change(self, before: ControlState, after: ControlState) -> None:
        if after.playing:
            self.clock.start()
        if changes_image(before, after):
            self.loop.request(by_hand=not is_streamed(before, after))

    def live_performer(self, mode: RetargetMode) -> LivePerformer:
        """The map from live frames to the model.

        Raises:
            UserError: the model has no coefficient of ARKit's.
        """
        source, table = self._source, self.actions.table
        frames = table.track[table.train_frames].astype(np.float64)
        poses = source.track_pose[source.train_frames].cpu().double().numpy().reshape(-1, 3, 4)
        to_camera = Rotation.from_matrix(poses[:, :, :3]).inv()
        turns = (to_camera * to_camera.mean().inv()).as_rotvec(degrees=True)
        if len(frames) < 2:  # An exported avatar may come without its clip.
            frames = np.stack([table.neutral, table.minimum, table.maximum]).astype(np.float64)
            turns = self._model.turn_ends().cpu().double().numpy()
        person = CoefficientSpace(table.names, "", frames, table.minimum, table.maximum)
        return LivePerformer(person, turns, mode)

    def _placed(self, camera_state: CameraState) -> CameraState:
        return replace(camera_state, c2w=self.expression.place(camera_state.c2w))

    def _image_finished(self) -> None:
        if self.expression.came:
            self._behind.append(time.monotonic() - self.expression.came)

    def _rendering(self) -> str:
        behind = tuple(self._behind)
        rate = self.loop.images.per_second()
        if not behind or not rate:
            return ""
        return f"{rate:.0f} images per second, {1000 * float(np.median(behind)):.0f} ms behind."

    def _vertical_fov(self) -> float:
        cameras: Any = self._viewer.pipeline.datamanager.train_dataset.cameras  # type: ignore[union-attr]
        return 2.0 * math.atan(float(cameras.height[0]) / (2.0 * float(cameras.fy[0])))

    def show_frame_view(self, client: ClientHandle, frame: int, upright: bool) -> None:
        """Move a browser's camera to where a frame was taken from, with the clip's vertical field of view."""
        show_view(client, view_of_pose(self._source.track_pose[frame]), self._vertical_fov(), upright)

    def _welcome(self, client: ClientHandle) -> None:
        machine = self._viewer.render_statemachines.get(client.client_id)
        if machine is not None:
            self.loop.attach(machine)
        self.show_frame_view(client, self._front, upright=True)

    def _follow_viewer(self) -> None:
        """Take up what nerfstudio's viewer only has after it was set up; when the server stops, end all threads."""
        cameras_seen = False
        while not self._server_stopped():
            with unless_stopped():
                # The outputs are known from the first render, and may be chosen in nerfstudio's own panel.
                self.panel.image.refresh_outputs()
                if not cameras_seen and hasattr(self._viewer, "train_util"):  # The last thing that init_scene sets.
                    cameras_seen = True
                    self.take_up_training_cameras()
            time.sleep(0.5)
        self.panel.live.stop()
        self.store.set(playing=False)
        self.loop.stop()

    def _server_stopped(self) -> bool:
        """Whether somebody has stopped viser's server, which reports it to nobody."""
        return self._viewer.viser_server._websock_server._ws_server is None

    def _show_frame(self, frame: int) -> None:
        self.store.change(lambda state: self.actions.choose_frame(state, frame))

    def take_up_training_cameras(self) -> None:
        """Show a training camera's frame when it is clicked on; hide their images, as nerfstudio's own button does.

        Seen from where a frame was taken, such an image hangs before the face and covers the render.
        """
        for index, handle in self._viewer.camera_handles.items():
            frame = int(self.actions.table.train_frames[index])
            handle.on_click(lambda _, frame=frame: self._show_frame(frame))
        if self._viewer.hide_images.visible:
            self._viewer.set_camera_visibility(False)
            self._viewer.toggle_cameravis_button()


class ExpressionViewerControl(ViewerControl):
    """Adds the expression controls to nerfstudio's viewer, which finds it as an attribute of a pipeline.

    Args:
        model: the model that the viewer shows.
        camera: see :class:`ViewerSession`.
    """

    def __init__(self, model: ExpressionModel, camera: Optional[str] = None) -> None:
        self._model, self._camera = model, camera
        self.session: Optional[ViewerSession] = None
        """The controls; None until a viewer is set up."""

    def _setup(self, viewer: Viewer) -> None:
        super()._setup(viewer)
        self.session = ViewerSession(viewer, self._model, self._camera)
