"""Volume rendering of packed samples (Max 1995) with early ray termination: composite, and look-ups in segments."""

from __future__ import annotations

from itertools import chain, repeat
from typing import Any, Callable, NamedTuple, Optional, Sequence, Tuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from nerfblendshape_ns.ops import compositing_kernels

ALL = 2**30
"""More samples than any ray has."""


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
    front_counts: Int[Tensor, "rays"]
    """int64, samples of each ray that are looked up first."""
    front_ends: Int[Tensor, "rays"]
    """int64, their running total."""
    in_front: int
    """Their total."""


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


def look_up_segments(
    samples: PackedSamples,
    early_stop: float,
    sizes: Sequence[int],
    look_up: Callable[[Float[Tensor, "rows"], Int[Tensor, "rows"]], Float[Tensor, "rows"]],
) -> Tuple[Int[Tensor, "taken"], Int[Tensor, "rays"], Int[Tensor, "samples"]]:
    """Look samples up in segments of their rays, front to back, only where light reaches.

    Args:
        samples: of the rays; what is in front is the first segment.
        early_stop: a ray ends where a smaller fraction of the light is left.
        sizes: samples per ray of each further segment; the last is repeated. After one of :data:`ALL` there is none.
        look_up: from distances along the ray and rays of a segment to densities. Before each but the first the host
            waits for the device.

    Returns:
        The ray of each sample taken, one segment after the other; the samples taken of each ray; and the position of
        each of ``samples`` among those taken (int32).
    """
    light, counts = torch.empty_like(samples.front_ends, dtype=torch.float32), torch.empty_like(samples.counts)
    order, rays = torch.empty_like(samples.rays, dtype=torch.int32), torch.empty_like(samples.rays)
    taken, ends, rows, earlier = samples.front_counts, samples.front_ends, samples.in_front, 0
    following = chain(sizes, repeat(sizes[-1]))
    size = 0
    while rows:
        chosen, distances = rays[earlier : earlier + rows], samples.distances.new_empty(rows)
        compositing_kernels.take(
            len(counts),
            (),
            (samples.starts, samples.distances, ends, taken, earlier, counts, order, chosen, distances),
        )
        densities = look_up(distances, chosen).float().contiguous()
        earlier += rows
        if earlier == len(rays) or size == ALL:
            break
        size, first, rest = next(following), earlier == rows, torch.empty_like(taken)
        compositing_kernels.attenuate(
            len(counts),
            (),
            (samples.counts, densities, samples.step_size, max(early_stop, 1e-30), size, int(first), counts, ends)
            + (taken, light, rest),
        )
        taken, ends = rest, rest.cumsum(0)
        rows = int(ends[-1])
    return rays[:earlier], counts, order
