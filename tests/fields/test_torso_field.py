"""The torso's field: what the head carries."""

import pytest
import torch
from torch import nn

from nerfblendshape_ns.fields.torso_field import TorsoField
from nerfblendshape_ns.ops.hash_grid import HashGridLayout

LAYOUT = HashGridLayout(
    num_levels=2, features_per_level=2, log2_table_size=8, base_resolution=4, max_resolution=8, dimensions=2
)


def make(carried: bool = True) -> TorsoField:
    torch.manual_seed(0)
    field = TorsoField(LAYOUT, num_frames=3, frame_code_dim=0, hidden_dim=16, carried=carried)
    with torch.no_grad():
        field.table.normal_()
        for layer in (*field.deformation.layers, *field.appearance.layers):
            layer.weight.mul_(0.5)
    return field


def fix_share(field: TorsoField, bias: float) -> None:
    last = field.carriage.layers[-1]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, bias)


@pytest.mark.parametrize("bias, share", [(-30.0, 0.0), (0.0, 0.5), (30.0, 1.0)])
def test_the_head_carries_points_by_the_learned_share(bias, share):
    field, places, pose = make(), torch.rand(10, 2), torch.zeros(1, 6)
    carried = places + torch.tensor([0.08, -0.03])
    fix_share(field, bias)
    still = field(places, pose, carried=places)[2]
    torch.testing.assert_close(field(places, pose, carried=carried)[2] - still, share * (carried - places))


def test_what_the_head_carries_wholly_looks_the_same_wherever_it_is():
    field, pose = make(), torch.zeros(1, 6)
    fix_share(field, 30.0)
    nn.init.zeros_(field.deformation.layers[-1].weight)
    nn.init.zeros_(field.deformation.layers[-1].bias)
    canonical = 0.2 + 0.6 * torch.rand(10, 2)
    here = field(canonical, pose, carried=canonical)
    moved = field(canonical + 0.1, pose, carried=canonical)
    torch.testing.assert_close(moved[0], here[0])
    torch.testing.assert_close(moved[1], here[1])


def test_the_share_learns_and_does_not_see_the_pose():
    field, places, pose = make(), torch.rand(10, 2), torch.rand(1, 6, requires_grad=True)
    shares = torch.sigmoid(field.carriage(field.position_encoding(places * 2 - 1)))
    assert torch.autograd.grad(shares.sum(), pose, allow_unused=True)[0] is None
    field(places, pose, carried=places + 0.1)[0].sum().backward()
    assert field.carriage.layers[0].weight.grad.abs().sum() > 0


def test_without_carrying_there_is_nothing_to_learn_for_it():
    field = make(carried=False)
    assert field.carriage is None
    assert field(torch.rand(4, 2), torch.zeros(1, 6))[0].shape == (4, 3)
