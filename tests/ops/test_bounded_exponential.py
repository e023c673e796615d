"""The exponential of densities against torch's, and what its bound lets through."""

import torch

from nerfblendshape_ns.ops.bounded_exponential import bounded_exponential


def test_values_and_gradients_below_the_bound_are_those_of_the_exponential():
    matrix = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0))
    values, expected = (matrix.clone().requires_grad_() for _ in range(2))
    result, reference = bounded_exponential(values[:, 0], -1.0, 100.0), torch.exp(expected[:, 0] - 1.0)
    torch.testing.assert_close(result, reference)
    weights = torch.randn(5000, generator=torch.Generator().manual_seed(1))
    for output in (result, reference):
        (output * weights).sum().backward()
    torch.testing.assert_close(values.grad, expected.grad)


def test_beyond_the_bound_only_gradients_that_lead_back_pass():
    values = torch.tensor([3.0, 3.0, 0.0, 0.0], requires_grad=True)
    result = bounded_exponential(values, 0.0, 5.0)
    assert result.tolist() == [5.0, 5.0, 1.0, 1.0]
    (result * torch.tensor([1.0, -1.0, 1.0, -1.0])).sum().backward()
    # Descent makes the first smaller and would make the second larger still.
    assert values.grad is not None and values.grad.tolist() == [5.0, 0.0, 1.0, -1.0]


def test_a_value_that_is_no_number_is_not_hidden():
    result = bounded_exponential(torch.tensor([torch.nan, torch.inf, 0.0]), 0.0, 5.0)
    assert bool(result[0].isnan()) and result[1:].tolist() == [5.0, 1.0]
