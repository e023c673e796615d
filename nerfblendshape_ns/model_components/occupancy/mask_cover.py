"""Cells for the mask pixels that a visual hull leaves without one: strands of hair, frames whose pose disagrees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Tuple

import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from torch import Tensor

from nerfblendshape_ns.data.pinhole_rays import PinholeRays
from nerfblendshape_ns.model_components.occupancy.expression_occupancy import ExpressionOccupancy

if TYPE_CHECKING:
    from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset

FRAMES_AT_ONCE = 16
RAYS_AT_ONCE = 1 << 16
STRIDE = 6
"""Pixels between those inside a mask whose rays are tested first."""


@torch.no_grad()
def cover_masks(
    occupancy: ExpressionOccupancy,
    dataset: "NerfBlendshapeDataset",
    region: Bool[Tensor, "cells"],
    candidates: Bool[Tensor, "cells"],
    votes: Float[Tensor, "cells"],
) -> Tuple[Bool[Tensor, "cells"], Float[Tensor, "frames"]]:
    """Cells that let every training mask be seen whole, though other masks or their poses disagree.

    Where the ray through the centre of a mask's pixel (opacity above 0.5) meets no cell of the region, it is given
    those of the candidates on it that most masks hold: where the hull is nearest. Their neighbours among the candidates
    are added too, so that optimisation has room.

    Args:
        occupancy: the grid and its marching.
        dataset: the training frames, loaded.
        region: cells that may be occupied.
        candidates: cells that may be added.
        votes: fraction of the masks that each candidate lies in.

    Returns:
        The added cells, and the fraction of each mask's pixels whose rays meet no cell of the region (0 of none).
    """
    pinhole = PinholeRays(dataset.cameras, region.device)
    added = torch.zeros_like(region)
    fractions = []
    for first in range(0, len(dataset), FRAMES_AT_ONCE):
        masks = dataset.alpha[first : first + FRAMES_AT_ONCE].to(region.device) > 127

        def rays(pixels: Int[Tensor, "pixels 3"], first: int = first) -> Tuple[Tensor, Tensor]:
            frame, row, column = pixels.unbind(-1)
            bundle = pinhole(first + frame, row * pinhole.width + column, {})
            return bundle.origins, bundle.directions

        missed = find_missed(masks, lambda pixels: occupancy.meets(region, *rays(pixels)))
        fractions.append(missed.sum((1, 2)) / masks.sum((1, 2)).clamp_min(1))
        for pixels in missed.nonzero().split(RAYS_AT_ONCE):
            ray, cell = occupancy.cells_along(candidates, *rays(pixels))
            most = votes.new_zeros(len(pixels)).scatter_reduce(0, ray, votes[cell], "amax")
            added[cell[votes[cell] >= most[ray]]] = True
    grid = added.view(*occupancy.estimator.binaries.shape[1:])
    with_neighbours = torch.from_numpy(ndimage.binary_dilation(grid.cpu().numpy())).to(added.device)
    return with_neighbours.flatten() & (candidates | added), torch.cat(fractions)


def find_missed(
    masks: Bool[Tensor, "frames height width"], meets: Callable[[Int[Tensor, "pixels 3"]], Bool[Tensor, "pixels"]]
) -> Bool[Tensor, "frames height width"]:
    """Pixels of masks whose rays meet nothing.

    The outline and a lattice inside are tested first, then what is near the missed pixels, as far as they reach. So all
    are found, except for holes that lie between the points of the lattice.

    Args:
        masks: the pixels that matter.
        meets: whether the rays through pixels (frame, row, column) meet something.
    """
    padded = torch.nn.functional.pad(masks, (1, 1, 1, 1))
    inside = padded[:, :-2, 1:-1] & padded[:, 2:, 1:-1] & padded[:, 1:-1, :-2] & padded[:, 1:-1, 2:]
    inside[:, ::STRIDE, ::STRIDE] = False
    waiting, missed = masks & inside, torch.zeros_like(masks)
    asked = (masks & ~inside).nonzero()
    reach = torch.arange(-STRIDE, STRIDE + 1, device=masks.device)
    while len(asked):
        asked = torch.cat([pixels[~meets(pixels)] for pixels in asked.split(RAYS_AT_ONCE)])
        frames, rows, columns = asked.T[:, :, None, None]
        missed[frames, rows, columns] = True
        near = torch.zeros_like(masks)
        rows = (rows + reach[:, None]).clamp(0, masks.shape[1] - 1)
        near[frames, rows, (columns + reach).clamp(0, masks.shape[2] - 1)] = True
        asked = (waiting & near).nonzero()
        waiting &= ~near
    return missed
