"""An avatar in the viewer, without dataset, pipeline or trainer."""

import socket
import threading
import urllib.request

import numpy as np
import pytest
import torch
from nerfstudio.cameras.cameras import CameraType
from nerfstudio.viewer.utils import CameraState, get_camera
from saved_run import save_run
from scipy.spatial.transform import Rotation
from tiny_head import POSE, make, metadata
from tiny_torso import INTRINSICS
from waiting import until

from nerfblendshape_ns.avatar import viewing
from nerfblendshape_ns.avatar.avatar import open_avatar
from nerfblendshape_ns.avatar.avatar_file import Provenance
from nerfblendshape_ns.avatar.export import export_avatar
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.live.frame import LiveFrame, turn_of_angles
from nerfblendshape_ns.recipes.training import end_curves
from nerfblendshape_ns.viewer.override import ViewerExpression


@pytest.fixture
def exported(tmp_path):
    run = open_avatar(save_run(tmp_path / "run", make(metadata() | {"intrinsics": INTRINSICS})))
    export_avatar(run, tmp_path / "a.avatar", Provenance())
    return open_avatar(tmp_path / "a.avatar")


@pytest.fixture(autouse=True)
def fresh_writers():
    yield
    end_curves()


def test_the_viewer_serves_an_exported_avatar(exported, tmp_path, capsys):
    before = set(threading.enumerate())
    viewer = viewing.start_viewer(exported)
    assert "writer" not in capsys.readouterr().out, "of training, which there is none of"
    try:
        port = viewer.viser_server.get_port()
        assert viewer.viser_server.get_host() == "127.0.0.1"
        assert b"<html" in urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=60).read().lower()
        # What a browser's camera asks of the model.
        state = CameraState(
            fov=0.6, aspect=1.0, c2w=POSE.double(), time=0.0, idx=0, camera_type=CameraType.PERSPECTIVE
        )  # fmt: skip
        with torch.no_grad():
            assert viewer.get_model().get_outputs_for_camera(get_camera(state, 16, 16))["rgb"].shape == (16, 16, 3)
        # The panel of sliders is there, and drives the picture.
        assert [control.session is not None for control in viewer.viewer_controls] == [True]
        assert isinstance(exported.model.expression_source.override, ViewerExpression)
        assert not viewer.pause_train.visible and not viewer.show_images.visible
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.avatar", "run"]  # Nothing is written.
        ours = {thread for thread in threading.enumerate() if thread.name.startswith("nbs-viewer")} - before
        assert {thread.name for thread in ours} == {"nbs-viewer-render", "nbs-viewer-follow"}
    finally:
        viewer.viser_server.stop()
    for thread in ours:
        thread.join(timeout=60)
        assert not thread.is_alive(), f"{thread.name} outlives the viewer, and holds it and the model"


def test_what_receives_and_plays_ends_with_the_viewer(tmp_path):
    run = save_run(tmp_path / "run", make(metadata() | {"intrinsics": INTRINSICS}))
    before = set(threading.enumerate())
    viewer = viewing.start_viewer(open_avatar(run))
    session = viewer.pipeline.viewer_control.session
    session.panel.live.port.value = 0
    session.panel.live.start()
    receiver = session.panel.live.source
    session.store.set(source="playback", playing=True)
    port = receiver.port
    assert port
    viewer.viser_server.stop()
    names = ("nbs-live-udp", "nbs-live-status", "nbs-viewer-playback")
    until(lambda: not [thread for thread in set(threading.enumerate()) - before if thread.name in names])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", port))


def test_each_click_on_a_training_camera_shows_its_frame(tmp_path):
    viewer = viewing.start_viewer(
        open_avatar(save_run(tmp_path / "run", make(metadata() | {"intrinsics": INTRINSICS})))
    )
    session = viewer.pipeline.viewer_control.session
    frames = session.actions.table.train_frames
    try:
        viewer.camera_handles = {
            index: viewer.viser_server.scene.add_camera_frustum(f"/{index}", 1.0, 1.0) for index in (0, len(frames) - 1)
        }
        session.take_up_training_cameras()
        for index in (0, 0, len(frames) - 1, 0):  # nerfstudio's index of the camera clicked on begins with 0.
            session.store.change(session.actions.neutral)
            for clicked in viewer.camera_handles[index]._impl.click_cb:
                clicked(None)
            state = session.store.state
            assert (state.source, state.frame) == ("captured frame", frames[index])
    finally:
        viewer.viser_server.stop()


def test_a_live_head_turns_as_far_as_the_clip_that_was_left_out(tmp_path):
    data = metadata() | {"intrinsics": INTRINSICS}
    angles = np.array([-20, -10, 0, 20, 0, 0])
    turns = Rotation.from_euler("z", angles[:, None], degrees=True).as_matrix()
    poses = torch.from_numpy(turns).float() @ POSE
    data["track"]["head_pose"] = poses.flatten(1)
    run = open_avatar(save_run(tmp_path / "run", make(data)))
    export_avatar(run, tmp_path / "a.avatar", Provenance())
    viewer = viewing.start_viewer(open_avatar(tmp_path / "a.avatar"))
    try:
        performer = viewer.pipeline.viewer_control.session.live_performer("none")
        performer(LiveFrame({"jawOpen": 0.1}, np.eye(3)))
        _, turn = performer(LiveFrame({"jawOpen": 0.1}, turn_of_angles(np.radians(15.0), 0.0, 0.0)))
        assert np.degrees(Rotation.from_matrix(turn).magnitude()) > 12
    finally:
        viewer.viser_server.stop()


def test_a_taken_port_is_told(exported):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"127.0.0.1:{port} cannot be listened on"):
            viewing.start_viewer(exported, port=port)
    with pytest.raises(UserError, match="127.0.0.1:70000 cannot be listened on .bind.*; choose another --port"):
        viewing.start_viewer(exported, port=70_000)
    with pytest.raises(UserError, match="192.0.2.1 cannot be listened on"):  # An address for documentation only.
        viewing.start_viewer(exported, host="192.0.2.1")


def test_port_0_is_a_free_one_whose_address_is_told(exported):
    viewer = viewing.start_viewer(exported, port=0)
    try:
        port = viewer.viser_server.get_port()
        assert port and viewer.viewer_info == [f"Viewer running locally at: http://127.0.0.1:{port}"]
    finally:
        viewer.viser_server.stop()


def test_a_camera_that_is_not_there_ends_the_viewer_with_one_sentence(exported, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(UserError, match="none.mp4 does not exist"):
            viewing.start_viewer(exported, camera=str(tmp_path / "none.mp4"))
        assert torch.get_num_threads() == 3, "what goes on in this process has all cores"
    finally:
        torch.set_num_threads(threads)
