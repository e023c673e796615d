"""Density bounds and what reaches the colour network."""

import pytest
import torch

from nerfblendshape_ns.fields.head_field import (
    DENSITY_BIAS,
    OPACITY_START,
    OPACITY_WARMUP,
    OPAQUE_STEP,
    HeadField,
    largest_optical_depth,
)
from nerfblendshape_ns.fields.networks import frame_code
from nerfblendshape_ns.ops.bounded_exponential import bounded_exponential
from nerfblendshape_ns.ops.hash_grid import HashGridLayout

LAYOUT = HashGridLayout(num_levels=3, features_per_level=2, log2_table_size=8, base_resolution=4, max_resolution=16)


def test_bounded_exponential_by_hand():
    logarithm = torch.tensor([1.0, 2.0, 6.0, 6.0], requires_grad=True)
    value = bounded_exponential(torch.stack([logarithm, logarithm], dim=1)[:, 1], -1.0, 10.0)
    torch.testing.assert_close(value.detach(), torch.tensor([1.0, 2.718282, 10.0, 10.0]))
    # The third is above the bound and asked to shrink: it may. The fourth is asked to grow: it may not.
    value.backward(torch.tensor([1.0, -1.0, 1.0, -1.0]))
    torch.testing.assert_close(logarithm.grad, torch.tensor([1.0, -2.718282, 10.0, 0.0]))


def test_density_never_exceeds_its_bound():
    torch.manual_seed(0)
    field = HeadField(LAYOUT, num_basis=2, num_frames=1, max_density=3.0)
    expression = torch.rand(1, 2)
    with torch.no_grad():
        field.density_network.layers[-1].bias[0] = 6.0
    density, geometry = field.density(torch.rand(100, 3), *field.blend(expression))
    assert float(density.max()) == pytest.approx(3.0) and geometry.shape == (100, 15)


def test_appearance_codes_start_equal_and_average_elsewhere():
    field = HeadField(LAYOUT, num_basis=2, num_frames=3, frame_code_dim=4)
    assert field.frame_codes is not None
    with torch.no_grad():
        field.frame_codes.weight.copy_(torch.arange(12.0).view(3, 4))
    torch.testing.assert_close(frame_code(field.frame_codes, None, 1), torch.tensor([[4.0, 5.0, 6.0, 7.0]]))
    torch.testing.assert_close(
        frame_code(field.frame_codes, torch.tensor([2]), 1), torch.tensor([[8.0, 9.0, 10.0, 11.0]])
    )


def test_opacity_grows_until_a_step_can_be_opaque():
    steps = (0, OPACITY_WARMUP // 2, OPACITY_WARMUP, 5 * OPACITY_WARMUP)
    expected = [OPACITY_START, (OPACITY_START * OPAQUE_STEP) ** 0.5, OPAQUE_STEP, OPAQUE_STEP]
    assert [largest_optical_depth(step) for step in steps] == pytest.approx(expected)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("conditioning", ["blend", "concat"])
def test_what_is_constant_in_a_frame_is_computed_once(conditioning, frames):
    """The same numbers and gradients as with the coefficients appended to every sample's input."""
    torch.manual_seed(0)
    field = HeadField(LAYOUT, num_basis=2, num_frames=3, conditioning=conditioning, network_expression=True)
    with torch.no_grad():
        field.encoding.mean.normal_()
    positions, expression = torch.rand(50, 3), torch.rand(frames, 2)
    frame_index = None if frames == 1 else torch.randint(3, (50,)).int()
    tables, read = field.blend(expression)
    density, geometry = field.density(positions, tables := tables.detach(), read, frame_index)
    rows = expression.expand(50, -1) if frame_index is None else expression[frame_index]
    inputs = torch.cat([field.encoding(positions, tables, frame_index), rows], -1)
    expected = field.density_network(inputs)
    torch.testing.assert_close(geometry, expected[:, 1:])
    torch.testing.assert_close(density, torch.exp(expected[:, 0] + DENSITY_BIAS))
    weight = field.density_network.layers[0].weight
    (ours,) = torch.autograd.grad(geometry.square().sum(), weight)
    (theirs,) = torch.autograd.grad(expected[:, 1:].square().sum(), weight)
    torch.testing.assert_close(ours, theirs)


def test_the_network_sees_no_more_than_the_tables():
    """Two coefficients that always moved together: half of each is what one component holds."""
    torch.manual_seed(0)
    mixing = torch.tensor([[0.5, 0.5]])
    field = HeadField(LAYOUT, num_basis=2, num_frames=1, network_expression=True, mixing=mixing)
    assert field.density_network.layers[0].in_features == field.encoding.output_dim + 1
    positions = torch.rand(20, 3)
    both = [
        field.density(positions, *field.blend(e))[1] for e in (torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    ]
    torch.testing.assert_close(both[0], both[1])


def test_concat_reads_the_coefficients_and_blend_does_not_read_them_twice():
    torch.manual_seed(0)
    field = HeadField(LAYOUT, num_basis=2, num_frames=1, conditioning="concat")
    positions = torch.rand(20, 3)
    quiet, loud = torch.zeros(1, 2), torch.ones(1, 2)
    first, _ = field.density(positions, *field.blend(quiet))
    second, _ = field.density(positions, *field.blend(loud))
    assert not torch.allclose(first, second)
    assert field.encoding.bases.shape[0] == 0
