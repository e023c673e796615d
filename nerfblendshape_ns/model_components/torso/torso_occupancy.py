"""Which parts of the torso plane can hold anything: empty pixels cost nothing."""

from __future__ import annotations

from typing import Callable, Optional, Tuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

WARMUP, INTERVAL = 512, 64
"""Training steps before the first update, and between two."""
THRESHOLD = 0.01
"""A cell is occupied where its opacity may reach this."""


class TorsoOccupancy(nn.Module):
    """A two-dimensional grid of the largest recent opacity, inside a permanent mask.

    Each update looks at one head pose. A cell's opacity decays by at most half over a cycle through all training
    poses, so that what few poses need is kept.

    Args:
        num_poses: training frames, whose poses the updates go through in turn.
        resolution: cells along each axis of the captured image.
    """

    def __init__(self, num_poses: int, resolution: int = 128) -> None:
        super().__init__()
        self.decay = 0.5 ** (1.0 / max(1, num_poses))
        self.resolution = resolution
        self.num_poses = num_poses
        self.opacity: Tensor
        self.allowed: Tensor
        self.shown: Tensor
        self.initialised: Tensor
        self.register_buffer("opacity", torch.ones(resolution, resolution))
        self.register_buffer("allowed", torch.ones(resolution, resolution, dtype=torch.bool))
        self.register_buffer("shown", torch.ones(resolution, resolution))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))

    def occupied(self, coordinates: Float[Tensor, "points 2"]) -> Bool[Tensor, "points"]:
        """Whether points may hold anything.

        Args:
            coordinates: column and row as fractions of the image; those outside count as on its border.
        """
        index = self._cell(coordinates)
        return (self.opacity[index] > THRESHOLD) & self.allowed[index]

    def shown_without_head(self, coordinates: Float[Tensor, "points 2"]) -> Float[Tensor, "points 1"]:
        """Share of the training frames without head at points that show torso there; 1 where none is without head."""
        return self.shown[self._cell(coordinates)][:, None]

    def _cell(self, coordinates: Float[Tensor, "points 2"]) -> Tuple[Tensor, Tensor]:
        cell = (coordinates * self.resolution).long().clamp(0, self.resolution - 1)
        return cell[:, 1], cell[:, 0]

    @torch.no_grad()
    def start_from(self, mask: Bool[Tensor, "rows columns"], shown: Float[Tensor, "rows columns"]) -> None:
        """Start from a permanent mask, and from what :meth:`shown_without_head` says of each cell."""
        self.allowed.copy_(mask)
        self.shown.copy_(shown)
        self.opacity.copy_(mask.float())
        self.initialised.fill_(True)

    def frame_of_update(self, step: int) -> Optional[int]:
        """Training frame whose pose the update of a training step looks at; None where none is due.

        Every training frame comes once, in random order, before any comes again.
        """
        if step < WARMUP or step % INTERVAL:
            return None
        turn, index = divmod(step // INTERVAL, self.num_poses)
        return int(torch.randperm(self.num_poses, generator=torch.Generator().manual_seed(turn))[index])

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
