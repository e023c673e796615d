"""Volume rendering of samples (Max 1995) that come in segments of their rays."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from nerfblendshape_ns.ops import compositing_kernels


def composite(
    densities: Float[Tensor, "samples"],
    colors: Float[Tensor, "samples 3"],
    distances: Float[Tensor, "samples"],
    ends: Int[Tensor, "segments rays"],
    counts: Int[Tensor, "segments rays"],
    step_size: float,
    early_stop: float,
) -> Tuple[Float[Tensor, "rays 3"], Float[Tensor, "rays 1"], Float[Tensor, "rays 1"]]:
    """Colour, opacity and depth of rays.

    Args:
        densities: of the samples.
        colors: of the samples.
        distances: along the ray, of the samples' middles.
        ends: int64, the running total of the counts of each segment, front to back; samples are in the order of the
            segments, then of the rays.
        counts: int64, samples of each segment of each ray.
        step_size: length of a sample.
        early_stop: samples that a smaller fraction of the light reaches weigh nothing, and get no gradient.

    Returns:
        Colour and depth times opacity, and opacity; differentiable once, in densities and colours.
    """
    return _Composite.apply(densities, colors, distances, ends, counts, step_size, early_stop)


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        densities: Tensor,
        colors: Tensor,
        distances: Tensor,
        ends: Tensor,
        counts: Tensor,
        step_size: float,
        early_stop: float,
    ) -> Tuple[Tensor, Tensor, Tensor]:
        densities, colors = densities.float().contiguous(), colors.float().contiguous()
        rays = ends.shape[1]
        color = densities.new_empty(rays, 3)
        alpha, depth = densities.new_empty(rays, 1), densities.new_empty(rays, 1)
        light, kept = torch.empty_like(densities), torch.empty(rays, dtype=torch.int32, device=densities.device)
        compositing_kernels.composite(
            rays,
            (),
            (ends, counts, distances, step_size, early_stop)
            + (densities, colors, light, kept, color, alpha.view(-1), depth.view(-1)),
        )
        ctx.step_size = step_size
        ctx.save_for_backward(ends, counts, kept, distances, densities, colors, light)
        return color, alpha, depth

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tuple[Optional[Tensor], ...]:
        ends, counts, kept, distances, densities, colors, light = ctx.saved_tensors
        color, alpha, depth = (gradient.contiguous() for gradient in gradients)
        results = torch.empty_like(densities), torch.empty_like(colors)
        compositing_kernels.composite_gradient(
            ends.shape[1],
            (),
            (ends, counts, kept, distances, ctx.step_size, densities, colors, light)
            + (color, alpha.view(-1), depth.view(-1), *results),
        )
        return *results, None, None, None, None, None
