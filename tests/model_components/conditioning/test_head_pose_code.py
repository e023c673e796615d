"""Head poses as numbers between -1 and 1."""

import math

import pytest
import torch

from nerfblendshape_ns.model_components.conditioning.head_pose_code import SMALLEST_SHIFT, SMALLEST_TURN, HeadPoseCode


def captured(yaw: float = 0.0, height: float = 0.0) -> torch.Tensor:
    """Camera-to-head of a camera 4 before a head that is turned about its vertical axis and lifted."""
    cosine, sine = math.cos(yaw), math.sin(yaw)
    head = torch.tensor([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])
    shift = torch.tensor([0.0, height, -4.0])
    # head in camera: x_camera = head x + shift; its inverse is camera-to-head.
    return torch.cat([head.T, -(head.T @ shift)[:, None]], 1).flatten()


def test_code_is_worked_out_by_hand():
    train = torch.stack([captured(-0.2), captured(0.0), captured(0.2), captured(0.0, -0.5), captured(0.0, 0.5)])
    code = HeadPoseCode(train)(torch.stack([captured(), captured(0.2), captured(0.1), captured(0.0, 0.25)]))
    assert code[0].abs().max() < 1e-6
    assert code[1, 1] == pytest.approx(1.0) and code[1, [0, 2]].abs().max() < 1e-6
    assert code[2, 1] == pytest.approx(math.sin(0.1) / math.sin(0.2), abs=1e-5)
    assert code[3, 4] == pytest.approx(0.5, abs=1e-5) and code[3, :3].abs().max() < 1e-6


def test_codes_are_not_rounded_in_mixed_precision():
    """A head that hardly turns: half a per mille of its distance is a twentieth of the range."""
    train = torch.stack([captured(0.01 * step, 0.002 * step) for step in range(-3, 4)])
    code = HeadPoseCode(train)
    expected = code(train)
    with torch.autocast("cpu", torch.float16):
        torch.testing.assert_close(code(train), expected)


def turned(axis: int, angle: float) -> torch.Tensor:
    """Camera-to-head where the head is turned about an axis of the camera, right-handed."""
    vector = torch.zeros(3)
    vector[axis] = angle
    x, y, z = vector.tolist()
    head = torch.linalg.matrix_exp(torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]))
    return torch.cat([head.T, -(head.T @ torch.tensor([0.0, 0.0, -4.0]))[:, None]], 1).flatten()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_axis_of_the_camera_has_its_own_number(axis):
    train = torch.stack([turned(about, angle) for about in range(3) for angle in (-0.2, 0.0, 0.2)])
    code = HeadPoseCode(train)(torch.stack([turned(axis, 0.2), turned(axis, -0.1)]))
    expected = torch.zeros(2, 6)
    expected[:, axis] = torch.tensor([1.0, -math.sin(0.1) / math.sin(0.2)])
    torch.testing.assert_close(code, expected, rtol=0, atol=1e-4)


def test_the_ends_of_training_turns_are_known():
    train = torch.stack([turned(1, angle) for angle in (-0.1, 0.0, 0.3)])
    ends = HeadPoseCode(train).turn_ends()
    assert ends[:, 1].tolist() == pytest.approx([math.degrees(-0.1), math.degrees(0.3)], abs=1e-3)
    assert ends[:, [0, 2]].abs().max() < 1.0, "what does not turn is taken to turn by less than a degree"


def test_poses_beyond_training_are_clamped():
    train = torch.stack([captured(-0.2), captured(0.0), captured(0.2)])
    code = HeadPoseCode(train)
    torch.testing.assert_close(code(captured(0.9)[None]), code(captured(0.2)[None]), atol=1e-5, rtol=0)
    # By hand: half of the range further, where it is let so far.
    wider = HeadPoseCode(train, beyond=0.5)
    assert float(wider(captured(-0.25)[None])[0, 1]) == pytest.approx(-math.sin(0.25) / math.sin(0.2), abs=1e-5)
    assert float(wider(captured(0.9)[None])[0, 1]) == pytest.approx(1.5)
    torch.testing.assert_close(wider(captured(0.1)[None]), code(captured(0.1)[None]))


def test_a_still_head_is_not_blown_up():
    code = HeadPoseCode(captured()[None].expand(4, 12))
    nearly = code(captured(0.1 * SMALLEST_TURN, 0.1 * SMALLEST_SHIFT * 4.0)[None])[0]
    assert nearly[1] == pytest.approx(0.2, abs=1e-3) and nearly[4] == pytest.approx(0.2, abs=1e-3)
