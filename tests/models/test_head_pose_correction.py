"""A head whose poses are corrected shows what a moved camera would show."""

from typing import Any

import pytest
import torch
from nerfstudio.cameras.cameras import Cameras
from scipy.spatial.transform import Rotation
from tiny_head import POSE, bundle, camera, make

from nerfblendshape_ns.models.rebuild import build_head

NUMBERS = torch.tensor([0.02, -0.03, 0.05, 0.04, -0.02, 0.1])


def moved(numbers: torch.Tensor, metadata: Any) -> Cameras:
    """The camera moved in its own axes."""
    turn = torch.from_numpy(Rotation.from_rotvec(numbers[:3].numpy()).as_matrix()).float()
    view = camera(metadata)
    view.camera_to_worlds = torch.cat([POSE[:, :3] @ turn, (POSE[:, :3] @ numbers[3:] + POSE[:, 3])[:, None]], 1)[None]
    return view


def corrected(model: Any) -> torch.Tensor:
    """Correct a model by alternating numbers; those of frame 1."""
    own = torch.stack([NUMBERS, -NUMBERS, NUMBERS, -NUMBERS])
    model.conditioning.correction.correct(own)
    return own[1]


@pytest.mark.parametrize("head_pose_scale", [0.5, 0.0])
def test_a_training_frame_is_seen_as_by_the_corrected_camera(head_pose_scale):
    model = make(head_pose_scale=head_pose_scale).eval()
    model.view_range.low.fill_(-torch.inf)
    model.view_range.high.fill_(torch.inf)
    frame = {"cam_idx": 1}
    before = model.get_outputs_for_camera(camera(frame))["rgb"]
    numbers = -NUMBERS
    expected = model.get_outputs_for_camera(moved(numbers, frame))
    assert torch.equal(corrected(model), numbers)
    found = model.get_outputs_for_camera(camera(frame))
    assert float((expected["rgb"] - before).abs().mean()) > 0.01
    for name in ("rgb", "accumulation"):
        assert float((found[name] - expected[name]).abs().mean()) < 2e-4, name


def test_a_frame_of_no_training_is_corrected_by_its_pose_alone():
    """All poses are alike here, so nothing follows from the pose."""
    model = make().eval()
    view = {"expression": torch.rand(1, 3), "head_pose": POSE.flatten()[None], "frame_index": torch.tensor([5])}
    before = model.get_outputs_for_camera(camera(view))["rgb"]
    corrected(model)
    after = model.get_outputs_for_camera(camera(view))["rgb"]
    assert float((after - before).abs().max()) < 1e-3


def test_training_rays_are_moved_with_their_frame_and_gradients_reach_them():
    model = make(expression_noise=0.0)
    rays = bundle([0, 1])
    corrected(model)
    frames = model.frames_of(rays)
    assert torch.equal(frames.correction, model.conditioning.correction.of_training(torch.tensor([0, 1])))
    rays.origins.requires_grad_()
    model.get_outputs(rays)["accumulation"].sum().backward()
    assert rays.origins.grad is not None and bool(rays.origins.grad.abs().sum() > 0)


def test_a_rebuilt_head_is_corrected_too():
    model = make().eval()
    corrected(model)
    rebuilt = build_head(model.state_dict())
    expected = model.get_outputs_for_camera(camera({"cam_idx": 1}))["rgb"]
    assert torch.equal(rebuilt.get_outputs_for_camera(camera({"cam_idx": 1}))["rgb"], expected)
