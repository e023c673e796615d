"""Samples of a moved face are carried back to where their point of the skin rests."""

import pytest
import torch

from nerfblendshape_ns.model_components.expression_source import ExpressionSource
from nerfblendshape_ns.model_components.face_motion import GRID, FaceMotion

AABB = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def neutral() -> torch.Tensor:
    """A square patch of skin of side 0.8 in the plane y = -0.5."""
    side = torch.linspace(-0.4, 0.4, 21)
    x, z = torch.meshgrid(side, side, indexing="ij")
    return torch.stack([x.flatten(), torch.full((441,), -0.5), z.flatten()], -1)


def make() -> FaceMotion:
    """The first coefficient moves all of it by 0.1 to the right, the second its lower half by 0.08 down."""
    rest = neutral()
    motion = torch.zeros(2, len(rest), 3)
    motion[0, :, 0] = 0.1
    motion[1, rest[:, 2] < 0, 2] = -0.08
    return FaceMotion(AABB, rest, motion)


def unit(points: torch.Tensor) -> torch.Tensor:
    return (points - AABB[0]) / (AABB[1] - AABB[0])


def moved_back(motion: FaceMotion, points: torch.Tensor, expression: torch.Tensor, frame=None) -> torch.Tensor:
    """In scene units."""
    return motion.at_rest(unit(points), motion.fields(expression), frame) * 2 - 1


def test_neutral_leaves_everything_where_it_is():
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    torch.testing.assert_close(moved_back(make(), points, torch.zeros(1, 2)), points, rtol=0, atol=1e-6)


def test_skin_goes_back_to_its_place():
    rest = torch.tensor([[0.0, -0.5, 0.2], [0.1, -0.5, 0.0], [-0.2, -0.48, -0.2]])
    seen = rest + torch.tensor([0.1, 0.0, 0.0])
    torch.testing.assert_close(moved_back(make(), seen, torch.tensor([[1.0, 0.0]])), rest, rtol=0, atol=2e-3)
    # Half the coefficient, half the way; the lower half moves alone.
    seen = rest + torch.tensor([0.05, 0.0, 0.0])
    torch.testing.assert_close(moved_back(make(), seen, torch.tensor([[0.5, 0.0]])), rest, rtol=0, atol=2e-3)
    lower, upper = torch.tensor([[0.0, -0.5, -0.25]]), torch.tensor([[0.0, -0.5, 0.25]])
    down = torch.tensor([0.0, 0.0, -0.08])
    both = moved_back(make(), torch.cat([lower + down, upper]), torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(both, torch.cat([lower, upper]), rtol=0, atol=2e-3)


def test_what_is_far_from_the_face_stands_still():
    away = torch.tensor([[0.0, 0.3, 0.0], [0.9, -0.5, 0.9], [0.0, -0.5, -0.95]])
    torch.testing.assert_close(moved_back(make(), away, torch.ones(1, 2)), away, rtol=0, atol=1e-4)


def test_each_sample_follows_its_own_frame():
    motion = make()
    expression = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(300, 3, generator=generator) * 2 - 1  # The box's faces too: no frame reads its neighbour.
    points[:20, 2], points[20:40, 2] = -1.0, 1.0
    frame = torch.randint(3, (300,), generator=generator, dtype=torch.int32)
    together = moved_back(motion, points, expression, frame)
    for number in range(3):
        own = frame == number
        alone = moved_back(motion, points[own], expression[number : number + 1])
        torch.testing.assert_close(together[own], alone, rtol=0, atol=1e-5)


def test_grid_is_indexed_z_y_x():
    field = make().fields(torch.tensor([[1.0, 0.0]]))[0]
    assert field.shape == (3, GRID, GRID, GRID)
    z, y, x = GRID // 2, round(0.25 * (GRID - 1)), GRID // 2
    assert abs(float(field[0, z, y, x]) - 0.05) < 2e-3  # 0.1 of a box of side 2.
    assert float(field[0, z, GRID - 1 - y, x]) < 1e-4 and float(field[1:].abs().max()) == 0.0


def test_a_clip_without_landmarks_or_mesh_has_none():
    source: ExpressionSource = None  # type: ignore[assignment]
    mesh, tangents = torch.zeros(468, 3), torch.zeros(4, 468, 2)
    for metadata in ({}, {"face_mesh": mesh}, {"landmark_tangents": tangents, "face_mesh": None}):
        assert FaceMotion.of_clip(AABB, metadata, source, 0.05) is None
    rest = neutral()
    again = FaceMotion.of_clip(AABB, {"face_motion": (rest, torch.zeros(2, len(rest), 3))}, source, 0.05)
    assert again is not None and torch.equal(again.neutral, rest)


def test_skin_is_where_the_landmarks_are_in_each_frame():
    motion = make()
    places = motion.skin(torch.tensor([[0.0, 0.0], [0.5, 0.0]]))
    torch.testing.assert_close(places[:441], neutral())
    torch.testing.assert_close(places[441:], neutral() + torch.tensor([0.05, 0.0, 0.0]))


def test_the_skin_of_a_long_clip_has_the_ends_of_every_coefficient():
    expression = torch.zeros(1000, 2)
    expression[503, 0] = 1.0  # Shown once.
    places = make().skin(expression)
    assert len(places) < 250 * 441
    assert float(places[:, 0].max()) == pytest.approx(0.5)
