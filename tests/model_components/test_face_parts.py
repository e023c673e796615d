"""Coefficients of the upper and the lower face, and training values swapped between frames."""

import pytest
import torch

from nerfblendshape_ns.model_components.face_parts import NOSE_BRIDGE, NOSE_TIP, FaceParts
from nerfblendshape_ns.model_components.head_hull import CHIN, FOREHEAD, SUBNASALE

AABB = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
NAMES = ["eyeBlinkLeft", "browInnerUp", "jawOpen", "mouthPucker", "noseSneerLeft"]


def mesh() -> torch.Tensor:
    """A round face of radius 0.5 in the plane y = -0.5: nose's base at 0, its bridge at 0.25."""
    angles = torch.linspace(0, 2 * torch.pi, 469)[:468]
    vertices = torch.stack([0.5 * angles.sin(), torch.full((468,), -0.5), 0.5 * angles.cos()], -1)
    for vertex, height in ((FOREHEAD, 0.5), (CHIN, -0.5), (SUBNASALE, 0.0), (NOSE_TIP, 0.2), (NOSE_BRIDGE, 0.3)):
        vertices[vertex] = torch.tensor([0.0, -0.5, height])
    return vertices


def test_each_part_keeps_its_own_coefficients():
    parts = FaceParts(AABB, mesh(), NAMES, pose_length=2)
    own, other = torch.zeros(3, 7), torch.ones(4, 7)
    torch.manual_seed(0)
    seen = set()
    for _ in range(20):
        swap = parts.draw(own, other, probability=1.0)
        assert swap is not None
        seen.add(swap.lower)
        # Below the nose eyes, brows and pose are foreign, above it jaw, mouth and pose; the nose's own are nobody's.
        foreign = [1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0] if swap.lower else [0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]
        torch.testing.assert_close(swap.condition, torch.tensor(foreign).expand(3, 7))
    assert seen == {True, False}


def test_foreign_values_come_from_one_frame():
    parts = FaceParts(AABB, mesh(), NAMES)
    pool = torch.arange(50.0)[:, None].expand(50, 5)
    swap = parts.draw(torch.full((2, 5), -1.0), pool, probability=1.0)
    assert swap is not None
    for row in swap.condition:
        assert len(row[row >= 0].unique()) == 1


def test_how_often():
    parts = FaceParts(AABB, mesh(), NAMES)
    torch.manual_seed(0)
    drawn = [parts.draw(torch.zeros(1, 5), torch.ones(1, 5), 0.3) is not None for _ in range(1000)]
    assert sum(drawn) == pytest.approx(300, abs=45)


@pytest.mark.parametrize("names", [["pca_00", "pca_01"], ["jawOpen", "mouthLeft"], ["eyeBlinkLeft"]])
def test_names_that_do_not_tell_parts_apart(names):
    parts = FaceParts(AABB, mesh(), names)
    assert parts.draw(torch.zeros(1, len(names)), torch.ones(1, len(names)), 1.0) is None


def test_where_the_parts_are():
    parts = FaceParts(AABB, mesh(), NAMES)
    heights = torch.tensor([-0.3, 0.1, 0.3, 0.3, -0.3])
    positions = torch.stack([torch.zeros(5), torch.full((5,), -0.5), heights], -1)
    positions[3, 0] = 0.95  # Beside the face.
    positions[4, 1] = 0.9  # The back of the head.
    unit = (positions - AABB[0]) / (AABB[1] - AABB[0])
    assert parts.inside(unit, lower=True).tolist() == [True, False, False, False, False]
    assert parts.inside(unit, lower=False).tolist() == [False, False, True, False, False]


def test_checkpoints_do_not_hold_it():
    assert not FaceParts(AABB, mesh(), NAMES).state_dict()
