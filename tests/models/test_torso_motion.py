"""How a torso moves with its head."""

import torch
from tiny_head import NAMES
from tiny_torso import make_torso

from nerfblendshape_ns.fields.torso_field import POSE_DIM


def test_the_torso_follows_the_head_by_its_skinning_weights():
    """A torso of skinning weight 1 shows at moved points what the reference frame has at the points."""
    model = make_torso(frame_code_dim=0).eval()
    field = model.field
    with torch.no_grad():
        field.skinning.layers[-1].weight.zero_()
        field.skinning.layers[-1].bias.fill_(30.0)
        field.appearance.layers[0].weight[:, -POSE_DIM:] = 0.0  # Colours do not see the pose.
        field.deformation.layers[-1].weight.zero_()
        field.deformation.layers[-1].bias.zero_()
    reference = model.pose_code.reference
    moved = reference.clone()
    moved[3] += 0.1
    points = 0.3 + 0.4 * torch.rand(8, 2, generator=torch.Generator().manual_seed(0))
    place = model.plane.moved_with_head(points, reference[None], moved[None])
    assert float((place - points).norm(dim=1).min()) > 1e-3
    here = field(points, model.pose_code(reference[None]), head_motion=model._head_motion(reference[None]))
    there = field(place, model.pose_code(moved[None]), head_motion=model._head_motion(moved[None]))
    torch.testing.assert_close(here[0], there[0], atol=1e-4, rtol=0)


def test_the_motion_may_go_half_a_range_beyond_the_training_poses():
    model = make_torso().eval()
    far = model.pose_code.reference.clone()
    far[3] += 100.0
    pose = model.frames(torch.zeros(1, len(NAMES)), far[None]).pose
    assert float(pose.abs().max()) == 1.5
