"""The face, the dropped jaw below it, and nothing else."""

import torch

from nerfblendshape_ns.model_components.conditioning.face_region import FaceRegion

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
    assert region(points, soft=False).tolist() == [True, True, False, False, False]


def test_the_ramp_is_decided_at_random_in_training_and_fixed_outside():
    region = FaceRegion(AABB, face(), side=0.0, ramp=0.2)
    edge = unit([[0.0, -0.5, 0.6]]).expand(4000, 3)  # In the middle of the ramp above the forehead.
    torch.manual_seed(0)
    share = region(edge, soft=True).float().mean()
    assert 0.3 < float(share) < 0.7
    assert region(edge, soft=False).unique().numel() == 1


def test_it_is_part_of_the_checkpoint():
    assert set(FaceRegion(AABB, face()).state_dict()) == {"weights", "rear"}
