"""Loads any trained run of this package without its dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Optional, Union

import torch
from torch import Tensor

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.model_components.torso.background import saved_background
from nerfblendshape_ns.models.architecture import TorsoArchitecture, read_architecture
from nerfblendshape_ns.models.description import check_format
from nerfblendshape_ns.models.head import HeadModel
from nerfblendshape_ns.models.rebuild import (
    EXTRA_STATE,
    build_head,
    check_size,
    read_checkpoint,
    rebuild,
    whole_or_refused,
)
from nerfblendshape_ns.models.torso import TorsoModel, TorsoModelConfig

AvatarModel = Union[HeadModel, TorsoModel]


def load_model(run: Union[str, Path]) -> AvatarModel:
    """Rebuild the head or torso of a run, in evaluation mode on the CPU.

    Args:
        run: a run's directory, its ``config.yml`` or a checkpoint.

    Raises:
        UserError: there is no such run, or it is of another method.
    """
    checkpoint = read_checkpoint(run)
    with whole_or_refused(checkpoint.path):
        return build_model(checkpoint.state)


def build_model(state: Mapping[str, Any]) -> AvatarModel:
    """Rebuild a head or torso from its state dictionary.

    Raises:
        UserError: the state is of neither, of a newer version, or of networks that cannot be made here.
    """
    kind = state[EXTRA_STATE]["kind"]
    if kind == "head":
        return build_head(state)
    if kind == "torso":
        return build_torso(state)
    raise UserError(f"the checkpoint is of a {kind!r}, which this version does not know; upgrade the package.")


def build_torso(state: Mapping[str, Any]) -> TorsoModel:
    """Rebuild a torso, head and clean plate included, from its state dictionary.

    Raises:
        UserError: the description is of another format, or names an option that a torso cannot have.
    """
    description = state[EXTRA_STATE]
    check_format(description)
    config = TorsoModelConfig(**read_architecture(description["architecture"], TorsoArchitecture))
    check_size(state, "field.table", config.grid(0, dimensions=2).rows * config.features_per_level)
    background = saved_background(description["background"], _image(state, "background.image"))
    return rebuild(config, state, plate=_image(state, "background.plate"), background=background)


def _image(state: Mapping[str, Any], name: str) -> Optional[Tensor]:
    """An image among the state's tensors, ``[height, width, 3]`` uint8, or None."""
    image = state.get(name)
    if image is not None and (image.dtype != torch.uint8 or image.ndim != 3 or image.shape[2] != 3):
        raise UserError(f"its {name} is no image of 8-bit RGB; train or export again.")
    return image
