"""Training poses that are wrong are found by the head itself."""

import re
from dataclasses import dataclass, field
from typing import Any, Dict, List

import numpy as np
import pytest
import torch
from nerfstudio.cameras.cameras import Cameras
from scipy.spatial.transform import Rotation
from tiny_head import POSE, make, metadata

from nerfblendshape_ns.engine.pose_rounds import correct_poses, head_at_rest, smooth_in_time

FRAMES, SIZE = 12, 48


def test_values_between_fitted_frames_and_instead_of_outliers_follow_in_time():
    fitted = np.arange(0, 60, 2)
    line = np.stack([0.1 * fitted, 3.0 - 0.05 * fitted], axis=1)
    values = line + 0.01 * np.random.default_rng(0).normal(size=line.shape)
    values[10, 1] += 5.0
    smooth = smooth_in_time(values, fitted, list(range(59)))
    np.testing.assert_allclose(smooth, np.stack([0.1 * np.arange(59), 3.0 - 0.05 * np.arange(59)], axis=1), atol=0.03)


@pytest.mark.parametrize("apart", [1, 3])
def test_nothing_is_smoothed_across_a_gap_in_the_clip(apart):
    step = np.repeat([[0.0], [1.0]], 8, axis=0)
    numbers = apart * np.array([*range(8), *range(30, 38)])
    np.testing.assert_allclose(smooth_in_time(step, np.arange(16), numbers), step, atol=1e-9)
    assert np.abs(smooth_in_time(step, np.arange(16), apart * np.arange(16)) - step).max() > 0.05


def matrices(own, poses):
    """Of the corrected cameras."""
    turn = Rotation.from_rotvec(own[:, :3]).as_matrix()
    return np.concatenate([poses[:, :, :3] @ turn, poses[:, :, :3] @ own[:, 3:, None] + poses[:, :, 3:]], axis=2)


def test_a_motion_of_the_head_itself_is_no_correction():
    rng = np.random.default_rng(0)
    axes = Rotation.from_euler("xyz", 20 * rng.normal(size=(30, 3)), degrees=True)
    poses = np.concatenate([axes.as_matrix(), axes.apply([0, 0, 4.0])[:, :, None]], axis=2)
    turn, shift = Rotation.from_rotvec([0.05, -0.03, 0.02]), np.array([0.1, -0.2, 0.05])
    own = np.concatenate(
        [
            (axes.inv() * turn * axes).as_rotvec(),
            axes.inv().apply(turn.apply(poses[:, :, 3]) + shift - poses[:, :, 3]),
        ],
        axis=1,
    )
    expected = np.concatenate(
        [turn.as_matrix() @ poses[:, :, :3], turn.apply(poses[:, :, 3])[..., None] + shift[:, None]], 2
    )
    np.testing.assert_allclose(matrices(own, poses), expected, atol=1e-9)
    np.testing.assert_allclose(head_at_rest(own, poses), 0.0, atol=1e-9)


def test_corrections_that_leave_the_head_where_it_is_stay():
    rng = np.random.default_rng(1)
    axes = Rotation.from_euler("xyz", 20 * rng.normal(size=(30, 3)), degrees=True)
    poses = np.concatenate([axes.as_matrix(), axes.apply([0, 0, 4.0])[:, :, None]], axis=2)
    own = head_at_rest(0.01 * rng.normal(size=(30, 6)), poses)
    np.testing.assert_allclose(head_at_rest(own, poses), own, atol=1e-4)
    assert np.abs(own).std() > 0.005


@dataclass
class Clip:
    """Frames that the head itself made, with cameras that are not where they were."""

    cameras: Cameras
    images: List[torch.Tensor]
    metadata: Dict[str, Any] = field(default_factory=lambda: {"img_ids": list(range(FRAMES))})

    def __len__(self) -> int:
        return len(self.images)

    def get_image_float32(self, index: int) -> torch.Tensor:
        return self.images[index]

    @property
    def labels(self) -> torch.Tensor:
        return torch.zeros(len(self), *self.images[0].shape[:2], dtype=torch.uint8)


def wandering() -> torch.Tensor:
    """Corrections that change slowly; rotation vectors in radians and shifts."""
    values = torch.sin(torch.linspace(0, 4, FRAMES)[:, None] + torch.arange(6.0))
    return (values - values.mean(0)) * torch.tensor([0.01, 0.01, 0.015, 0.02, 0.02, 0.0])


def example():
    data = metadata()
    data["train_frame_index"] = torch.arange(FRAMES)
    expression = torch.full((FRAMES, 3), 0.3)
    poses = POSE.flatten().expand(FRAMES, 12).clone()
    data["track"] |= {"expression": expression, "head_pose": poses, "times": torch.linspace(0, 1, FRAMES)}
    data["splits"] = {"protocol": "tail10", "train": list(range(FRAMES)), "val": [], "test": []}
    model = make(data, background_color="black").eval()
    model.view_range.low.fill_(-torch.inf)
    model.view_range.high.fill_(torch.inf)
    true, images = wandering(), []
    state = model.expression_source.at_track(0)
    state.background = torch.ones(3)
    cameras = Cameras(POSE.expand(FRAMES, 3, 4).clone(), 1.6 * SIZE, 1.6 * SIZE, SIZE / 2, SIZE / 2, SIZE, SIZE)
    for index in range(FRAMES):
        turn = torch.from_numpy(Rotation.from_rotvec(true[index, :3].numpy()).as_matrix()).float()
        view = cameras[index : index + 1]
        shifted = POSE[:, :3] @ true[index, 3:] + POSE[:, 3]
        view.camera_to_worlds = torch.cat([POSE[:, :3] @ turn, shifted[:, None]], 1)[None]
        images.append(model.render_driven(view, state)["rgb"])
    return model, Clip(cameras, images), true


def errors(model: Any, clip: Clip) -> float:
    total = 0.0
    for index in range(FRAMES):
        state = model.expression_source.at_track(index)
        state.background = torch.ones(3)
        total += float(
            ((model.render_driven(clip.cameras[index : index + 1], state)["rgb"] - clip.images[index]) ** 2).mean()
        )
    return total / FRAMES


def test_poses_are_found_again_round_after_round():
    model, clip, true = example()
    before = errors(model, clip)
    model.train()
    line = correct_poses(model, clip)  # type: ignore[arg-type]
    assert model.training and "12 of 12 frames" in line
    model.eval()
    first = errors(model, clip)
    correct_poses(model.train(), clip)  # type: ignore[arg-type]
    assert model.conditioning.correction.done == 2
    second = errors(model.eval(), clip)
    assert first < 0.3 * before and second < 0.1 * before, (before, first, second)


def test_poses_that_are_right_stand():
    model, clip, _ = example()
    generator = torch.Generator().manual_seed(0)
    state = model.expression_source.at_track(0)
    state.background = torch.ones(3)
    for index in range(FRAMES):  # Noise, which no pose explains.
        image = model.render_driven(clip.cameras[index : index + 1], state)["rgb"]
        clip.images[index] = image + 0.05 * torch.randn(image.shape, generator=generator)
    line = correct_poses(model.train(), clip)  # type: ignore[arg-type]
    assert re.match(
        "Head poses stand as tracked: a change would explain [01]% of the differences; from 12 of 12 frames", line
    )
    assert model.conditioning.correction.done == 2 and not model.conditioning.correction.active
