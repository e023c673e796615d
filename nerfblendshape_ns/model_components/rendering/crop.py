"""nerfstudio's crop box, of the viewer and of camera paths: what it leaves of each ray, and the colour behind it."""

from __future__ import annotations

from typing import Optional

import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.model_components import renderers
from torch import Tensor


def ray_spans(ray_bundle: RayBundle) -> Optional[Float[Tensor, "rays 2"]]:
    """Distances along each ray between which something may be seen; None where the rays have no bounds.

    nerfstudio writes into ``nears`` and ``fars`` where rays enter and leave the crop box; a ray that misses the box has
    the same large number in both.
    """
    if ray_bundle.nears is None or ray_bundle.fars is None:
        return None
    return torch.stack([ray_bundle.nears.reshape(-1), ray_bundle.fars.reshape(-1)], dim=-1)


def crop_background() -> Optional[Float[Tensor, "3"]]:
    """The colour that nerfstudio asks for behind what a crop box holds; None where nothing is cropped."""
    return renderers.BACKGROUND_COLOR_OVERRIDE
