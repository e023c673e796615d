"""Landmarks seen under known poses and coefficients tell where they rest and how they move."""

import math

import torch

from nerfblendshape_ns.data import landmark_motion as module
from nerfblendshape_ns.data.landmark_motion import RIDGES, held_out_ridge, landmark_motion

FRAMES, POINTS, BASIS = 60, 5, 2
REST = torch.tensor([[0.0, -0.5, 0.0], [0.2, -0.4, 0.1], [-0.2, -0.4, 0.1], [0.1, -0.5, -0.2], [0.0, -0.4, -0.4]])
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
    points = REST + torch.einsum("fk,kpa->fpa", expression, MOTION)
    local = torch.einsum("fji,fpj->fpi", matrix[:, :, :3], points - matrix[:, None, :, 3])
    return torch.stack([local[..., 0] / -local[..., 2], -local[..., 1] / -local[..., 2]], -1)


def test_rest_and_motion_come_out_of_what_is_seen():
    expression, pose = expressions(), poses()
    mesh = REST + 0.02 * torch.randn(POINTS, 3, generator=torch.Generator().manual_seed(1))
    rest, motion = landmark_motion(seen(expression, pose), expression, pose, mesh, ridge=1e-6)
    torch.testing.assert_close(rest, REST, rtol=0, atol=2e-3)
    torch.testing.assert_close(motion, MOTION, rtol=0, atol=1e-3)


def test_the_ridge_keeps_small_what_is_not_reported():
    expression, pose = expressions(), poses()
    expression[:, 1] = 0.0  # Never smiled.
    _, motion = landmark_motion(seen(expression, pose), expression, pose, REST, ridge=0.05)
    assert float(motion[1].abs().max()) < 1e-6
    torch.testing.assert_close(motion[0], MOTION[0], rtol=0, atol=5e-3)
    _, stiff = landmark_motion(seen(expression, pose), expression, pose, REST, ridge=1e6)
    assert float(stiff.abs().max()) < 1e-4


def test_units_of_the_coefficients_do_not_matter():
    expression, pose = expressions(), poses()
    tangents = seen(expression, pose)
    _, motion = landmark_motion(tangents, expression, pose, REST, ridge=0.05)
    _, scaled = landmark_motion(tangents, 10 * expression, pose, REST, ridge=0.05)
    torch.testing.assert_close(10 * scaled, motion)


def test_landmarks_that_were_not_found_are_left_out():
    expression, pose = expressions(), poses()
    tangents = seen(expression, pose)
    tangents[::2, 4] = float("nan")
    tangents[1, 0, 0] = float("inf")
    rest, motion = landmark_motion(tangents, expression, pose, REST, ridge=1e-6)
    torch.testing.assert_close(rest, REST, rtol=0, atol=1e-3)
    torch.testing.assert_close(motion, MOTION, rtol=0, atol=1e-3)
    tangents[:, 4] = float("nan")  # Never found: it stays where the mesh has it.
    rest, motion = landmark_motion(tangents, expression, pose, REST, ridge=1e-6)
    torch.testing.assert_close(rest[4], REST[4])
    assert float(motion[:, 4].abs().max()) == 0.0


def test_a_long_clip_is_thinned(monkeypatch):
    expression, pose = expressions(), poses()
    monkeypatch.setattr(module, "MOST_FRAMES", 20)
    _, motion = landmark_motion(seen(expression, pose), expression, pose, REST, ridge=1e-6)
    torch.testing.assert_close(motion, MOTION, rtol=0, atol=1e-3)


def held_out_error(tangents: torch.Tensor, expression: torch.Tensor, pose: torch.Tensor, ridge: float) -> float:
    """Eight stretches of the clip, each predicted from the rest; every fourth landmark counts."""
    total = 0.0
    for part in torch.arange(FRAMES).tensor_split(8):
        rest = torch.ones(FRAMES, dtype=torch.bool)
        rest[part] = False
        neutral, motion = landmark_motion(tangents[rest], expression[rest], pose[rest], REST, ridge)
        matrix = pose[part].view(-1, 3, 4)
        points = neutral + torch.einsum("fk,kpa->fpa", expression[part], motion)
        local = torch.einsum("fji,fpj->fpi", matrix[:, :, :3], points - matrix[:, None, :, 3])
        error = local[..., :2] + tangents[part] * torch.tensor([1.0, -1.0]) * local[..., 2:]
        total += float((error[:, ::4] ** 2).sum())
    return total


def test_the_ridge_that_predicts_held_out_parts_best_is_chosen():
    expression, pose = expressions(), poses()
    exact = seen(expression, pose)
    noisy = exact + 0.05 * torch.randn(exact.shape, generator=torch.Generator().manual_seed(2))
    for tangents, expected in ((exact, RIDGES[0]), (noisy, RIDGES[-1])):
        errors = [held_out_error(tangents, expression, pose, ridge) for ridge in RIDGES]
        assert RIDGES[errors.index(min(errors))] == expected
        assert held_out_ridge(tangents, expression, pose, REST) == expected
    noisy[:, :, 0] = float("nan")  # Nothing was found: no clue, and no error.
    assert held_out_ridge(noisy, expression, pose, REST) in RIDGES
    assert held_out_ridge(exact[:1], expression[:1], pose[:1], REST) == RIDGES[-1]
