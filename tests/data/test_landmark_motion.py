"""Landmarks seen under known poses and coefficients show their neutral positions and how they move."""

import math
from typing import Tuple
from unittest import mock

import numpy as np
import torch

from nerfblendshape_ns.data import landmark_motion as module
from nerfblendshape_ns.data.landmark_motion import landmark_motion

FRAMES, POINTS, BASIS = 60, 5, 2
NEUTRAL = torch.tensor([[0.0, -0.5, 0.0], [0.2, -0.4, 0.1], [-0.2, -0.4, 0.1], [0.1, -0.5, -0.2], [0.0, -0.4, -0.4]])
MOTION = torch.zeros(BASIS, POINTS, 3)
MOTION[0, 4] = torch.tensor([0.0, 0.02, -0.1])  # The jaw drops and goes back.
MOTION[1, 1:3] = torch.tensor([[0.05, 0.0, 0.03], [-0.05, 0.0, 0.03]])  # A smile.


def poses() -> torch.Tensor:
    """Cameras four units away that go round the head by ±30° and up and down by ±15°."""
    rows = []
    for frame in range(FRAMES):
        yaw, pitch = 0.5 * math.sin(0.7 * frame), 0.25 * math.sin(0.45 * frame + 1)
        back = torch.tensor([math.sin(yaw) * math.cos(pitch), -math.cos(yaw) * math.cos(pitch), math.sin(pitch)])
        right = torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0]), back)
        right = right / right.norm()
        rows.append(torch.cat([torch.stack([right, torch.linalg.cross(back, right), back, 4 * back], 1)]).flatten())
    return torch.stack(rows)


def expressions() -> torch.Tensor:
    return torch.rand(FRAMES, BASIS, generator=torch.Generator().manual_seed(0))


def seen(expression: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
    """Tangents by the pinhole's own formula: x to the right, y downwards, the camera looks along -z."""
    matrix = pose.view(-1, 3, 4)
    points = NEUTRAL + torch.einsum("fk,kpa->fpa", expression, MOTION)
    local = torch.einsum("fji,fpj->fpi", matrix[:, :, :3], points - matrix[:, None, :, 3])
    return torch.stack([local[..., 0] / -local[..., 2], -local[..., 1] / -local[..., 2]], -1)


def measured(*tensors: torch.Tensor, ridge: float) -> Tuple[torch.Tensor, torch.Tensor]:
    with mock.patch.object(module, "RIDGE", ridge):
        neutral, motion = landmark_motion(*(tensor.numpy() for tensor in tensors))
    assert neutral.dtype == motion.dtype == np.float64
    return torch.from_numpy(neutral).float(), torch.from_numpy(motion).float()


def test_neutral_positions_and_motion_come_out_of_what_is_seen():
    expression, pose = expressions(), poses()
    mesh = NEUTRAL + 0.02 * torch.randn(POINTS, 3, generator=torch.Generator().manual_seed(1))
    neutral, motion = measured(seen(expression, pose), expression, pose, mesh, ridge=1e-6)
    torch.testing.assert_close(neutral, NEUTRAL, rtol=0, atol=2e-3)
    torch.testing.assert_close(motion, MOTION, rtol=0, atol=1e-3)


def test_the_ridge_keeps_small_what_is_not_determined():
    expression, pose = expressions(), poses()
    expression[:, 1] = 0.0  # Never smiled.
    _, motion = measured(seen(expression, pose), expression, pose, NEUTRAL, ridge=0.05)
    assert float(motion[1].abs().max()) < 1e-6
    torch.testing.assert_close(motion[0], MOTION[0], rtol=0, atol=5e-3)
    _, stiff = measured(seen(expression, pose), expression, pose, NEUTRAL, ridge=1e6)
    assert float(stiff.abs().max()) < 1e-4


def test_units_of_the_coefficients_do_not_matter():
    expression, pose = expressions(), poses()
    tangents = seen(expression, pose)
    _, motion = measured(tangents, expression, pose, NEUTRAL, ridge=0.05)
    _, scaled = measured(tangents, 10 * expression, pose, NEUTRAL, ridge=0.05)
    torch.testing.assert_close(10 * scaled, motion)


def test_landmarks_that_were_not_found_are_left_out():
    expression, pose = expressions(), poses()
    tangents = seen(expression, pose)
    tangents[::2, 4] = float("nan")
    tangents[1, 0, 0] = float("inf")
    neutral, motion = measured(tangents, expression, pose, NEUTRAL, ridge=1e-6)
    torch.testing.assert_close(neutral, NEUTRAL, rtol=0, atol=1e-3)
    torch.testing.assert_close(motion, MOTION, rtol=0, atol=1e-3)
    tangents[:, 4] = float("nan")  # Never found: it stays where the mesh has it.
    neutral, motion = measured(tangents, expression, pose, NEUTRAL, ridge=1e-6)
    torch.testing.assert_close(neutral[4], NEUTRAL[4])
    assert float(motion[:, 4].abs().max()) == 0.0


def test_a_long_clip_is_thinned(monkeypatch):
    expression, pose = expressions(), poses()
    monkeypatch.setattr(module, "MOST_FRAMES", 20)
    _, motion = measured(seen(expression, pose), expression, pose, NEUTRAL, ridge=1e-6)
    torch.testing.assert_close(motion, MOTION, rtol=0, atol=1e-3)
