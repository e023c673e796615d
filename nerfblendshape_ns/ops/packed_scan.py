"""Sums along packed rays: chunks of one flat array, as nerfacc 0.5.2 computes transmittance from them."""

from __future__ import annotations

from typing import Optional

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nerfblendshape_ns.ops.packed_scan_kernels import scan_exclusive_sum


def exclusive_sum(
    starts: Int[Tensor, " chunks"],
    counts: Int[Tensor, " chunks"],
    inputs: Float[Tensor, " samples"],
    normalize: bool = False,
    backward: bool = False,
) -> Float[Tensor, " samples"]:
    """Running sum within each chunk, the element itself left out; the signature is that of nerfacc's compiled function.

    Args:
        starts: first element of each chunk.
        counts: number of elements of each chunk.
        inputs: the flat float32 array; elements outside all chunks come out as 0.
        normalize: must be False; nerfacc's Python never asks for it.
        backward: sum from the end of the chunk, which is the gradient of the forward sum.

    Raises:
        NotImplementedError: ``normalize`` is set.
    """
    if normalize:
        raise NotImplementedError("Packed sums are not normalised; divide by the chunk's total instead.")
    outputs = torch.zeros_like(inputs)
    scan_exclusive_sum(starts.shape[0], (), (starts, counts, inputs, int(backward), outputs))
    return outputs


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
