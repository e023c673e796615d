"""Loads any trained run of this package without its dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Optional, Union

import torch
from nerfstudio.data.scene_box import SceneBox
from torch import Tensor

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.fields.networks import require_implementation
from nerfblendshape_ns.model_components.torso.background import saved_background
from nerfblendshape_ns.models.description import check_format
from nerfblendshape_ns.models.head import HeadModel
from nerfblendshape_ns.models.rebuild import EXTRA_STATE, build_head, clip_metadata, read_checkpoint, whole_or_refused
from nerfblendshape_ns.models.torso import TorsoModel
from nerfblendshape_ns.models.torso_config import TorsoModelConfig

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
    """Rebuild a torso, head and clean plate included, from its state dictionary."""
    description = state[EXTRA_STATE]
    check_format(description)
    architecture, layout = description["architecture"], description["layout"]
    require_implementation(architecture["implementation"])
    config = TorsoModelConfig(
        num_levels=layout["num_levels"],
        features_per_level=layout["features_per_level"],
        log2_table_size=layout["log2_table_size"],
        base_resolution=layout["base_resolution"],
        max_resolution=layout["max_resolution"],
        hidden_dim=architecture["hidden_dim"],
        position_frequencies=architecture["position_frequencies"],
        pose_frequencies=architecture["pose_frequencies"],
        frame_code_dim=architecture["frame_code_dim"],
        head_aware=architecture["head_aware"],
        carried=architecture["carried"],
        deformation=architecture["deformation"],
        implementation=architecture["implementation"],
    )
    model = config.setup(
        scene_box=SceneBox(torch.tensor(description["normalisation"]["aabb"])),
        num_train_data=architecture["num_frames"],
        metadata={
            **clip_metadata(description, state),
            "plate": _picture(state, "backdrop.plate"),
            "background": saved_background(description["background"], _picture(state, "backdrop.picture")),
        },
        device="cpu",
        grad_scaler=None,
    )
    model.load_state_dict(dict(state))
    return model.eval()


def _picture(state: Mapping[str, Any], name: str) -> Optional[Tensor]:
    """A picture among the state's tensors, ``[height, width, 3]`` uint8, or None."""
    picture = state.get(name)
    if picture is not None and (picture.dtype != torch.uint8 or picture.ndim != 3 or picture.shape[2] != 3):
        raise UserError(f"its {name} is no picture of 8-bit RGB; train or export again.")
    return picture
