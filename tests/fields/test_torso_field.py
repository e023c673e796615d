"""The torso's field: skinning weights, and the motion beside them."""

import pytest
import torch
from torch import nn

from nerfblendshape_ns.fields.torso_field import LARGEST_SHIFT, TorsoField
from nerfblendshape_ns.ops.hash_grid import HashGridLayout

LAYOUT = HashGridLayout(
    num_levels=2, features_per_level=2, log2_table_size=8, base_resolution=4, max_resolution=8, dimensions=2
)


def make(**settings) -> TorsoField:
    torch.manual_seed(0)
    settings = {"frame_code_dim": 0, **settings}
    field = TorsoField(LAYOUT, num_frames=3, hidden_dim=16, **settings)
    with torch.no_grad():
        field.table.normal_()
        for layer in (*field.deformation.layers, *field.appearance.layers):
            layer.weight.mul_(0.5)
    return field


def fix_weight(field: TorsoField, bias: float) -> None:
    last = field.skinning.layers[-1]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, bias)


def hold_still(field: TorsoField) -> None:
    """Nothing moves beside the skinning."""
    nn.init.zeros_(field.deformation.layers[-1].weight)
    nn.init.zeros_(field.deformation.layers[-1].bias)


def by(*shift: float):
    """A head that moves every point by the same."""
    return lambda points: points + torch.tensor(shift)


@pytest.mark.parametrize("bias, weight", [(-30.0, 0.0), (0.0, 0.5), (30.0, 1.0)])
def test_points_move_with_the_head_by_their_skinning_weight(bias, weight):
    field, places, pose = make(), torch.rand(10, 2), torch.zeros(1, 6)
    fix_weight(field, bias)
    hold_still(field)
    expected = weight * torch.tensor([0.08, -0.03]).expand(10, 2)
    torch.testing.assert_close(field(places, pose, head_motion=by(0.08, -0.03))[2], -expected)


def test_points_are_found_where_skinning_took_them():
    """Points of the body turn with the head by their weight; from where they come to, the field leads back."""
    field, points = make(), 0.2 + 0.6 * torch.rand(50, 2, generator=torch.Generator().manual_seed(1))
    hold_still(field)
    turn, centre = torch.tensor([[0.94, -0.34], [0.34, 0.94]]), torch.tensor([0.5, 0.9])

    def turned(places: torch.Tensor) -> torch.Tensor:
        return centre + (places - centre) @ turn.T

    weight = torch.sigmoid(field.skinning(field.position_encoding(points * 2 - 1)))
    seen = points + weight * (turned(points) - points)
    assert float((seen - points).detach().norm(dim=1).mean()) > 0.05
    found = seen + field(seen, torch.zeros(1, 6), head_motion=turned)[2]
    assert float((found - points).detach().norm(dim=1).max()) < 2e-3


def test_motion_goes_on_beyond_the_training_poses_and_colours_do_not():
    field, places = make(), torch.rand(10, 2)
    fix_weight(field, -30.0)
    inside, edge, beyond = (torch.full((1, 6), value) for value in (0.5, 1.0, 1.5))

    def bend(pose: torch.Tensor) -> torch.Tensor:
        return torch.atanh(field(places, pose, head_motion=by(0.0, 0.0))[2] / LARGEST_SHIFT)

    torch.testing.assert_close(bend(beyond) - bend(edge), bend(edge) - bend(inside), atol=1e-4, rtol=0)
    assert float((bend(beyond) - bend(edge)).detach().abs().max()) > 1e-3
    hold_still(field)
    for ours, theirs in zip(
        field(places, beyond, head_motion=by(0.0, 0.0)), field(places, edge, head_motion=by(0.0, 0.0))
    ):
        assert torch.equal(ours, theirs)
    assert not torch.equal(
        field(places, inside, head_motion=by(0.0, 0.0))[0], field(places, edge, head_motion=by(0.0, 0.0))[0]
    )
    network = make(deformation="network")
    for ours, theirs in zip(network(places, beyond), network(places, edge)):
        assert torch.equal(ours, theirs)


def test_the_weight_is_that_of_the_point_of_the_body():
    """A pixel that shows a point of weight 1 moves with the head, whatever the weight of what else passes by."""
    field = make()
    hold_still(field)
    first, last = field.skinning.layers
    with torch.no_grad():  # Weight 1 left of column 0.5, 0 right of it: the last inputs are the position in [-1, 1].
        first.weight.zero_()
        first.bias.zero_()
        first.weight[0, -2], first.weight[1, -2] = 1.0, -1.0
        last.weight.zero_()
        last.bias.zero_()
        last.weight[0, 0], last.weight[0, 1] = -2000.0, 2000.0
    here = torch.tensor([[0.45, 0.5], [0.45, 0.5]])
    shift = field(
        here, torch.zeros(1, 6), head_motion=lambda places: places - torch.tensor([[-0.2, 0.0], [0.15, 0.0]])
    )[2]
    # The first is found left of the border and moves; the second would lie right of it, where nothing does.
    torch.testing.assert_close(shift[:, 0], torch.tensor([-0.2, 0.0]), atol=1e-4, rtol=0)


def test_motion_beside_skinning_is_linear_in_pose_and_code():
    field, places = make(frame_code_dim=2), torch.rand(10, 2)
    fix_weight(field, -30.0)

    def bend(pose: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        return torch.atanh(field(places, pose, code, by(0.0, 0.0))[2] / LARGEST_SHIFT)

    zero, no_code = torch.zeros(1, 6), torch.zeros(1, 2)
    pose, code = torch.rand(1, 6), torch.rand(1, 2)
    neutral = bend(zero, no_code)
    torch.testing.assert_close(
        bend(2 * pose, -code) - neutral,
        2 * (bend(pose, no_code) - neutral) - (bend(zero, code) - neutral),
        atol=1e-4,
        rtol=0,
    )
    assert float((bend(pose, no_code) - neutral).detach().abs().max()) > 1e-3


def test_motion_beside_skinning_belongs_to_the_point_of_the_body_too():
    field, places, pose = make(), torch.rand(10, 2), torch.rand(1, 6)
    fix_weight(field, 30.0)  # Weight 1, so that the point of the body is where the head had it.
    before = places - 0.05
    shift = field(places, pose, head_motion=by(0.05, 0.05))[2]
    torch.testing.assert_close(shift + 0.05, field(before, pose, head_motion=by(0.0, 0.0))[2])


def test_every_ray_may_have_a_pose_of_its_own():
    for deformation in ("linear", "network"):
        field, places, poses = make(deformation=deformation, frame_code_dim=2), torch.rand(4, 2), torch.rand(4, 6)
        codes, motion = torch.rand(4, 2), by(0.05, 0.05)
        together = field(places, poses, codes, head_motion=motion)
        for row in range(4):
            one = slice(row, row + 1)
            alone = field(places[one], poses[one], codes[one], head_motion=motion)
            for ours, theirs in zip(together, alone):
                torch.testing.assert_close(ours[one], theirs)


def test_what_is_fixed_to_the_head_looks_the_same_wherever_it_is():
    field, pose = make(), torch.zeros(1, 6)
    fix_weight(field, 30.0)
    hold_still(field)
    canonical = 0.2 + 0.6 * torch.rand(10, 2)
    here = field(canonical, pose, head_motion=by(0.0, 0.0))
    moved = field(canonical + 0.1, pose, head_motion=by(0.1, 0.1))
    torch.testing.assert_close(moved[0], here[0])
    torch.testing.assert_close(moved[1], here[1])


def test_the_weight_learns_and_does_not_read_the_pose():
    field, places, pose = make(), torch.rand(10, 2), torch.rand(1, 6, requires_grad=True)
    weights = torch.sigmoid(field.skinning(field.position_encoding(places * 2 - 1)))
    assert torch.autograd.grad(weights.sum(), pose, allow_unused=True)[0] is None
    field(places, pose, head_motion=by(0.1, 0.1))[0].sum().backward()
    assert field.skinning.layers[0].weight.grad.abs().sum() > 0


def test_rad_nerf_s_network_has_no_skinning_weights():
    field = make(deformation="network")
    assert field.skinning is None
    assert field(torch.rand(4, 2), torch.zeros(1, 6))[0].shape == (4, 3)
