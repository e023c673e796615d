"""The torso's field: what the head carries, and what moves beside it."""

import pytest
import torch
from torch import nn

from nerfblendshape_ns.fields.torso_field import LARGEST_SHIFT, TorsoField
from nerfblendshape_ns.ops.hash_grid import HashGridLayout

LAYOUT = HashGridLayout(
    num_levels=2, features_per_level=2, log2_table_size=8, base_resolution=4, max_resolution=8, dimensions=2
)


def make(carried: bool = True, **settings) -> TorsoField:
    torch.manual_seed(0)
    settings = {"frame_code_dim": 0, **settings}
    field = TorsoField(LAYOUT, num_frames=3, hidden_dim=16, carried=carried, **settings)
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
    nn.init.zeros_(field.deformation.layers[-1].weight)
    nn.init.zeros_(field.deformation.layers[-1].bias)
    torch.testing.assert_close(field(places, pose, carried=carried)[2], share * (carried - places))


def test_the_share_is_that_of_the_point_of_the_body():
    """A pixel where something of share 1 has come to is carried wholly, whatever the share of what else passes by."""
    field = make()
    nn.init.zeros_(field.deformation.layers[-1].weight)
    nn.init.zeros_(field.deformation.layers[-1].bias)
    first, last = field.carriage.layers
    with torch.no_grad():  # Share 1 left of column 0.5, share 0 right of it: the first inputs are the place in [-1, 1].
        first.weight.zero_()
        first.bias.zero_()
        first.weight[0, -2], first.weight[1, -2] = 1.0, -1.0
        last.weight.zero_()
        last.bias.zero_()
        last.weight[0, 0], last.weight[0, 1] = -2000.0, 2000.0
    here = torch.tensor([[0.45, 0.5], [0.45, 0.5]])
    carried = torch.tensor([[0.25, 0.5], [0.6, 0.5]])
    shift = field(here, torch.zeros(1, 6), carried=carried)[2]
    # The first is found left of the border and is carried; the second would lie right of it, where nothing is carried.
    torch.testing.assert_close(shift[:, 0], torch.tensor([-0.2, 0.0]), atol=1e-4, rtol=0)


def test_what_moves_beside_it_is_linear_in_pose_and_code():
    field, places = make(carried=False, frame_code_dim=2), torch.rand(10, 2)

    def bend(pose: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        return torch.atanh(field(places, pose, code)[2] / LARGEST_SHIFT)

    zero, no_code = torch.zeros(1, 6), torch.zeros(1, 2)
    pose, code = torch.rand(1, 6), torch.rand(1, 2)
    rest = bend(zero, no_code)
    torch.testing.assert_close(
        bend(2 * pose, -code) - rest, 2 * (bend(pose, no_code) - rest) - (bend(zero, code) - rest), atol=1e-4, rtol=0
    )
    assert float((bend(pose, no_code) - rest).detach().abs().max()) > 1e-3


def test_what_moves_beside_it_belongs_to_the_point_of_the_body_too():
    field, places, pose = make(), torch.rand(10, 2), torch.rand(1, 6)
    fix_share(field, 30.0)  # Carried wholly, so that the point of the body is the carried one.
    carried = 0.9 * places + 0.02
    shift = field(places, pose, carried=carried)[2]
    torch.testing.assert_close(shift - (carried - places), field(carried, pose, carried=carried)[2])


def test_every_ray_may_have_a_pose_of_its_own():
    for deformation in ("linear", "network"):
        field, places, poses = make(deformation=deformation, frame_code_dim=2), torch.rand(4, 2), torch.rand(4, 6)
        codes, carried = torch.rand(4, 2), places + 0.05
        together = field(places, poses, codes, carried=carried)
        for row in range(4):
            one = slice(row, row + 1)
            alone = field(places[one], poses[one], codes[one], carried=carried[one])
            for ours, theirs in zip(together, alone):
                torch.testing.assert_close(ours[one], theirs)


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
