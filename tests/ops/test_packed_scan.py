"""Packed scans: numbers worked out by hand, and nerfacc's batched scans."""

from __future__ import annotations

import nerfacc
import pytest
import torch

from nerfblendshape_ns.ops import nerfacc_backend, packed_scan

nerfacc_backend.install()

# The example of nerfacc's docstrings: chunks of two, three and four.
PACKED = torch.tensor([[0, 2], [2, 3], [5, 4]])
INPUTS = torch.arange(1.0, 10.0)


def test_exclusive_sum_by_hand():
    inputs = INPUTS.requires_grad_()
    outputs = nerfacc.exclusive_sum(inputs, PACKED)
    assert outputs.tolist() == [0, 1, 0, 3, 7, 0, 6, 13, 21]
    # An input's gradient is the sum of those of the outputs that follow it in its chunk.
    outputs.backward(torch.arange(1.0, 10.0))
    assert inputs.grad.tolist() == [2, 0, 9, 5, 0, 24, 17, 9, 0]


def test_packed_equals_batched():
    generator = torch.Generator().manual_seed(1)
    batched = torch.rand(500, 12, generator=generator).requires_grad_()
    flat = batched.detach().flatten().requires_grad_()
    starts = torch.arange(500) * 12
    packed = torch.stack([starts, torch.full_like(starts, 12)], dim=-1)
    weights = torch.rand(500, 12, generator=generator)
    expected = nerfacc.exclusive_sum(batched)
    actual = nerfacc.exclusive_sum(flat, packed)
    (expected * weights).sum().backward()
    (actual * weights.flatten()).sum().backward()
    assert (actual.view(500, 12) - expected).abs().max() <= 1e-5
    assert (flat.grad.view(500, 12) - batched.grad).abs().max() <= 1e-4 * batched.grad.abs().max()


def test_empty_chunks_and_no_samples():
    starts, counts = torch.tensor([0, 0, 2, 2]), torch.tensor([0, 2, 0, 1])
    assert packed_scan.exclusive_sum(starts, counts, torch.tensor([1.0, 2.0, 4.0])).tolist() == [0, 1, 0]
    nothing = torch.zeros(5, dtype=torch.long)
    assert packed_scan.exclusive_sum(nothing, nothing, torch.empty(0)).numel() == 0
    assert packed_scan.exclusive_sum(starts[:0], counts[:0], torch.empty(0)).shape == (0,)


def test_normalised_sums_are_refused():
    with pytest.raises(NotImplementedError, match="not normalised"):
        packed_scan.exclusive_sum(PACKED[:, 0], PACKED[:, 1], INPUTS, normalize=True)


def test_pack_info_by_hand():
    ray_indices = torch.tensor([0, 0, 2, 2, 2, 3])
    expected = [[0, 2], [2, 0], [2, 3], [5, 1]]
    assert nerfacc.pack_info(ray_indices).tolist() == expected
    assert nerfacc.pack_info(ray_indices, n_rays=5).tolist() == [*expected, [6, 0]]
    assert nerfacc.pack_info(ray_indices[:0], n_rays=2).tolist() == [[0, 0], [0, 0]]
    assert nerfacc.pack_info(ray_indices[:0]).shape == (0, 2)
