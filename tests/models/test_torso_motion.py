"""How a torso moves with its head, and torsos of before that move otherwise."""

import pytest
import torch
from tiny_head import NAMES, bundle
from tiny_torso import make_torso

from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.fields.torso_field import POSE_DIM
from nerfblendshape_ns.models.load import build_torso


def test_the_head_carries_the_torso_when_it_moves():
    """A torso that is carried wholly shows in a moved pose what the reference frame has at the carried place."""
    model = make_torso(frame_code_dim=0).eval()
    field = model.field
    with torch.no_grad():
        field.carriage.layers[-1].weight.zero_()
        field.carriage.layers[-1].bias.fill_(30.0)
        field.appearance.layers[0].weight[:, -POSE_DIM:] = 0.0  # Colours do not see the pose.
        field.deformation.layers[-1].weight.zero_()
        field.deformation.layers[-1].bias.zero_()
    reference = model.pose_code.reference
    moved = reference.clone()
    moved[3] += 0.1
    points = 0.3 + 0.4 * torch.rand(8, 2, generator=torch.Generator().manual_seed(0))
    place = model.plane.carried(points, reference[None], moved[None])
    assert float((place - points).norm(dim=1).min()) > 1e-3
    here = field(points, model.pose_code(reference[None]), carry=model._carry(reference[None]))
    there = field(place, model.pose_code(moved[None]), carry=model._carry(moved[None]))
    torch.testing.assert_close(here[0], there[0], atol=1e-4, rtol=0)


def test_the_motion_may_go_half_a_range_beyond_the_training_poses():
    model = make_torso().eval()
    far = model.pose_code.reference.clone()
    far[3] += 100.0
    pose = model.frames(torch.zeros(1, len(NAMES)), far[None]).pose
    assert float(pose.abs().max()) == 1.5


@pytest.mark.parametrize(
    "format_, unsaid",
    [(3, ["carried", "deformation", "skinning"]), (4, ["deformation", "skinning"]), (7, ["skinning"])],
)
def test_a_torso_of_an_earlier_format_opens(format_, unsaid):
    """Before format 4 the head carried nothing; before 5 a network read its pose; before 8 pixels were turned back."""
    deformation = "network" if "deformation" in unsaid else "linear"
    model = make_torso(carried="carried" not in unsaid, deformation=deformation).eval()
    model.field.skinning = "backward"
    state = model.state_dict()
    state["_extra_state"]["format"] = format_
    for name in unsaid:
        del state["_extra_state"]["architecture"][name]
    rebuilt = build_torso(state)
    rays = bundle([1])
    assert (rebuilt.field.carriage is None) == ("carried" in unsaid)
    assert rebuilt.field.linear == (deformation == "linear") and rebuilt.field.skinning == "backward"
    assert torch.equal(rebuilt.get_outputs(rays)["rgb"], model.get_outputs(rays)["rgb"])
    if format_ == 7:  # Such a run goes on as it was.
        resumed = make_torso().eval()
        resumed.load_state_dict(state)
        assert torch.equal(resumed.get_outputs(rays)["rgb"], model.get_outputs(rays)["rgb"])
        assert resumed.get_extra_state()["architecture"]["skinning"] == "backward"
        return
    with pytest.raises(UserError, match="trained with (carried|deformation) = .*, the model is configured with"):
        make_torso().load_state_dict(state)
