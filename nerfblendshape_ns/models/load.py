"""Loads any trained run of this package without its dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Union

import torch
from nerfstudio.data.scene_box import SceneBox

from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.fields.networks import require_implementation
from nerfblendshape_ns.models.description import check_format, saved_architecture
from nerfblendshape_ns.models.head import HeadModel
from nerfblendshape_ns.models.rebuild import EXTRA_STATE, build_head, clip_metadata, read_checkpoint
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
    return build_model(read_checkpoint(run).state)


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
    architecture, layout = saved_architecture(description), description["layout"]
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
        background=description.get("background", "plate"),
    )
    model = config.setup(
        scene_box=SceneBox(torch.tensor(description["normalisation"]["aabb"])),
        num_train_data=architecture["num_frames"],
        metadata={
            **clip_metadata(description, state),
            "plate": state.get("backdrop.plate"),
            "picture": state.get("backdrop.picture"),
        },
        device="cpu",
        grad_scaler=None,
    )
    model.load_state_dict(dict(state))
    return model.eval()
