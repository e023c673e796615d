"""The frozen head of a torso: where it comes from, and what it shows along rays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping, Optional

import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.model_components.torso.frozen_head_cache import FrozenHeadCache
from nerfblendshape_ns.model_components.torso.torso_frames import TorsoFrames
from nerfblendshape_ns.models.description import check_head_size
from nerfblendshape_ns.models.head import Foreground, HeadModel
from nerfblendshape_ns.models.rebuild import load_head
from nerfblendshape_ns.models.unseen_frames import check_unseen_by_model


def head_to_freeze(run: Optional[Path], metadata: Mapping[str, Any]) -> HeadModel:
    """The head that a torso is to be trained behind.

    Args:
        run: directory, config.yml or checkpoint of the head's run.
        metadata: of the torso's dataset.

    Raises:
        UserError: there is no such run, or its head was made for other frames or another size of the images.
    """
    if run is None:
        raise UserError(
            "nerfblendshape-torso needs a trained head: give --pipeline.model.head-run PATH, the directory of a "
            "nerfblendshape-head run on the same data."
        )
    head = load_head(run)
    check_unseen_by_model(head, metadata["splits"]["test"], metadata, run)
    check_head_size(head.description(), metadata)
    return head


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

    def render(chosen: Tensor) -> Tensor:
        ray_frame = frames.head.ray_frame
        some = frames.head if ray_frame is None else replace(frames.head, ray_frame=ray_frame[chosen])
        chosen_spans = None if spans is None else spans[chosen]
        return torch.cat(head.foreground(origins[chosen], directions[chosen], some, chosen_spans), -1)

    values = pixels.values_of(coordinates, camera.flatten(), render)
    return Foreground(values[:, :3], values[:, 3:4], values[:, 4:])
