"""Spherical harmonics of viewing directions up to the third degree, as nerfstudio's ``SHEncoding`` computes them."""

from __future__ import annotations

from typing import Optional

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nerfblendshape_ns.ops import spherical_harmonics_kernels

COMPONENTS = 16
"""Components of a direction."""


@torch.no_grad()
def spherical_harmonics(
    directions: Float[Tensor, "rays 3"], rays: Optional[Int[Tensor, "samples"]] = None
) -> Float[Tensor, "samples 16"]:
    """Of the direction of each ray, or of each sample's ray; without gradients, as in nerfstudio.

    Args:
        directions: unit vectors.
        rays: int64, the ray of each sample.
    """
    count = len(directions if rays is None else rays)
    values = directions.new_empty(count, COMPONENTS, dtype=torch.float32)
    index = torch.empty(0, dtype=torch.int64, device=directions.device) if rays is None else rays
    spherical_harmonics_kernels.spherical_harmonics(
        count, (), (directions.detach().float().contiguous(), index, values)
    )
    return values
