"""Which parts of the torso plane can hold anything: empty pixels cost nothing."""

from __future__ import annotations

from typing import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class TorsoOccupancy(nn.Module):
    """A two-dimensional grid of the largest recent opacity, inside a permanent mask.

    Each update looks at one head pose. A cell's opacity decays by at most half over a cycle through all training
    poses, so that what few poses need is kept.

    Args:
        num_poses: poses that the updates go through in turn.
        resolution: cells along each axis of the captured image.
        threshold: a cell is occupied where its opacity may reach this.
    """

    def __init__(self, num_poses: int, resolution: int = 128, threshold: float = 0.01) -> None:
        super().__init__()
        self.decay = 0.5 ** (1.0 / max(1, num_poses))
        self.resolution = resolution
        self.threshold = threshold
        self.opacity: Tensor
        self.allowed: Tensor
        self.initialised: Tensor
        self.register_buffer("opacity", torch.ones(resolution, resolution))
        self.register_buffer("allowed", torch.ones(resolution, resolution, dtype=torch.bool))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))

    def occupied(self, coordinates: Float[Tensor, "points 2"]) -> Bool[Tensor, "points"]:
        """Whether points may hold anything.

        Args:
            coordinates: column and row as fractions of the image; those outside count as on its border.
        """
        cell = (coordinates * self.resolution).long().clamp(0, self.resolution - 1)
        index = cell[:, 1], cell[:, 0]
        return (self.opacity[index] > self.threshold) & self.allowed[index]

    @torch.no_grad()
    def start_from(self, mask: Bool[Tensor, "rows columns"]) -> None:
        """Start from a permanent mask."""
        self.allowed.copy_(mask)
        self.opacity.copy_(mask.float())
        self.initialised.fill_(True)

    @torch.no_grad()
    def update(
        self, alpha_at: Callable[[Float[Tensor, "points 2"]], Float[Tensor, "points 1"]], generator: torch.Generator
    ) -> None:
        """Visit every allowed cell at a random point and follow the opacity.

        Args:
            alpha_at: opacity at torso coordinates, for a driving state of the caller's choice.
            generator: of the points; on the CPU.
        """
        cells = self.allowed.nonzero()
        if len(cells) == 0:
            return
        jitter = torch.rand(len(cells), 2, generator=generator).to(self.opacity.device)
        points = (cells.flip(-1) + jitter) / self.resolution
        index = cells[:, 0], cells[:, 1]
        self.opacity[index] = torch.maximum(self.opacity[index] * self.decay, alpha_at(points)[:, 0])
