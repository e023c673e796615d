"""The order in which a camera's expression is decided."""

import pytest
import torch
from nerfstudio.cameras.cameras import Cameras

from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState, ExpressionSource

TRACK = {
    "expression": torch.tensor([[0.0, 0.0], [0.2, 0.4], [0.4, 0.8], [2.0, -1.0]]),
    "head_pose": torch.arange(48.0).view(4, 12),
    "times": torch.tensor([0.0, 1 / 3, 2 / 3, 1.0]),
    "seconds": 0.12,
}


@pytest.fixture
def source() -> ExpressionSource:
    return ExpressionSource(
        ["jawOpen", "mouthPucker"],
        torch.tensor([0.0, 0.0]),
        torch.tensor([0.5, 1.0]),
        TRACK,
        torch.tensor([0, 2]),
    )


def camera(metadata=None, time=None) -> Cameras:
    return Cameras(
        torch.eye(4)[None, :3], 100.0, 100.0, 32.0, 32.0, 64, 64,
        times=None if time is None else torch.tensor([[time]]),
        metadata=metadata,
    )  # fmt: skip


def test_metadata_comes_before_index_and_time(source):
    metadata = {"expression": torch.tensor([[0.1, 0.3]]), "head_pose": torch.ones(1, 12), "cam_idx": 1}
    state = source.resolve(camera(metadata, time=0.0))
    torch.testing.assert_close(state.expression, torch.tensor([0.1, 0.3]))
    assert state.head_pose is not None and bool((state.head_pose == 1).all())
    assert state.train_frame is None


def test_frame_index_finds_the_training_frame(source):
    metadata = {"expression": torch.tensor([[0.4, 0.8]]), "frame_index": torch.tensor([[2]])}
    assert source.resolve(camera(metadata)).train_frame == 1


def test_viewer_camera_uses_its_index_not_time_zero(source):
    state = source.resolve(camera({"cam_idx": 1}, time=0.0))
    torch.testing.assert_close(state.expression, torch.tensor([0.4, 0.8]))
    assert state.train_frame == 1


def test_index_out_of_range_falls_back_to_time(source):
    state = source.resolve(camera({"cam_idx": 99}, time=1 / 3))
    torch.testing.assert_close(state.expression, torch.tensor([0.2, 0.4]))


def test_time_interpolates(source):
    state = source.resolve(camera(time=0.5))
    torch.testing.assert_close(state.expression, torch.tensor([0.3, 0.6]))


def test_ends_of_the_track(source):
    torch.testing.assert_close(source.resolve(camera(time=0.0)).expression, torch.tensor([0.0, 0.0]))
    # The last frame lies outside the training range and is clamped.
    torch.testing.assert_close(source.resolve(camera(time=1.0)).expression, torch.tensor([0.5, 0.0]))


def test_neutral_when_the_camera_says_nothing(source):
    assert not source.resolve(camera()).expression.any()


def test_override_wins_unless_it_passes(source):
    class Sliders:
        state = DrivingState(torch.tensor([0.5, 0.5]))

        def resolve(self, camera):
            return self.state

    source.override = Sliders()
    assert source.resolve(camera({"cam_idx": 0})).expression[0] == 0.5
    source.override.state = None
    assert source.resolve(camera({"cam_idx": 0})).expression[0] == 0.0


def test_neutral_is_clamped_into_a_range_without_zero():
    source = ExpressionSource(["a"], torch.tensor([0.2]), torch.tensor([0.5]), TRACK | {
        "expression": torch.full((4, 1), 0.3)}, torch.tensor([0]))  # fmt: skip
    assert source.neutral().expression.item() == pytest.approx(0.2)
