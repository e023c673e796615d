"""The face, the dropped jaw below it, and nothing else."""

from typing import Optional

import torch

from nerfblendshape_ns.model_components.conditioning.face_region import FaceRegion
from nerfblendshape_ns.ops.canonical import FaceMap, canonical_positions
from nerfblendshape_ns.ops.canonical_kernels import OFF_FACE

AABB = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def face() -> torch.Tensor:
    """A flat round face of height 1 (z from -0.5 to 0.5) at y = -0.5."""
    angles = torch.linspace(0, 2 * torch.pi, 469)[:468]
    mesh = torch.stack([0.4 * angles.sin(), torch.full((468,), -0.5), 0.5 * angles.cos()], -1)
    mesh[10] = torch.tensor([0.0, -0.5, 0.5])
    mesh[152] = torch.tensor([0.0, -0.5, -0.5])
    return mesh


def unit(points: list) -> torch.Tensor:
    return (torch.tensor(points) + 1.0) / 2.0


def inside(region: FaceRegion, points: torch.Tensor, seed: Optional[int] = None) -> torch.Tensor:
    draw = None if seed is None else torch.tensor([seed], dtype=torch.int32)
    face_map = FaceMap(region.weights, region.rear, torch.zeros(()), 0.0, draw)
    return canonical_positions(points, face=face_map)[1] != OFF_FACE


def test_face_and_jaw_are_inside_hair_ears_and_back_are_not():
    region = FaceRegion(AABB, face())
    points = unit(
        [
            [0.0, -0.5, 0.0],  # nose
            [0.0, -0.5, -0.72],  # below the chin, where an open jaw goes
            [0.0, -0.5, 0.8],  # hair
            [0.7, -0.5, 0.0],  # ear
            [0.0, 0.6, 0.0],  # back of the head
        ]
    )
    assert inside(region, points).tolist() == [True, True, False, False, False]


def test_the_ramp_is_decided_at_random_in_training_and_fixed_outside():
    region = FaceRegion(AABB, face(), side=0.0, ramp=0.2)
    edge = unit([[0.0, -0.5, 0.6]]).expand(4000, 3)  # In the middle of the ramp above the forehead.
    assert 0.3 < float(inside(region, edge, seed=0).float().mean()) < 0.7
    assert inside(region, edge).unique().numel() == 1


def test_it_is_part_of_the_checkpoint():
    assert set(FaceRegion(AABB, face()).state_dict()) == {"weights", "rear"}
