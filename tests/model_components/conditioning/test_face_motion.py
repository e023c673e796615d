"""Samples of a moved face are moved to canonical space."""

import pytest
import torch
from torch.nn import functional

from nerfblendshape_ns.model_components.conditioning.face_motion import GRID, FaceMotion, _covariance
from nerfblendshape_ns.ops.canonical import canonical_positions

AABB = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def neutral() -> torch.Tensor:
    """A square patch of skin of side 0.8 in the plane y = -0.5."""
    side = torch.linspace(-0.4, 0.4, 21)
    x, z = torch.meshgrid(side, side, indexing="ij")
    return torch.stack([x.flatten(), torch.full((441,), -0.5), z.flatten()], -1)


def make() -> FaceMotion:
    """The first coefficient moves all of it by 0.1 to the right, the second its lower half by 0.08 down."""
    canonical = neutral()
    motion = torch.zeros(2, len(canonical), 3)
    motion[0, :, 0] = 0.1
    motion[1, canonical[:, 2] < 0, 2] = -0.08
    return FaceMotion(AABB, canonical, motion)


def unit(points: torch.Tensor) -> torch.Tensor:
    return (points - AABB[0]) / (AABB[1] - AABB[0])


def moved_back(motion: FaceMotion, points: torch.Tensor, expression: torch.Tensor, frame=None) -> torch.Tensor:
    """In scene units."""
    return canonical_positions(unit(points), None, frame, len(expression), motion.fields(expression))[0] * 2 - 1


def displacement(motion: FaceMotion, canonical: torch.Tensor, expression: torch.Tensor) -> torch.Tensor:
    """How far points move in a frame, in scene units, from their canonical positions in the box of ±1."""
    layers = motion.fields(expression).permute(0, 4, 1, 2, 3)
    values = functional.grid_sample(layers, canonical[None, None, None], padding_mode="border", align_corners=True)
    return 2 * values[0, :, 0, 0].T


def test_points_move_alike_as_matern_s_covariance_says():
    """Of smoothness 3/2: (1 + sqrt 3) exp(-sqrt 3) = 0.4834 at the length, 0.1397 at twice that."""
    points = torch.tensor([[0.0, 0.0, 0.0], [0.3, 0.0, 0.0], [0.0, 0.0, 0.6]])
    torch.testing.assert_close(
        _covariance(points[:1], points, 0.3), torch.tensor([[1.0, 0.4834, 0.1397]]), rtol=0, atol=1e-4
    )


def test_neutral_leaves_everything_where_it_is():
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    torch.testing.assert_close(moved_back(make(), points, torch.zeros(1, 2)), points, rtol=0, atol=1e-6)


def test_skin_goes_back_to_its_place():
    canonical = torch.tensor([[0.0, -0.5, 0.2], [0.1, -0.5, 0.0], [-0.2, -0.48, -0.2]])
    seen = canonical + torch.tensor([0.1, 0.0, 0.0])
    torch.testing.assert_close(moved_back(make(), seen, torch.tensor([[1.0, 0.0]])), canonical, rtol=0, atol=2e-3)
    # Half the coefficient, half the way; the lower half moves alone.
    seen = canonical + torch.tensor([0.05, 0.0, 0.0])
    torch.testing.assert_close(moved_back(make(), seen, torch.tensor([[0.5, 0.0]])), canonical, rtol=0, atol=2e-3)
    lower, upper = torch.tensor([[0.0, -0.5, -0.25]]), torch.tensor([[0.0, -0.5, 0.25]])
    down = torch.tensor([0.0, 0.0, -0.08])
    both = moved_back(make(), torch.cat([lower + down, upper]), torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(both, torch.cat([lower, upper]), rtol=0, atol=2e-3)


def test_what_is_far_from_the_face_hardly_moves():
    away = torch.tensor([[0.0, 0.3, 0.0], [0.9, -0.5, 0.9], [0.0, -0.5, -0.95]])
    moved = (moved_back(make(), away, torch.tensor([[1.0, 0.0]])) - away).norm(dim=1)
    assert float(moved.max()) < 0.015  # Of 0.1.


def test_motion_goes_on_beyond_the_landmarks():
    """The underside of a jaw has none; under a patch that moves as a whole it moves along."""
    motion = make()
    for beyond in ([0.0, -0.42, -0.3], [0.0, -0.5, -0.48]):  # A third of the kernel's length behind it, and below.
        canonical = torch.tensor([beyond])
        moved = displacement(motion, canonical, torch.tensor([[1.0, 0.0]]))
        assert 0.08 < float(moved[0, 0]) < 0.1 and float(moved[0, 1:].abs().max()) < 1e-6


def test_open_lips_are_separated():
    """Lower landmarks leave upper ones they touch; most points find their canonical position, between the lips too."""
    canonical = neutral()
    canonical = torch.cat(
        [canonical[canonical[:, 2] >= 0.03], canonical[canonical[:, 2] >= 0.03] * torch.tensor([1.0, 1.0, -1.0])]
    )
    motion = torch.zeros(1, len(canonical), 3)
    motion[0, canonical[:, 2] < 0, 2] = -0.3
    face, opened = FaceMotion(AABB, canonical, motion), torch.tensor([[1.0]])
    column = torch.stack([torch.zeros(200), torch.full((200,), -0.5), torch.linspace(-0.75, 0.4, 200)], -1)
    back = moved_back(face, column, opened)
    error = (back + displacement(face, back, opened) - column).norm(dim=1)
    # Plain steps are 0.08 off in the mean, as far as the lips are apart at worst, however many they are.
    assert float(error.mean()) < 0.01 and float(error.max()) < 0.1


def test_a_checkpoint_brings_the_motion_that_its_tables_were_trained_on():
    motion, other = make(), FaceMotion(AABB, neutral(), torch.zeros(2, 441, 3))
    other.load_state_dict(motion.state_dict())
    assert torch.equal(other.volume, motion.volume)
    # nerfstudio loads a pipeline twice, the second time without the model's tensors.
    other.load_state_dict({}, strict=False)
    assert torch.equal(other.volume, motion.volume)


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
    assert field.shape == (GRID, GRID, GRID, 3)
    z, y, x = GRID // 2, round(0.25 * (GRID - 1)), GRID // 2
    assert abs(float(field[z, y, x, 0]) - 0.05) < 2e-3  # 0.1 of a box of side 2.
    assert float(field[z, GRID - 1 - y, x, 0]) < 1e-3 and float(field[..., 1:].abs().max()) == 0.0


def test_a_clip_without_landmarks_or_mesh_has_none():
    seen = torch.zeros(4, 2), torch.zeros(4, 12)
    mesh, tangents = torch.zeros(468, 3), torch.zeros(4, 468, 2)
    for metadata in ({}, {"face_mesh": mesh}, {"landmark_tangents": tangents, "face_mesh": None}):
        assert FaceMotion.of_clip(AABB, metadata, *seen) is None
    canonical = neutral()
    again = FaceMotion.of_clip(AABB, {"face_motion": (canonical, torch.zeros(2, len(canonical), 3))}, *seen)
    assert again is not None and torch.equal(again.neutral, canonical)


def test_skin_is_where_the_landmarks_are_in_each_frame():
    motion = make()
    places = motion.skin(torch.tensor([[0.0, 0.0], [0.5, 0.0]]))
    torch.testing.assert_close(places[0], neutral())
    torch.testing.assert_close(places[1], neutral() + torch.tensor([0.05, 0.0, 0.0]))


def test_the_skin_of_a_long_clip_has_the_ends_of_every_coefficient():
    expression = torch.zeros(1000, 2)
    expression[503, 0] = 1.0  # Shown once.
    places = make().skin(expression)
    assert len(places) < 250
    assert float(places[..., 0].max()) == pytest.approx(0.5)
