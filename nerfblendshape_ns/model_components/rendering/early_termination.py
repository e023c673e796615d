"""Volume rendering with early ray termination.

Most of a head's occupied cells lie inside it, behind the skin: a ray that has met the skin need not look up its
remaining samples. Rays are looked up in segments, front to back, until no light passes. On a GPU, which waits for the
host to learn which rays go on, a training batch is looked up at once, and an image in few segments.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Tuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nerfblendshape_ns.ops.compositing import PackedSamples, Segments, composite

EARLY_STOP = 5e-3
"""Samples that a smaller fraction of the light reaches are left out."""
SEGMENTS = (8, 8, 16, 16, 32)
"""Samples per ray of each segment, the last repeated: fewer and fewer rays go on."""
SEGMENTS_GPU = (16, 32, 64, 128)
"""The same of images on a GPU."""

Density = Callable[
    [Float[Tensor, "looked"], Int[Tensor, "looked"]], Tuple[Float[Tensor, "looked"], Float[Tensor, "looked features"]]
]
"""From distances along the ray and rays to densities, and features that are handed on."""
Color = Callable[[Float[Tensor, "looked features"], Int[Tensor, "looked"]], Float[Tensor, "looked 3"]]
"""From features of samples and their rays to colours in [0, 1]."""


class Foreground(NamedTuple):
    """What rays meet before the background."""

    color: Float[Tensor, "rays 3"]
    """Premultiplied by the opacity."""
    alpha: Float[Tensor, "rays 1"]
    """Opacity."""
    depth: Float[Tensor, "rays 1"]
    """Distance along the ray times the opacity."""


def render(samples: PackedSamples, density: Density, color: Color) -> Foreground:
    """Colour, opacity and depth of rays, differentiable in what ``density`` and ``color`` return.

    Args:
        samples: of the rays.
        density: see :data:`Density`.
        color: see :data:`Color`.
    """
    on_gpu = is_gpu(samples.distances)
    if on_gpu and torch.is_grad_enabled():
        densities, features = density(samples.distances, samples.rays)
        return Foreground(*composite(densities, color(features, samples.rays), samples, EARLY_STOP))
    segments = Segments(samples, EARLY_STOP, SEGMENTS_GPU if on_gpu else SEGMENTS)
    parts = []
    for distances, rays in segments:
        densities, features = density(distances, rays)
        segments.attenuate(densities.detach())
        parts.append((densities, features, rays))
    if not parts:
        parts.append((*density(samples.distances, samples.rays), samples.rays))
    densities, features, rays = (torch.cat(part) for part in zip(*parts))
    colors = color(features, rays)
    return Foreground(*composite(densities, colors, samples, EARLY_STOP, segments.counts, segments.order))


def is_gpu(tensor: Tensor) -> bool:
    """Whether a GPU holds a tensor."""
    return tensor.device.type != "cpu"
