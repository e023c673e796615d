"""Walking along packed samples front to back, a few of each ray at a time, until nothing behind them can be seen.

Most of a head's occupied cells lie inside it, behind the skin: a ray that has met the skin need not look up the rest
of its samples. None of this has gradients.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, Optional, Tuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ROUND = 4
"""Samples of each ray in the first round; each round takes twice as many as the one before, for fewer and fewer rays.
"""
ROUND_GPU = 16
"""The same on a GPU, where a round is many small launches. A 512-pixel picture took 29 ms on an H100; with 4, 8, 32 and
64 it took 38, 35, 35 and 37 ms, with all samples at once 48."""
ROUND_GPU_TRAINING = 1024
"""The same for the few rays of a training batch there: one round. With 64 a step took 1 to 2 ms more of about 24, with
16 it took 8 more."""

Density = Callable[[Float[Tensor, "looked"], Int[Tensor, "looked"]], Tuple[Float[Tensor, "looked"], Any]]
"""From distances along the ray and rays to densities, and features that are handed on."""


class Samples:
    """Packed samples of a bundle of rays, ascending by ray.

    Args:
        ray_indices: ``[samples]`` the ray of each.
        starts: ``[samples]`` distances along the ray.
        ends: ``[samples]``.
        num_rays: rays of the bundle; some may have no samples.
    """

    def __init__(
        self,
        ray_indices: Int[Tensor, "samples"],
        starts: Float[Tensor, "samples"],
        ends: Float[Tensor, "samples"],
        num_rays: int,
    ) -> None:
        self.ray_indices, self.starts, self.ends, self.num_rays = ray_indices, starts, ends, num_rays
        self.counts = torch.bincount(ray_indices, minlength=num_rays)
        self.first = self.counts.cumsum(0) - self.counts

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU holds them."""
        return self.starts.device.type != "cpu"

    def keep(self, mask: Bool[Tensor, "samples"]) -> Tuple[Tensor, Tensor, Tensor]:
        """Ray indices, starts and ends of some of the samples."""
        return self.ray_indices[mask], self.starts[mask], self.ends[mask]


def visible_samples(
    samples: Samples, density: Density, early_stop: float, size: Optional[int] = None
) -> Bool[Tensor, "samples"]:
    """Which samples at least a share ``early_stop`` of the light reaches; arguments as :func:`render_in_rounds`."""
    visible = torch.zeros_like(samples.starts, dtype=torch.bool)
    size = size or (ROUND_GPU_TRAINING if samples.on_gpu else ROUND)
    for chosen, _, before, _, _ in _rounds(samples, density, early_stop, size):
        visible[chosen] = before >= early_stop
    return visible


def render_in_rounds(
    samples: Samples,
    density: Density,
    color: Callable[[Any, Int[Tensor, "visible"]], Float[Tensor, "visible 3"]],
    early_stop: float,
    size: Optional[int] = None,
) -> Tuple[Float[Tensor, "rays 3"], Float[Tensor, "rays 1"], Float[Tensor, "rays 1"]]:
    """Volume rendering (Max 1995), with the same results as nerfacc's packed functions.

    Args:
        samples: of the rays.
        density: see :data:`Density`.
        color: from features of samples and their rays to colours in [0, 1].
        early_stop: samples that less than this share of the light reaches are left out.
        size: samples of each ray in the first round; None takes what suits the device.

    Returns:
        Colour (premultiplied), opacity, and distance times opacity.
    """
    starts = samples.starts
    rgb = starts.new_zeros(samples.num_rays, 3)
    opacity, depth = (starts.new_zeros(samples.num_rays, 1) for _ in range(2))
    size = size or (ROUND_GPU if samples.on_gpu else ROUND)
    for chosen, rays, before, optical, features in _rounds(samples, density, early_stop, size):
        visible = before >= early_stop
        chosen, rays = chosen[visible], rays[visible]
        weights = (before * -torch.expm1(-optical))[visible, None]
        rgb.index_add_(0, rays, weights * color(features[visible], rays))
        opacity.index_add_(0, rays, weights)
        depth.index_add_(0, rays, weights * 0.5 * (starts[chosen] + samples.ends[chosen])[:, None])
    return rgb, opacity, depth


@torch.no_grad()
def _rounds(
    samples: Samples, density: Density, early_stop: float, size: int
) -> Iterator[Tuple[Tensor, Tensor, Tensor, Tensor, Any]]:
    """Rounds of samples: which, their rays, the light that reaches each, its optical depth, its features."""
    starts, ends, counts = samples.starts, samples.ends, samples.counts
    light = starts.new_ones(samples.num_rays)
    live, done = counts.nonzero()[:, 0], 0
    while len(live):
        places = torch.arange(size, device=starts.device)
        inside = done + places < counts[live, None]
        chosen = (samples.first[live, None] + done + places)[inside]
        rays = live[:, None].expand_as(inside)[inside]
        lengths = ends[chosen] - starts[chosen]
        densities, features = density(starts[chosen] + 0.5 * lengths, rays)
        optical = starts.new_zeros(inside.shape)
        optical[inside] = densities * lengths
        passed = torch.cumsum(optical, dim=1)
        before = light[live, None] * torch.exp(optical - passed)
        yield chosen, rays, before[inside], optical[inside], features
        light[live] *= torch.exp(-passed[:, -1])
        done, size = done + size, 2 * size
        live = live[(light[live] >= max(early_stop, 1e-30)) & (counts[live] > done)]
