"""Volume rendering with early ray termination: segments of each ray, front to back, until no light passes.

Most of a head's occupied cells lie inside it, behind the skin: a ray that has met the skin need not look up its
remaining samples.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, NamedTuple, Optional, Tuple

import nerfacc
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

EARLY_STOP = 5e-3
"""Samples that a smaller fraction of the light reaches are left out."""
SEGMENT = 4
"""Samples per ray of the first segment; each segment takes twice as many as the one before, of fewer and fewer rays."""
SEGMENT_GPU = 16
"""The same on a GPU, where a segment is many small launches. An image of 512² took 29 ms on an H100; with 4, 8, 32 and
64 it took 38, 35, 35 and 37 ms, with all samples at once 48."""
SEGMENT_GPU_TRAINING = 1024
"""The same for the few rays of a training batch there: one segment. With 64 a step took 1 to 2 ms more of about 24,
with 16 it took 8 more."""

Density = Callable[[Float[Tensor, "looked"], Int[Tensor, "looked"]], Tuple[Float[Tensor, "looked"], Any]]
"""From distances along the ray and rays to densities, and features that are handed on."""
Color = Callable[[Any, Int[Tensor, "visible"]], Float[Tensor, "visible 3"]]
"""From features of samples and their rays to colours in [0, 1]."""


class Foreground(NamedTuple):
    """What rays meet before the background."""

    color: Float[Tensor, "rays 3"]
    """Premultiplied by the opacity."""
    alpha: Float[Tensor, "rays 1"]
    """Opacity."""
    depth: Float[Tensor, "rays 1"]
    """Distance along the ray times the opacity."""


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


def render(samples: Samples, density: Density, color: Color) -> Foreground:
    """Volume rendering (Max 1995).

    With gradients, densities are looked up twice: once without, to find the samples that light reaches.

    Args:
        samples: of the rays.
        density: see :data:`Density`.
        color: see :data:`Color`.
    """
    if not torch.is_grad_enabled():
        return render_segments(samples, density, color, EARLY_STOP)
    rays, starts, ends = samples.keep(visible_samples(samples, density, EARLY_STOP))
    middles, count = 0.5 * (starts + ends), samples.num_rays
    densities, features = density(middles, rays)
    colors = color(features, rays)
    weights = nerfacc.render_weight_from_density(starts, ends, densities, ray_indices=rays, n_rays=count)[0]
    return Foreground(
        nerfacc.accumulate_along_rays(weights, colors, rays, count),
        nerfacc.accumulate_along_rays(weights, None, rays, count),
        nerfacc.accumulate_along_rays(weights, middles[:, None], rays, count),
    )


def visible_samples(
    samples: Samples, density: Density, early_stop: float, size: Optional[int] = None
) -> Bool[Tensor, "samples"]:
    """Which samples at least a fraction ``early_stop`` of the light reaches; arguments as :func:`render_segments`."""
    visible = torch.zeros_like(samples.starts, dtype=torch.bool)
    size = size or (SEGMENT_GPU_TRAINING if samples.on_gpu else SEGMENT)
    for chosen, _, before, _, _ in _segments(samples, density, early_stop, size):
        visible[chosen] = before >= early_stop
    return visible


def render_segments(
    samples: Samples, density: Density, color: Color, early_stop: float, size: Optional[int] = None
) -> Foreground:
    """Volume rendering without gradients, with the same results as nerfacc's packed functions.

    Args:
        samples: of the rays.
        density: see :data:`Density`.
        color: see :data:`Color`.
        early_stop: samples that a smaller fraction of the light reaches are left out.
        size: samples per ray of the first segment; None takes what suits the device.
    """
    starts = samples.starts
    rgb = starts.new_zeros(samples.num_rays, 3)
    opacity, depth = (starts.new_zeros(samples.num_rays, 1) for _ in range(2))
    size = size or (SEGMENT_GPU if samples.on_gpu else SEGMENT)
    for chosen, rays, before, optical, features in _segments(samples, density, early_stop, size):
        visible = before >= early_stop
        chosen, rays = chosen[visible], rays[visible]
        weights = (before * -torch.expm1(-optical))[visible, None]
        rgb.index_add_(0, rays, weights * color(features[visible], rays))
        opacity.index_add_(0, rays, weights)
        depth.index_add_(0, rays, weights * 0.5 * (starts[chosen] + samples.ends[chosen])[:, None])
    return Foreground(rgb, opacity, depth)


@torch.no_grad()
def _segments(
    samples: Samples, density: Density, early_stop: float, size: int
) -> Iterator[Tuple[Tensor, Tensor, Tensor, Tensor, Any]]:
    """Samples of one segment: which, their rays, the light that reaches each, its optical depth, its features."""
    starts, ends, counts = samples.starts, samples.ends, samples.counts
    light = starts.new_ones(samples.num_rays)
    live, done = counts.nonzero()[:, 0], 0
    while len(live):
        offsets = torch.arange(size, device=starts.device)
        inside = done + offsets < counts[live, None]
        chosen = (samples.first[live, None] + done + offsets)[inside]
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
