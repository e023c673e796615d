"""How often each training frame is drawn: frames of rare expressions more often.

In a talking clip the mouth is wide open in a few frames and nearly shut in hundreds. Drawn equally often, the open
mouth is hardly learnt, and it is what a driven avatar is judged by.
"""

from __future__ import annotations

from typing import List, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nerfblendshape_ns.coefficient_names.face_groups import upper_and_lower

BANDWIDTH = 0.3
"""Width of the density's kernel, as a fraction of the root mean square distance of two frames: what moves by hardly
more than a tracker's noise should count as one expression."""
LEAST, MOST = 0.2, 8.0
"""Limits of a frame's weight, relative to the mean."""
MOST_COMPARED = 2000
"""Frames that each frame is compared with, spread evenly over the clip."""
FRAMES_AT_ONCE = 4096
"""Frames whose distances are in memory at a time."""


def frame_weights(
    expressions: Float[Tensor, "frames basis"], names: Sequence[str], strength: float
) -> Float[Tensor, "frames"]:
    """Weights with mean about 1 that grow with the rarity of a frame's expression.

    Where names say which coefficients are the upper face's and which the lower's, rarity is that in each of them, on
    average: else the eyes, which move all the time, hide what the mouth does.

    Args:
        expressions: scaled coefficients of the training frames.
        names: of the coefficients.
        strength: a weight is one over the frame's density to this power; 0 makes all equal.
    """
    if strength == 0 or len(expressions) < 2:
        return torch.ones(len(expressions))
    expressions = expressions.detach().float().cpu()
    groups = [torch.tensor(group) for group in upper_and_lower(names)]
    if not all(bool(group.any()) for group in groups):
        groups = [torch.ones(len(names), dtype=torch.bool)]
    weights = torch.stack([_normalised(_density(expressions[:, group]) ** -strength) for group in groups]).mean(0)
    return weights.clamp(LEAST, MOST)


def _density(coefficients: Float[Tensor, "frames basis"]) -> Float[Tensor, "frames"]:
    """How many of the clip's frames are like each frame: a Gaussian kernel's mean, positive."""
    compared = coefficients[torch.linspace(0, len(coefficients) - 1, min(len(coefficients), MOST_COMPARED)).long()]
    pieces = coefficients.split(FRAMES_AT_ONCE)
    squares = [torch.cdist(piece, compared).square().mean() * (len(piece) / len(coefficients)) for piece in pieces]
    width = (BANDWIDTH * torch.stack(squares).sum().sqrt()).clamp_min(1e-6)
    density = [torch.exp(-0.5 * (torch.cdist(piece, compared) / width) ** 2).mean(1) for piece in pieces]
    return torch.cat(density).clamp_min(1.0 / len(compared))


def _normalised(weights: Tensor) -> Tensor:
    return weights / weights.mean()


def balanced_order(weights: Float[Tensor, "frames"], generator: torch.Generator) -> List[int]:
    """One epoch's frames in random order: as many draws as frames, each frame by its weight.

    Draws are systematic: a frame that should come 1.3 times comes once or twice, never otherwise. Equal weights give
    every frame once.

    Args:
        weights: positive.
        generator: of all draws; on the CPU.
    """
    count = len(weights)
    shuffled = torch.randperm(count, generator=generator)
    ends = torch.cumsum(weights.double()[shuffled], 0)
    ends = ends / ends[-1] * count
    ends[-1] = count
    positions = torch.arange(count, dtype=torch.float64) + torch.rand((), generator=generator, dtype=torch.float64)
    drawn: Int[Tensor, "frames"] = shuffled[torch.searchsorted(ends, positions, right=True).clamp(max=count - 1)]
    return drawn[torch.randperm(count, generator=generator)].tolist()
