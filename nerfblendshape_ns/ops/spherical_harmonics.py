"""Spherical harmonics of viewing directions up to the third degree, as nerfstudio's ``SHEncoding`` computes them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nerfblendshape_ns.ops import spherical_harmonics_kernels

COMPONENTS = 16
"""Components of a direction."""


@torch.no_grad()
def spherical_harmonics(
    directions: Float[Tensor, "rays 3"], rays: Int[Tensor, "samples"]
) -> Float[Tensor, "samples 16"]:
    """Of the direction of each sample's ray; without gradients, as in nerfstudio.

    Args:
        directions: unit vectors.
        rays: int64, the ray of each sample.
    """
    values = directions.new_empty(len(rays), COMPONENTS, dtype=torch.float32)
    arguments = (directions.detach().float().contiguous(), rays, values)
    spherical_harmonics_kernels.spherical_harmonics(len(rays), (), arguments)
    return values
