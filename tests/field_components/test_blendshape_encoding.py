"""The blend is linear in the coefficients, neutral touches no basis, and gradients go where they should."""

import torch

from nerfblendshape_ns.field_components.blendshape_encoding import BlendshapeHashEncoding, principal_components
from nerfblendshape_ns.ops.hash_grid import HashGridLayout

LAYOUT = HashGridLayout(num_levels=3, features_per_level=2, log2_table_size=8, base_resolution=4, max_resolution=16)


def make_encoding(num_basis: int = 4, **options) -> BlendshapeHashEncoding:
    torch.manual_seed(0)
    encoding = BlendshapeHashEncoding(LAYOUT, num_basis, **options)
    with torch.no_grad():
        encoding.mean.normal_()
        encoding.bases.normal_()
    return encoding


def test_tables_start_evenly_between_both_signs():
    torch.manual_seed(0)
    encoding = BlendshapeHashEncoding(LAYOUT, 4)
    for table in (encoding.mean, encoding.bases):
        assert table.abs().amax() <= 1e-4 and table.amin() < -0.9e-4 and table.amax() > 0.9e-4
        assert abs(float(table.mean())) < 0.1e-4


def test_encoding_is_linear_in_the_coefficients():
    encoding = make_encoding()
    positions = torch.rand(50, 3)
    first, second = torch.randn(1, 4), torch.randn(1, 4)

    def encode(expression: torch.Tensor) -> torch.Tensor:
        return encoding(positions, encoding.blend(expression))

    neutral = encode(torch.zeros(1, 4))
    mixed = encode(2.0 * first - 3.0 * second)
    expected = neutral + 2.0 * (encode(first) - neutral) - 3.0 * (encode(second) - neutral)
    torch.testing.assert_close(mixed, expected, rtol=1e-4, atol=1e-4)


def test_neutral_expression_is_the_mean_table():
    encoding = make_encoding()
    torch.testing.assert_close(encoding.blend(torch.zeros(2, 4)), encoding.mean.expand(2, -1, -1))


def test_one_coefficient_adds_its_own_table():
    encoding = make_encoding()
    expression = torch.tensor([[0.0, 0.5, 0.0, 0.0]])
    torch.testing.assert_close(encoding.blend(expression)[0], encoding.mean + 0.5 * encoding.bases[1])
    torch.testing.assert_close(encoding.basis_table(1), encoding.bases[1])


def test_gradients_match_a_plain_blend():
    encoding = make_encoding()
    expression = torch.randn(2, 4)
    weight = torch.randn(2, LAYOUT.rows, 2)
    (encoding.blend(expression) * weight).sum().backward()
    expected = torch.einsum("fk,frc->krc", torch.cat([torch.ones(2, 1), expression], -1), weight)
    assert encoding.mean.grad is None and encoding.bases.grad is None
    coefficients, gradients = encoding.table_gradients.coefficients, encoding.table_gradients.grad
    assert coefficients is not None and gradients is not None
    actual = torch.einsum("fk,frc->krc", coefficients, gradients)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_frozen_tables_give_the_expression_a_gradient_and_take_none():
    encoding = make_encoding().requires_grad_(False)
    expression = torch.randn(1, 4, requires_grad=True)
    encoding.blend(expression).square().sum().backward()
    assert expression.grad is not None and bool((expression.grad != 0).all())
    assert all(parameter.grad is None for parameter in encoding.parameters())


def test_expression_gradient_matches_finite_difference():
    encoding = make_encoding()
    expression = torch.randn(1, 4, requires_grad=True)
    weight = torch.randn(1, LAYOUT.rows, 2)
    (encoding.blend(expression) * weight).sum().backward()
    expected = torch.einsum("frc,krc->fk", weight, encoding.bases.detach())
    torch.testing.assert_close(expression.grad, expected, rtol=1e-4, atol=1e-3)


def test_principal_components_decorrelate_and_keep_neutral():
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(200, 3, generator=generator)
    expressions = hidden @ torch.randn(3, 10, generator=generator)
    mixing = principal_components(expressions, explained=0.999)
    assert mixing.shape == (3, 10)  # Three hidden numbers made all ten coefficients.
    torch.testing.assert_close(mixing @ mixing.T, torch.eye(3), rtol=1e-4, atol=1e-4)
    components = expressions @ mixing.T
    moments = components.T @ components / 200
    assert bool((moments.diagonal().diff() < 0).all()), "the largest first"
    torch.testing.assert_close(moments, torch.diag(moments.diagonal()), rtol=0, atol=1e-3)
    assert len(principal_components(expressions, most=2)) == 2
    encoding = make_encoding(num_basis=10, mixing=mixing)
    torch.testing.assert_close(encoding.blend(torch.zeros(1, 10))[0], encoding.mean)
    single = torch.zeros(1, 10)
    single[0, 7] = 0.3
    expected = encoding.mean + 0.3 * encoding.basis_table(7)
    torch.testing.assert_close(encoding.blend(single)[0], expected, rtol=1e-4, atol=1e-5)


def test_static_grid_without_coefficients():
    encoding = make_encoding(num_basis=0)
    assert encoding.blend(torch.zeros(3, 0)).shape == (3, LAYOUT.rows, 2)


def test_the_mixing_lies_in_memory_alike_in_every_copy():
    mixing = torch.rand(4, 3).T  # Column by column, as an SVD leaves it.
    held = BlendshapeHashEncoding(LAYOUT, 4, mixing).mixing
    assert held is not None and held.is_contiguous() and not mixing.is_contiguous() and torch.equal(held, mixing)
