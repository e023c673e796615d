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


def hold_still(field: TorsoField) -> None:
    """Nothing moves beside what the head carries."""
    nn.init.zeros_(field.deformation.layers[-1].weight)
    nn.init.zeros_(field.deformation.layers[-1].bias)


def by(*shift: float):
    """Carries every point by the same."""
    return lambda points: points + torch.tensor(shift)


@pytest.mark.parametrize("bias, share", [(-30.0, 0.0), (0.0, 0.5), (30.0, 1.0)])
def test_the_head_carries_points_by_the_learned_share(bias, share):
    field, places, pose = make(), torch.rand(10, 2), torch.zeros(1, 6)
    fix_share(field, bias)
    hold_still(field)
    expected = share * torch.tensor([0.08, -0.03]).expand(10, 2)
    torch.testing.assert_close(field(places, pose, carry=by(0.08, -0.03))[2], -expected)


def test_points_are_found_where_skinning_took_them():
    """Points of the body are turned with the head by their share; from where they come to, the field leads back."""
    field, points = make(), 0.2 + 0.6 * torch.rand(50, 2, generator=torch.Generator().manual_seed(1))
    hold_still(field)
    turn, centre = torch.tensor([[0.94, -0.34], [0.34, 0.94]]), torch.tensor([0.5, 0.9])

    def carry(places: torch.Tensor) -> torch.Tensor:
        return centre + (places - centre) @ turn.T

    share = torch.sigmoid(field.carriage(field.position_encoding(points * 2 - 1)))
    seen = points + share * (carry(points) - points)
    assert float((seen - points).detach().norm(dim=1).mean()) > 0.05
    found = seen + field(seen, torch.zeros(1, 6), carry=carry)[2]
    assert float((found - points).detach().norm(dim=1).max()) < 2e-3


def test_motion_goes_on_beyond_the_training_poses_and_colours_do_not():
    field, places = make(), torch.rand(10, 2)
    fix_share(field, -30.0)
    inside, edge, beyond = (torch.full((1, 6), value) for value in (0.5, 1.0, 1.5))

    def bend(pose: torch.Tensor) -> torch.Tensor:
        return torch.atanh(field(places, pose, carry=by(0.0, 0.0))[2] / LARGEST_SHIFT)

    torch.testing.assert_close(bend(beyond) - bend(edge), bend(edge) - bend(inside), atol=1e-4, rtol=0)
    assert float((bend(beyond) - bend(edge)).detach().abs().max()) > 1e-3
    hold_still(field)
    for ours, theirs in zip(field(places, beyond, carry=by(0.0, 0.0)), field(places, edge, carry=by(0.0, 0.0))):
        assert torch.equal(ours, theirs)
    assert not torch.equal(field(places, inside, carry=by(0.0, 0.0))[0], field(places, edge, carry=by(0.0, 0.0))[0])
    network = make(carried=False, deformation="network")
    for ours, theirs in zip(network(places, beyond), network(places, edge)):
        assert torch.equal(ours, theirs)


def test_the_share_is_that_of_the_point_of_the_body():
    """A pixel where something of share 1 has come to is carried wholly, whatever the share of what else passes by."""
    field = make()
    hold_still(field)
    first, last = field.carriage.layers
    with torch.no_grad():  # Share 1 left of column 0.5, share 0 right of it: the first inputs are the place in [-1, 1].
        first.weight.zero_()
        first.bias.zero_()
        first.weight[0, -2], first.weight[1, -2] = 1.0, -1.0
        last.weight.zero_()
        last.bias.zero_()
        last.weight[0, 0], last.weight[0, 1] = -2000.0, 2000.0
    here = torch.tensor([[0.45, 0.5], [0.45, 0.5]])
    shift = field(here, torch.zeros(1, 6), carry=lambda places: places - torch.tensor([[-0.2, 0.0], [0.15, 0.0]]))[2]
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
    fix_share(field, 30.0)  # Carried wholly, so that the point of the body is where the head had it.
    before = places - 0.05
    shift = field(places, pose, carry=by(0.05, 0.05))[2]
    torch.testing.assert_close(shift + 0.05, field(before, pose, carry=by(0.0, 0.0))[2])


def test_every_ray_may_have_a_pose_of_its_own():
    for deformation in ("linear", "network"):
        field, places, poses = make(deformation=deformation, frame_code_dim=2), torch.rand(4, 2), torch.rand(4, 6)
        codes, carry = torch.rand(4, 2), by(0.05, 0.05)
        together = field(places, poses, codes, carry=carry)
        for row in range(4):
            one = slice(row, row + 1)
            alone = field(places[one], poses[one], codes[one], carry=carry)
            for ours, theirs in zip(together, alone):
                torch.testing.assert_close(ours[one], theirs)


def test_what_the_head_carries_wholly_looks_the_same_wherever_it_is():
    field, pose = make(), torch.zeros(1, 6)
    fix_share(field, 30.0)
    hold_still(field)
    canonical = 0.2 + 0.6 * torch.rand(10, 2)
    here = field(canonical, pose, carry=by(0.0, 0.0))
    moved = field(canonical + 0.1, pose, carry=by(0.1, 0.1))
    torch.testing.assert_close(moved[0], here[0])
    torch.testing.assert_close(moved[1], here[1])


def test_the_share_learns_and_does_not_see_the_pose():
    field, places, pose = make(), torch.rand(10, 2), torch.rand(1, 6, requires_grad=True)
    shares = torch.sigmoid(field.carriage(field.position_encoding(places * 2 - 1)))
    assert torch.autograd.grad(shares.sum(), pose, allow_unused=True)[0] is None
    field(places, pose, carry=by(0.1, 0.1))[0].sum().backward()
    assert field.carriage.layers[0].weight.grad.abs().sum() > 0


def test_without_carrying_there_is_nothing_to_learn_for_it():
    field = make(carried=False)
    assert field.carriage is None
    assert field(torch.rand(4, 2), torch.zeros(1, 6))[0].shape == (4, 3)
