"""Volume rendering of packed samples (Max 1995) with early ray termination: composite, and segments of the rays."""

from __future__ import annotations

from itertools import chain, repeat
from typing import Any, Iterator, NamedTuple, Optional, Sequence, Tuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from nerfblendshape_ns.ops import compositing_kernels


class PackedSamples(NamedTuple):
    """Samples of equal length of a bundle of rays, ascending by ray."""

    rays: Int[Tensor, "samples"]
    """int64, the ray of each."""
    distances: Float[Tensor, "samples"]
    """Along the ray, of the sample's middle."""
    starts: Int[Tensor, "rays"]
    """int64, first sample of each ray."""
    counts: Int[Tensor, "rays"]
    """int64, samples of each ray, some of none."""
    step_size: float
    """Length of a sample."""


def composite(
    densities: Float[Tensor, "rows"],
    colors: Float[Tensor, "rows 3"],
    samples: PackedSamples,
    early_stop: float,
    counts: Optional[Int[Tensor, "rays"]] = None,
    order: Optional[Int[Tensor, "samples"]] = None,
) -> Tuple[Float[Tensor, "rays 3"], Float[Tensor, "rays 1"], Float[Tensor, "rays 1"]]:
    """Colour, opacity and depth of rays.

    Args:
        densities: of the samples.
        colors: of the samples.
        samples: where they are.
        early_stop: samples that a smaller fraction of the light reaches weigh nothing, and get no gradient.
        counts: int64, take only so many samples of each ray; None takes all.
        order: int32, the row of ``densities`` and ``colors`` that belongs to each of ``samples``; None where they are
            in the same order.

    Returns:
        Colour and depth times opacity, and opacity; differentiable once, in densities and colours.
    """
    return _Composite.apply(densities, colors, samples, early_stop, counts, order)


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        densities: Tensor,
        colors: Tensor,
        samples: PackedSamples,
        early_stop: float,
        counts: Optional[Tensor],
        order: Optional[Tensor],
    ) -> Tuple[Tensor, Tensor, Tensor]:
        densities, colors = densities.float().contiguous(), colors.float().contiguous()
        rays = len(samples.counts)
        order = samples.counts.new_empty(0, dtype=torch.int32) if order is None else order
        color = densities.new_empty(rays, 3)
        alpha, depth = densities.new_empty(rays, 1), densities.new_empty(rays, 1)
        light, kept = torch.empty_like(densities), order.new_empty(rays)
        compositing_kernels.composite(
            rays,
            (),
            (samples.starts, samples.counts if counts is None else counts, order, samples.distances)
            + (samples.step_size, early_stop, densities, colors, light, kept, color, alpha.view(-1), depth.view(-1)),
        )
        ctx.step_size = samples.step_size
        ctx.save_for_backward(samples.starts, kept, order, samples.distances, densities, colors, light)
        return color, alpha, depth

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tuple[Optional[Tensor], ...]:
        starts, kept, order, distances, densities, colors, light = ctx.saved_tensors
        color, alpha, depth = (gradient.contiguous() for gradient in gradients)
        results = torch.zeros_like(densities), torch.zeros_like(colors)
        compositing_kernels.composite_gradient(
            len(starts),
            (),
            (starts, kept, order, distances, ctx.step_size, densities, colors, light)
            + (color, alpha.view(-1), depth.view(-1), *results),
        )
        return *results, None, None, None, None


class Segments:
    """Segments of rays, front to back, of which only those are taken that light reaches.

    Args:
        samples: of the rays.
        early_stop: a ray ends where a smaller fraction of the light is left.
        sizes: samples per ray of each segment; the last is repeated.
    """

    def __init__(self, samples: PackedSamples, early_stop: float, sizes: Sequence[int]) -> None:
        self.samples, self.least = samples, max(early_stop, 1e-30)
        self._sizes = chain(sizes, repeat(sizes[-1]))
        self.light = samples.distances.new_ones(len(samples.counts))
        self.counts = torch.zeros_like(samples.counts)
        """Samples taken of each ray."""
        self.order = torch.empty_like(samples.distances, dtype=torch.int32)
        """Position of each of ``samples`` among those taken, one segment after the other."""
        self._taken = samples.counts.clamp(max=next(self._sizes))
        self._ends = self._taken.cumsum(0)

    def __iter__(self) -> Iterator[Tuple[Tensor, Tensor]]:
        """Distances and rays of each segment; :meth:`attenuate` must be called with the densities there."""
        samples, earlier = self.samples, 0
        while rows := int(self._ends[-1]) if len(self._ends) else 0:
            distances, rays = samples.distances.new_empty(rows), samples.rays.new_empty(rows)
            compositing_kernels.take(
                len(self.counts),
                (),
                (samples.starts, samples.distances, self.counts, self._ends, self._taken, earlier)
                + (self.order, rays, distances),
            )
            yield distances, rays
            earlier += rows

    def attenuate(self, densities: Float[Tensor, "rows"]) -> None:
        """Let light through the segment and choose the next."""
        samples = self.samples
        compositing_kernels.attenuate(
            len(self.counts),
            (),
            (samples.counts, densities.float().contiguous(), samples.step_size, self.least, next(self._sizes))
            + (self.light, self.counts, self._ends, self._taken),
        )
        self._ends = self._taken.cumsum(0)
