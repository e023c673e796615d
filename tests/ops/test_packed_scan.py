"""Packed scans: numbers worked out by hand, nerfacc's batched scans, finite differences."""

from __future__ import annotations

import nerfacc
import pytest
import torch

from nerfblendshape_ns.ops import nerfacc_backend, packed_scan

nerfacc_backend.install()

# The example of nerfacc's docstrings: chunks of two, three and four.
PACKED = torch.tensor([[0, 2], [2, 3], [5, 4]])
INPUTS = torch.arange(1.0, 10.0)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("inclusive_sum", [1, 3, 3, 7, 12, 6, 13, 21, 30]),
        ("exclusive_sum", [0, 1, 0, 3, 7, 0, 6, 13, 21]),
        ("inclusive_prod", [1, 2, 3, 12, 60, 6, 42, 336, 3024]),
        ("exclusive_prod", [1, 1, 1, 3, 12, 1, 6, 42, 336]),
    ],
)
def test_scans_by_hand(name, expected):
    outputs = getattr(nerfacc, name)(INPUTS, PACKED)
    assert outputs.tolist() == expected
    double = getattr(nerfacc, name)(INPUTS.double(), PACKED)
    assert double.dtype == torch.float64 and double.tolist() == expected


@pytest.mark.parametrize("name", ["inclusive_sum", "exclusive_sum", "inclusive_prod", "exclusive_prod"])
def test_gradients_equal_finite_differences(name):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(9, generator=generator, dtype=torch.float64) + 0.5
    inputs[3] = 0.0  # nerfacc's own kernels divide by the factor.
    inputs.requires_grad_()
    assert torch.autograd.gradcheck(lambda values: getattr(nerfacc, name)(values, PACKED), inputs)


@pytest.mark.parametrize("name", ["inclusive_sum", "exclusive_sum", "inclusive_prod", "exclusive_prod"])
def test_packed_equals_batched(name):
    generator = torch.Generator().manual_seed(1)
    batched = torch.rand(500, 12, generator=generator).requires_grad_()
    flat = batched.detach().flatten().requires_grad_()
    starts = torch.arange(500) * 12
    packed = torch.stack([starts, torch.full_like(starts, 12)], dim=-1)
    weights = torch.rand(500, 12, generator=generator)
    expected = getattr(nerfacc, name)(batched)
    actual = getattr(nerfacc, name)(flat, packed)
    (expected * weights).sum().backward()
    (actual * weights.flatten()).sum().backward()
    assert (actual.view(500, 12) - expected).abs().max() <= 1e-5
    assert (flat.grad.view(500, 12) - batched.grad).abs().max() <= 1e-4 * batched.grad.abs().max()


def test_empty_chunks_and_no_samples():
    starts, counts = torch.tensor([0, 0, 2, 2]), torch.tensor([0, 2, 0, 1])
    assert packed_scan.inclusive_sum(starts, counts, torch.tensor([1.0, 2.0, 4.0])).tolist() == [1, 3, 4]
    empty = torch.empty(0)
    assert packed_scan.exclusive_prod_forward(starts[:0], counts[:0], empty).shape == (0,)
    assert (
        packed_scan.inclusive_sum(torch.zeros(5, dtype=torch.long), torch.zeros(5, dtype=torch.long), empty).numel()
        == 0
    )


def test_normalised_sums_are_refused():
    with pytest.raises(NotImplementedError, match="not normalised"):
        packed_scan.inclusive_sum(PACKED[:, 0], PACKED[:, 1], INPUTS, normalize=True)


def test_pack_info_by_hand():
    ray_indices = torch.tensor([0, 0, 2, 2, 2, 3])
    expected = [[0, 2], [2, 0], [2, 3], [5, 1]]
    assert nerfacc.pack_info(ray_indices).tolist() == expected
    assert nerfacc.pack_info(ray_indices, n_rays=5).tolist() == [*expected, [6, 0]]
    assert nerfacc.pack_info(ray_indices[:0], n_rays=2).tolist() == [[0, 0], [0, 0]]
    assert nerfacc.pack_info(ray_indices[:0]).shape == (0, 2)
