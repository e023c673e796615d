"""Sums and products along packed rays: scans over chunks of one flat array, with their backward passes.

They stand in for nerfacc 0.5.2's compiled scans with the same arguments (``nerfacc/scan.py`` wraps them in autograd
functions), except that the gradient of a product is exact where a factor is zero: nerfacc divides by the factor.
"""

from __future__ import annotations

from typing import Optional

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nerfblendshape_ns.ops.packed_scan_kernels import scan_kernels


def inclusive_sum(
    starts: Int[Tensor, " chunks"],
    counts: Int[Tensor, " chunks"],
    inputs: Float[Tensor, " samples"],
    normalize: bool = False,
    backward: bool = False,
) -> Float[Tensor, " samples"]:
    """Running sum within each chunk, the element itself included.

    Args:
        starts: first element of each chunk.
        counts: elements of each chunk.
        inputs: the flat array; elements outside all chunks come out as 0.
        normalize: must be False; nerfacc's Python never asks for it.
        backward: sum from the end of the chunk, which is the gradient of the forward sum.

    Raises:
        NotImplementedError: ``normalize`` is set.
    """
    return _scan_sum(starts, counts, inputs, normalize, backward, exclusive=0)


def exclusive_sum(
    starts: Int[Tensor, " chunks"],
    counts: Int[Tensor, " chunks"],
    inputs: Float[Tensor, " samples"],
    normalize: bool = False,
    backward: bool = False,
) -> Float[Tensor, " samples"]:
    """Running sum within each chunk, the element itself left out; arguments as :func:`inclusive_sum`."""
    return _scan_sum(starts, counts, inputs, normalize, backward, exclusive=1)


def inclusive_prod_forward(
    starts: Int[Tensor, " chunks"], counts: Int[Tensor, " chunks"], inputs: Float[Tensor, " samples"]
) -> Float[Tensor, " samples"]:
    """Running product within each chunk, the element itself included."""
    return _scan_product(starts, counts, inputs, exclusive=0)


def exclusive_prod_forward(
    starts: Int[Tensor, " chunks"], counts: Int[Tensor, " chunks"], inputs: Float[Tensor, " samples"]
) -> Float[Tensor, " samples"]:
    """Running product within each chunk, the element itself left out; 1 for the first."""
    return _scan_product(starts, counts, inputs, exclusive=1)


def inclusive_prod_backward(
    starts: Int[Tensor, " chunks"],
    counts: Int[Tensor, " chunks"],
    inputs: Float[Tensor, " samples"],
    outputs: Float[Tensor, " samples"],
    gradient: Float[Tensor, " samples"],
) -> Float[Tensor, " samples"]:
    """Gradient of :func:`inclusive_prod_forward` in its inputs, from its outputs and their gradient."""
    return _scan_product_backward(starts, counts, inputs, outputs, gradient, exclusive=0)


def exclusive_prod_backward(
    starts: Int[Tensor, " chunks"],
    counts: Int[Tensor, " chunks"],
    inputs: Float[Tensor, " samples"],
    outputs: Float[Tensor, " samples"],
    gradient: Float[Tensor, " samples"],
) -> Float[Tensor, " samples"]:
    """Gradient of :func:`exclusive_prod_forward` in its inputs, from its outputs and their gradient."""
    return _scan_product_backward(starts, counts, inputs, outputs, gradient, exclusive=1)


def pack_info(ray_indices: Int[Tensor, " samples"], n_rays: Optional[int] = None) -> Int[Tensor, "rays 2"]:
    """First sample and number of samples of every ray; nerfacc's function of that name, for any device.

    Args:
        ray_indices: the ray of each sample, ascending.
        n_rays: number of rays; None takes the largest index plus one.
    """
    if n_rays is None:
        n_rays = int(ray_indices.max()) + 1 if ray_indices.numel() else 0
    counts = ray_indices.new_zeros(n_rays).index_add_(0, ray_indices, torch.ones_like(ray_indices))
    return torch.stack([counts.cumsum(0) - counts, counts], dim=-1)


def _scan_sum(
    starts: Tensor, counts: Tensor, inputs: Tensor, normalize: bool, backward: bool, exclusive: int
) -> Tensor:
    if normalize:
        raise NotImplementedError("Packed sums are not normalised; divide by the chunk's total instead.")
    outputs = torch.zeros_like(inputs)
    scan_kernels(inputs.dtype).sum(starts.shape[0], (), (starts, counts, inputs, exclusive, int(backward), outputs))
    return outputs


def _scan_product(starts: Tensor, counts: Tensor, inputs: Tensor, exclusive: int) -> Tensor:
    outputs = torch.zeros_like(inputs)
    scan_kernels(inputs.dtype).product(starts.shape[0], (), (starts, counts, inputs, exclusive, outputs))
    return outputs


def _scan_product_backward(
    starts: Tensor, counts: Tensor, inputs: Tensor, outputs: Tensor, gradient: Tensor, exclusive: int
) -> Tensor:
    result = torch.zeros_like(gradient)
    scan_kernels(inputs.dtype).product_backward(
        starts.shape[0], (), (starts, counts, inputs, outputs, gradient, exclusive, result)
    )
    return result
