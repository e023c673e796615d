"""What the viewer's cameras are rendered with, and that no other camera is touched."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, List

import numpy as np
import pytest
import torch
from nerfstudio.cameras.cameras import Cameras
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.expressions.live.frame import turn_of_angles
from nerfblendshape_ns.model_components.conditioning.expression_source import ExpressionSource
from nerfblendshape_ns.viewer.actions import Actions
from nerfblendshape_ns.viewer.cameras import median_frame, show_view, view_of_pose
from nerfblendshape_ns.viewer.override import ViewerExpression, coefficient_table
from nerfblendshape_ns.viewer.state import StateStore

TRACK = {
    "expression": torch.tensor([[0.0, 0.0], [0.2, 0.4], [0.4, 0.8], [2.0, -1.0]]),
    "head_pose": torch.arange(48.0).view(4, 12),
    "times": torch.tensor([0.0, 1 / 3, 2 / 3, 1.0]),
    "seconds": 0.12,
}


class Rig:
    def __init__(self) -> None:
        self.source = ExpressionSource(
            ["jawOpen", "mouthPucker"], torch.zeros(2), torch.tensor([0.5, 1.0]), TRACK, torch.tensor([0, 2])
        )
        self.table = coefficient_table(self.source)
        self.actions = Actions(self.table)
        self.store = StateStore(self.actions.initial())
        self.rendered: List[int] = []
        self.source.override = ViewerExpression(self.source, self.store, self.table, self.rendered.append)

    def resolve(self, **metadata: Any) -> Any:
        camera = Cameras(torch.eye(4)[None, :3], 100.0, 100.0, 32.0, 32.0, 64, 64, metadata=metadata)
        return self.source.resolve(camera)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_dataset_camera_keeps_its_expression(rig):
    rig.store.set(background=(0.0, 0.0, 0.0), gain=2.0)
    state = rig.resolve(expression=torch.tensor([[0.1, 0.3]]))
    torch.testing.assert_close(state.expression, torch.tensor([0.1, 0.3]))
    assert state.background is None and rig.rendered == []


def test_a_captured_frame_brings_pose_and_code(rig):
    rig.store.change(lambda state: rig.actions.choose_frame(state, 2))
    state = rig.resolve(cam_idx=0)
    torch.testing.assert_close(state.expression, torch.tensor([0.4, 0.8]))
    torch.testing.assert_close(state.head_pose, TRACK["head_pose"][2])
    assert state.train_frame == 1 and rig.rendered == [1]


def test_a_frame_outside_training_has_no_code_and_is_clamped(rig):
    rig.store.change(lambda state: rig.actions.choose_frame(state, 3))
    state = rig.resolve(cam_idx=0)
    torch.testing.assert_close(state.expression, torch.tensor([0.5, 0.0]))
    assert state.train_frame is None
    rig.store.set(clamp=False)
    torch.testing.assert_close(rig.resolve(cam_idx=0).expression, torch.tensor([2.0, -1.0]))


def test_by_hand_the_head_pose_of_the_frame_stays(rig):
    rig.store.change(lambda state: rig.actions.edit(rig.actions.choose_frame(state, 2), 0, 0.5))
    rig.store.set(gain=1.5, background=(0.0, 0.5, 1.0))
    state = rig.resolve(cam_idx=0)
    torch.testing.assert_close(state.expression, torch.tensor([0.75, 1.2]))
    torch.testing.assert_close(state.head_pose, TRACK["head_pose"][2])
    torch.testing.assert_close(state.background, torch.tensor([0.0, 0.5, 1.0]))
    assert state.train_frame is None


def test_a_snapshot_is_used_as_a_whole(rig):
    """A change while a camera is resolved shows in the next picture, not half in this one."""
    make = rig.actions.table.effective

    def meanwhile(values, clamp, gain):
        rig.store.change(lambda state: replace(state, background=(1.0, 0.0, 0.0), frame=3))
        return make(values, clamp, gain)

    rig.table.effective = meanwhile
    state = rig.resolve(cam_idx=0)
    assert state.background is None
    torch.testing.assert_close(state.head_pose, TRACK["head_pose"][0])


def test_the_view_of_a_pose_looks_along_its_axis():
    pose = torch.tensor([[1.0, 0.0, 0.0, 0.5], [0.0, 0.0, -1.0, -4.0], [0.0, 1.0, 0.0, 0.25]]).flatten()
    view = view_of_pose(pose)  # Looks along +y from four units before the head.
    assert view.position.tolist() == [0.5, -4.0, 0.25]
    assert view.target.tolist() == pytest.approx([0.5, 0.0, 0.25])
    assert view.up.tolist() == [0.0, 0.0, 1.0]


def test_a_browser_is_moved_in_the_viewers_units():
    from contextlib import nullcontext

    client: Any = SimpleNamespace(camera=SimpleNamespace(), atomic=nullcontext)
    pose = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, -4.0], [0.0, 1.0, 0.0, 0.0]]).flatten()
    show_view(client, view_of_pose(pose), 0.5, upright=True)
    assert client.camera.position.tolist() == [0.0, -40.0, 0.0]
    assert client.camera.look_at.tolist() == pytest.approx([0.0, 0.0, 0.0])
    assert client.camera.up_direction.tolist() == [0.0, 0.0, 1.0] and client.camera.fov == 0.5


def test_the_median_camera_is_a_training_frame():
    poses = torch.zeros(5, 3, 4)
    poses[:, 0, 3] = torch.tensor([0.0, 1.0, 1.1, 9.0, 1.05])
    assert median_frame(poses.flatten(1), torch.tensor([0, 1, 2, 3])) == 1


def test_a_live_head_turns_in_every_view(rig):
    """Seen from where the frame was taken, the head turns in that image's axes; other cameras go round it alike."""
    rotation = Rotation.from_rotvec([0.2, -0.3, 0.1]).as_matrix()
    pose = np.column_stack([rotation, rotation @ [0.1, -0.2, 4.0]])
    rig.source.track_pose[2] = torch.from_numpy(pose.ravel()).float()
    turn = turn_of_angles(0.3, -0.2, 0.1)
    rig.store.set(source="live", frame=2, live=np.array([0.3, 0.1], np.float32), turn=turn, came=7.0)
    turned = rig.resolve().head_pose.reshape(3, 4).double().numpy()
    # Head-to-camera rotation and the head's place in the camera's axes.
    np.testing.assert_allclose(turned[:, :3].T, turn @ rotation.T, atol=1e-6)
    np.testing.assert_allclose(turned[:, :3].T @ turned[:, 3], rotation.T @ pose[:, 3], atol=1e-5)
    expression = rig.source.override
    np.testing.assert_allclose(expression.place(torch.from_numpy(pose)).numpy(), turned, atol=1e-6)
    assert expression.came == 7.0
    rig.store.set(turn=None)
    torch.testing.assert_close(expression.place(torch.from_numpy(pose)), torch.from_numpy(pose))
    torch.testing.assert_close(rig.resolve().head_pose, rig.source.track_pose[2])
    rig.store.set(turn=turn, source="manual")
    torch.testing.assert_close(rig.resolve().head_pose, rig.source.track_pose[2])
    torch.testing.assert_close(expression.place(torch.from_numpy(pose)), torch.from_numpy(pose))
    assert expression.came == 0.0


def test_a_frame_that_comes_while_a_render_waits_does_not_part_camera_and_head(rig):
    """The camera is moved before the render waits for its turn, the head after it; both by the same turn."""
    pose = torch.from_numpy(np.eye(4, dtype=np.float32)[:3])
    live, still = rig.actions.table.neutral, rig.source.at_track(0).head_pose
    rig.store.set(source="live", live=live, turn=turn_of_angles(0.2, 0.0, 0.0))
    rig.source.override.place(pose)
    rig.store.set(live=live.copy(), turn=None)
    assert not torch.allclose(rig.resolve().head_pose, still)
    assert rig.rendered[-1] == rig.store.version - 1, "what was rendered is not the newest, so it is asked for again"
    torch.testing.assert_close(rig.resolve().head_pose, still)
