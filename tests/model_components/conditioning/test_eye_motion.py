"""What lies between the lids turns back with its eyeball."""

from __future__ import annotations

from typing import Tuple

import numpy as np
import pytest
import torch
from torch import Tensor

from nerfblendshape_ns.coefficient_names.face_groups import GAZE_BEYOND, gaze
from nerfblendshape_ns.data.contract import LEFT_EYE_LANDMARKS, RIGHT_EYE_LANDMARKS
from nerfblendshape_ns.model_components.conditioning.expression_source import ExpressionSource
from nerfblendshape_ns.model_components.conditioning.eye_motion import (
    CELLS,
    EYEBALL,
    UNBOUNDED,
    EyeMotion,
    eyeball_radius,
    opening_map,
)
from nerfblendshape_ns.model_components.conditioning.face_motion import FaceMotion
from nerfblendshape_ns.ops.canonical import canonical_positions

AABB = torch.tensor([[-1.0, -0.9, -0.8], [1.0, 0.9, 0.8]])
WIDTH, RADIUS = 0.2, 0.2 * EYEBALL
IRISES = torch.tensor([[-0.3, -0.5, 0.1], [0.3, -0.5, 0.1]])
CENTRES = IRISES + torch.tensor([0.0, RADIUS, 0.0])
NAMES = ["jawOpen", "eyeLookUpLeft", "eyeLookOutLeft"]


def lids() -> Tensor:
    """Ellipses round the irises, 0.2 wide and 0.08 high, from the outer corner."""
    angle = torch.arange(16) * (2 * torch.pi / 16)
    outwards = torch.tensor([-1.0, 1.0])[:, None]
    across, up = 0.5 * WIDTH * angle.cos() * outwards, 0.04 * angle.sin().expand(2, -1)
    return IRISES[:, None] + torch.stack([across, torch.zeros_like(up), up], dim=-1)


def make() -> EyeMotion:
    """The second coefficient turns eyes up (about -x), the third to the left (about z); the first does nothing."""
    turns = torch.tensor([[0.0, 0.0] * 2, [-1.0, 0.0] * 2, [0.0, 1.0] * 2])
    ends = torch.tensor([[-0.4, -0.4] * 2, [0.0, 0.4] * 2])
    infinite = torch.tensor([torch.inf] * 3)
    return EyeMotion(AABB, lids(), IRISES, turns, ends, -infinite, infinite)


def turned(points: Tensor, up: float, left: float) -> Tensor:
    """Points on the left eye after it was turned up, then to the left, with its iris moved along +x; the farther from
    the centre, the less."""
    offset = points - CENTRES[1]
    away = offset.norm(dim=-1) / RADIUS
    pitch, yaw, zero, one = -up / away, left / away, torch.zeros_like(away), torch.ones_like(away)
    about_x = [one, zero, zero, zero, pitch.cos(), -pitch.sin(), zero, pitch.sin(), pitch.cos()]
    about_z = [yaw.cos(), -yaw.sin(), zero, yaw.sin(), yaw.cos(), zero, zero, zero, one]
    x, z = (torch.stack(rows, -1).view(-1, 3, 3) for rows in (about_x, about_z))
    return CENTRES[1] + (z @ x @ offset[..., None])[..., 0]


def looked_up(eyes: EyeMotion, points: Tensor, expression: Tensor, frame: Tensor | None = None) -> Tensor:
    """Canonical places in scene units."""
    unit = (points - AABB[0]) / (AABB[1] - AABB[0])
    found = canonical_positions(unit, None, frame, len(expression), eyes=eyes(expression))[0]
    return AABB[0] + found * (AABB[1] - AABB[0])


def test_the_iris_is_looked_up_in_the_middle():
    iris = IRISES[1:] + torch.tensor([[0.0, 0.0, 0.0], [0.01, 0.0, 0.005]])
    seen = turned(iris, 0.1, 0.2)
    assert float(seen[0, 0] - iris[0, 0]) > 0.01 and float(seen[0, 2] - iris[0, 2]) > 0.005  # To +x and up.
    found = looked_up(make(), seen, torch.tensor([[0.7, 0.1, 0.2]]))
    torch.testing.assert_close(found, iris, rtol=0, atol=1e-5)


def test_only_what_lies_between_the_lids_turns():
    expression = torch.tensor([[0.0, 0.1, 0.2]])
    above, beside = torch.tensor([0.3, -0.5, 0.15]), torch.tensor([0.0, -0.5, 0.1])
    glasses, skull = torch.tensor([0.3, -0.5 - 1.7 * RADIUS, 0.1]), torch.tensor([0.3, 0.5, 0.1])
    points = torch.stack([above, beside, glasses, skull])
    torch.testing.assert_close(looked_up(make(), points, expression), points, rtol=0, atol=1e-6)
    cornea = torch.tensor([[0.3, -0.5 - 0.2 * RADIUS, 0.1]])
    assert float((looked_up(make(), cornea, expression) - cornea).norm()) > 0.01
    # Half of what is at 2.4 radii turns.
    half = torch.tensor([[0.3, -0.5 - 1.4 * RADIUS, 0.1]])
    back, angle = looked_up(make(), half, torch.tensor([[0.0, 0.0, 0.2]])) - half, 0.2 / 2.4
    expected = 0.5 * 2.4 * RADIUS * torch.tensor([[-np.sin(angle), 1 - np.cos(angle), 0.0]], dtype=torch.float32)
    torch.testing.assert_close(back, expected, rtol=0, atol=1e-5)


def test_an_iris_slides_as_far_at_any_depth():
    """Nothing tells how deep an eye is that a training makes."""
    depths = torch.tensor([0.6, 1.0, 1.5, 2.1]) * RADIUS
    seen = CENTRES[1] - depths[:, None] * torch.tensor([0.0, 1.0, 0.0])
    slid = looked_up(make(), seen, torch.tensor([[0.0, 0.0, 0.2]])) - seen
    torch.testing.assert_close(slid[:, 0], torch.full((4,), -0.2 * RADIUS), rtol=0.02, atol=0)


def test_each_frame_turns_by_itself():
    seen = IRISES[1].repeat(3, 1)
    expression = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.2], [0.0, 0.1, 0.0]])
    found = looked_up(make(), seen, expression, torch.arange(3, dtype=torch.int32)) - seen
    torch.testing.assert_close(found[0], torch.zeros(3), rtol=0, atol=1e-6)
    assert float(found[1, 0]) == pytest.approx(-RADIUS * np.sin(0.2), abs=1e-5) and abs(float(found[1, 2])) < 1e-6
    assert float(found[2, 2]) == pytest.approx(-RADIUS * np.sin(0.1), abs=1e-5) and abs(float(found[2, 0])) < 1e-6


def test_eyes_stop_half_a_range_beyond_training():
    up, side = 0.4 + GAZE_BEYOND * 0.4, 0.4 + GAZE_BEYOND * 0.8
    for coefficients, most in (([0.0, 5.0, 5.0], (up, side)), ([0.0, -5.0, -5.0], (-GAZE_BEYOND * 0.4, -side))):
        found, expected = (
            looked_up(make(), IRISES[1:], torch.tensor([[0.0, *values]])) for values in (coefficients[1:], most)
        )
        torch.testing.assert_close(found, expected)
        assert not torch.allclose(found, looked_up(make(), IRISES[1:], 0.9 * torch.tensor([[0.0, *most]])), atol=1e-3)


def test_the_map_of_openings():
    square = np.array([[[0.25, 0.25], [0.5, 0.25], [0.5, 0.75], [0.25, 0.75]]])
    opening = opening_map(np.concatenate([square, square]))
    assert opening.shape == (CELLS, CELLS) and opening[CELLS // 2, CELLS * 3 // 8] == 1.0
    assert opening[CELLS // 2, CELLS * 3 // 4] == 0.0 and opening[CELLS * 7 // 8, CELLS * 3 // 8] == 0.0
    assert opening.mean() == pytest.approx(0.125, abs=0.002)
    assert np.isfinite(opening_map(np.full((2, 4, 2), np.nan))).all()


def test_names_of_gaze():
    names = ["eyeLookUpLeft", "eyeBlinkLeft", "eye_0", "eyelid_0", "jawOpen", "browInnerUp"]
    assert gaze(names) == [True, False, True, False, False, False]


def clip(frames: int = 40) -> Tuple[FaceMotion, dict, ExpressionSource, Tensor, Tensor]:
    """A head of 478 landmarks that stand still but for the irises, which follow :func:`make`'s eyes."""
    generator = torch.Generator().manual_seed(0)
    mesh = torch.rand(468, 3, generator=generator) * 0.6 - 0.3
    mesh[:, 1] -= 0.3
    for outline, landmarks in zip(lids(), (RIGHT_EYE_LANDMARKS, LEFT_EYE_LANDMARKS)):
        mesh[list(landmarks)] = outline
    expression = torch.rand(frames, 3, generator=generator) * torch.tensor([1.0, 0.3, 0.8]) - torch.tensor([0, 0, 0.4])
    poses = torch.tensor([1.0, 0, 0, 0, 0, 0, -1.0, -4.0, 0, 1.0, 0, 0]).repeat(frames, 1)
    poses[:, 3] = torch.linspace(-0.5, 0.5, frames)
    points = torch.cat([mesh, torch.zeros(10, 3)]).repeat(frames, 1, 1)
    angles = (expression @ make().turns).view(-1, 2, 2)
    for eye, landmark in enumerate((468, 473)):
        offset = torch.stack(
            [RADIUS * angles[:, eye, 1].sin(), torch.zeros(frames), -RADIUS * angles[:, eye, 0].sin()], -1
        )
        points[:, landmark] = IRISES[eye] + offset
    local = points - poses.view(-1, 3, 4)[:, None, :, 3]
    tangents = torch.stack([local[..., 0], -local[..., 2]], dim=-1) / local[..., 1:2]
    track = {"expression": expression, "head_pose": poses, "times": torch.linspace(0, 1, frames), "seconds": 2.0}
    low, high = expression.amin(0), expression.amax(0)
    source = ExpressionSource(NAMES, low, high, track, torch.arange(frames))
    motion = FaceMotion(AABB, mesh, torch.zeros(3, 468, 3))
    return motion, {"landmark_tangents": tangents}, source, expression, poses


def test_turns_are_measured_on_the_irises():
    motion, metadata, source, expression, poses = clip()
    low, high = source.minimum.clone(), source.maximum.clone()
    eyes = EyeMotion.of_clip(motion, metadata, source, expression, poses)
    assert eyes is not None
    assert float(eyeball_radius(eyes.lids)) == pytest.approx(RADIUS, rel=1e-5)
    torch.testing.assert_close(eyes.irises, IRISES, rtol=0, atol=3e-3)
    torch.testing.assert_close(eyes.turns, make().turns, rtol=0, atol=0.08)
    torch.testing.assert_close(eyes.ends[1, 1::2], expression[:, 2].amax().expand(2), rtol=0.1, atol=0)
    more = GAZE_BEYOND * (high - low) * torch.tensor([0.0, 1.0, 1.0])
    torch.testing.assert_close(source.minimum, low - more)
    torch.testing.assert_close(source.maximum, high + more)
    assert eyes.low.tolist() == [-UNBOUNDED, *low[1:].tolist()]
    assert eyes.high.tolist() == [UNBOUNDED, *high[1:].tolist()]


def test_without_irises_or_gaze_there_are_no_eyes():
    motion, metadata, source, expression, poses = clip()
    low = source.minimum.clone()
    fewer = {"landmark_tangents": metadata["landmark_tangents"][:, :468]}
    assert EyeMotion.of_clip(motion, fewer, source, expression, poses) is None
    assert EyeMotion.of_clip(motion, {}, source, expression, poses) is None
    source.names = ["expr_00", "expr_01", "jaw_0"]
    assert EyeMotion.of_clip(motion, metadata, source, expression, poses) is None
    assert torch.equal(source.minimum, low)


def test_a_checkpoint_brings_its_eyes():
    saved, other = make(), make()
    saved.lids += 0.05
    saved.ends *= 2
    other.load_state_dict(saved.state_dict())
    again = EyeMotion(AABB, *saved.state_dict().values())
    for name in ("centres", "size", "opening", "furthest"):
        assert torch.equal(getattr(other, name), getattr(again, name)), name
    assert not torch.equal(other.opening, make().opening)
