"""What moves the lower and the upper face, and where they are."""

import pytest
import torch

from nerfblendshape_ns.model_components.conditioning.face_parts import (
    NOSE_BRIDGE,
    NOSE_TIP,
    FaceParts,
)
from nerfblendshape_ns.model_components.occupancy.visual_hull import CHIN, FOREHEAD
from nerfblendshape_ns.ops.canonical import canonical_positions
from nerfblendshape_ns.ops.canonical_kernels import LOWER_FACE, OFF_FACE, UPPER_FACE

AABB = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
NAMES = ["eyeBlinkLeft", "browInnerUp", "jawOpen", "mouthPucker", "noseSneerLeft"]
REFERENCE = torch.arange(7.0)


def mesh() -> torch.Tensor:
    """A round face of radius 0.5 in the plane y = -0.5: the middle of the nose at 0."""
    angles = torch.linspace(0, 2 * torch.pi, 469)[:468]
    vertices = torch.stack([0.5 * angles.sin(), torch.full((468,), -0.5), 0.5 * angles.cos()], -1)
    for vertex, height in ((FOREHEAD, 0.5), (CHIN, -0.5), (NOSE_TIP, -0.1), (NOSE_BRIDGE, 0.1)):
        vertices[vertex] = torch.tensor([0.0, -0.5, height])
    return vertices


def make() -> FaceParts:
    return FaceParts(AABB, mesh(), NAMES, REFERENCE)


def part(parts: FaceParts, points: torch.Tensor, soft: bool) -> torch.Tensor:
    return canonical_positions(points, face=parts.face_map(soft))[1]


def test_each_part_sees_what_moves_it():
    own = torch.full((2, 7), 9.0)
    conditions = make().conditions(own).view(3, 2, 7)
    assert torch.equal(conditions[OFF_FACE], own)
    # Eyes and brows stand still below the border, jaw and mouth above it; the nose's own and the head pose act in both.
    assert conditions[LOWER_FACE].tolist() == [[0.0, 1.0, 9.0, 9.0, 9.0, 9.0, 9.0]] * 2
    assert conditions[UPPER_FACE].tolist() == [[9.0, 9.0, 2.0, 3.0, 9.0, 9.0, 9.0]] * 2


def test_no_part_sees_beyond_the_limits():
    parts = make()
    low, high = torch.full((7,), -5.0), torch.full((7,), 5.0)
    high[4] = 12.0
    parts.limit(torch.stack([low, high]))
    conditions = parts.conditions(torch.tensor([[9.0] * 7, [-9.0] * 7])).view(3, 2, 7)
    assert conditions[OFF_FACE].tolist() == [[5.0] * 4 + [9.0] + [5.0] * 2, [-5.0] * 7]
    assert conditions[LOWER_FACE, 0].tolist() == [0.0, 1.0, 5.0, 5.0, 9.0, 5.0, 5.0]
    parts.limit(None)
    assert float(parts.conditions(torch.full((1, 7), 9.0)).max()) == 9.0


@pytest.mark.parametrize("names", [["pca_00", "pca_01"], ["jawOpen", "mouthLeft"], ["eyeBlinkLeft"]])
def test_names_that_do_not_say_where_they_act(names):
    assert not FaceParts.has_region_names(names)
    assert FaceParts.has_region_names(NAMES)


def positions(heights: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.zeros_like(heights), torch.full_like(heights, -0.5), heights], -1)


def in_box(points: torch.Tensor) -> torch.Tensor:
    return (points - AABB[0]) / (AABB[1] - AABB[0])


def test_where_the_parts_are():
    points = positions(torch.tensor([-0.3, -0.05, 0.05, 0.3, -0.3]))
    points[3, 0] = 0.95  # Beside the face.
    points[4, 1] = 0.9  # The back of the head.
    assert part(make(), in_box(points), soft=False).tolist() == [LOWER_FACE, LOWER_FACE, UPPER_FACE, OFF_FACE, OFF_FACE]


def test_borders_are_blurred_in_training():
    torch.manual_seed(0)
    at_border = part(make(), in_box(positions(torch.full((1000,), -1e-3))), soft=True)
    assert 400 < int((at_border == LOWER_FACE).sum()) < 600 and not bool((at_border == OFF_FACE).any())
    inside = part(make(), in_box(positions(torch.full((1000,), -0.3))), soft=True)
    assert bool((inside == LOWER_FACE).all())


def test_checkpoints_bring_it_back():
    other = FaceParts(AABB, 0.5 * mesh(), NAMES, torch.zeros(7))
    other.load_state_dict(make().state_dict())
    points = in_box(torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    assert torch.equal(part(other, points, soft=False), part(make(), points, soft=False))
    assert torch.equal(other.reference, REFERENCE)
