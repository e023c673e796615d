"""What a frozen head shows at the pixels of its training frames: rendered once, then kept."""

from __future__ import annotations

from typing import Callable, Optional

import torch
from jaxtyping import Float, Int
from torch import Tensor

CHANNELS = 5
"""Colour, opacity and depth."""
OFF_CENTRE = 0.01
"""A ray stands for a pixel if it passes no further from the pixel's middle, in pixels."""


class FrozenHeadCache:
    """Renders pixels when they are first requested, and returns the stored values from then on.

    A torso is trained on the same pixels again and again, while the head in front of them is frozen. Memory is
    allocated at the first request, on the device of the rays.

    Args:
        frames: number of training frames.
        height: rows of their images.
        width: columns.
        megabytes: memory that the pixels may take; as many frames as fit are kept, the first ones.
    """

    def __init__(self, frames: int, height: int, width: int, megabytes: float) -> None:
        self.height, self.width, self.frames = int(height), int(width), frames
        self.kept = min(frames, int(megabytes * 2**20 / (self.height * self.width * (4 * CHANNELS + 1))))
        """Frames whose pixels are kept."""
        self.stored = torch.zeros(0, dtype=torch.bool)
        self.values = torch.empty(0, CHANNELS)

    def values_of(
        self,
        coordinates: Float[Tensor, "rays 2"],
        frame: Int[Tensor, "rays"],
        render: Callable[[Int[Tensor, "some"]], Float[Tensor, "some 5"]],
    ) -> Float[Tensor, "rays 5"]:
        """What rays of training frames show.

        Args:
            coordinates: column and row as fractions of the image.
            frame: training frame of each ray.
            render: gives the values of some of the rays, by their indices; called for those only that are not stored.
        """
        indices = self._indices(coordinates, frame) if self.kept > 0 else None
        if indices is None:
            return render(torch.arange(len(coordinates), device=coordinates.device))
        if len(self.stored) == 0:
            count = self.kept * self.height * self.width
            self.stored = torch.zeros(count, dtype=torch.bool, device=coordinates.device)
            self.values = torch.empty(count, CHANNELS, device=coordinates.device)
        kept = frame < self.kept
        indices = torch.where(kept, indices, 0)
        missing = ~(kept & self.stored[indices])
        values, chosen = self.values[indices], missing.nonzero()[:, 0]
        if len(chosen) > 0:
            values[chosen] = render(chosen)
            fresh = missing & kept
            self.values[indices[fresh]], self.stored[indices[fresh]] = values[fresh], True
        return values

    def _indices(self, coordinates: Tensor, frame: Tensor) -> Optional[Int[Tensor, "rays"]]:
        """Index of each ray's pixel; None where some ray does not pass the middle of a pixel."""
        pixel = coordinates * coordinates.new_tensor([self.width, self.height])
        column, row = pixel.floor().long().unbind(-1)
        centred = (pixel - pixel.floor() - 0.5).abs().amax(-1) <= OFF_CENTRE
        inside = (column >= 0) & (column < self.width) & (row >= 0) & (row < self.height)
        if not bool((centred & inside).all()):
            return None
        return (frame.long() * self.height + row) * self.width + column
