"""What the frozen head of a torso shows along rays."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor

from nerfblendshape_ns.model_components.torso.frozen_head_cache import FrozenHeadCache
from nerfblendshape_ns.model_components.torso.torso_frames import TorsoFrames
from nerfblendshape_ns.models.head import Foreground, HeadModel


def frozen_foreground(
    head: HeadModel,
    rays: RayBundle,
    frames: TorsoFrames,
    spans: Optional[Float[Tensor, "rays 2"]],
    coordinates: Float[Tensor, "rays 2"],
    pixels: Optional[FrozenHeadCache],
) -> Foreground:
    """The head along rays; a pixel of a training frame that the cache stores is not rendered again.

    Args:
        head: in evaluation mode.
        rays: of frames, or of a training batch.
        frames: what the rays belong to.
        spans: see :func:`~nerfblendshape_ns.model_components.rendering.crop.ray_spans`.
        coordinates: where the rays meet the torso's plane.
        pixels: cache of the training frames that the rays' camera indices name; None for other rays.
    """
    origins, directions, camera = rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3), rays.camera_indices
    if pixels is None or camera is None:
        return head.foreground(origins, directions, frames.head, spans)
    # Where the head's run refined the training poses, its rays follow them.
    refined = RayBundle(origins, directions, rays.pixel_area, camera_indices=camera)
    head.refine(refined)

    def render(chosen: Tensor) -> Tensor:
        ray_frame = frames.head.ray_frame
        some = frames.head if ray_frame is None else replace(frames.head, ray_frame=ray_frame[chosen])
        chosen_spans = None if spans is None else spans[chosen]
        return torch.cat(head.foreground(refined.origins[chosen], refined.directions[chosen], some, chosen_spans), -1)

    values = pixels.values_of(coordinates, camera.flatten(), render)
    return Foreground(values[:, :3], values[:, 3:4], values[:, 4:])
