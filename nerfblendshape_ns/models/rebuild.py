"""Rebuilds a trained head from its checkpoint alone: no dataset, no YAML, no pickled objects."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Tuple, Union

import torch
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.data.scene_box import SceneBox
from torch import Tensor

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.fields.networks import require_implementation
from nerfblendshape_ns.models.description import check_format
from nerfblendshape_ns.models.head import HeadModel
from nerfblendshape_ns.models.head_config import HeadModelConfig

CHECKPOINTS = "nerfstudio_models"
"""nerfstudio's folder of checkpoints inside a run."""
MODEL_PREFIX = "_model."
"""What nerfstudio's pipeline puts before the names of the model's tensors."""
EXTRA_STATE = "_extra_state"
"""torch's name of a module's extra state."""

State = Dict[str, Any]


@dataclass(frozen=True)
class ModelCheckpoint:
    """The model's part of a nerfstudio checkpoint."""

    path: Path
    """The file."""
    step: int
    """Training step it was written after."""
    state: State
    """The model's state dictionary, its description among it."""

    @property
    def description(self) -> Dict[str, Any]:
        """What the model says about itself; see ``models/description.py``."""
        return self.state[EXTRA_STATE]


def find_checkpoint(run: Union[str, Path]) -> Path:
    """The newest checkpoint of a run.

    Args:
        run: a run's directory, its ``config.yml``, its ``nerfstudio_models`` folder or a checkpoint file.

    Raises:
        UserError: there is none.
    """
    path = Path(run)
    if not path.exists():
        raise UserError(f"{path} does not exist; give the directory of a run, its config.yml or a checkpoint.")
    if path.is_file() and path.suffix == ".ckpt":
        return path
    folder = path.parent if path.is_file() else path
    for candidate in (folder / CHECKPOINTS, folder):
        checkpoints = sorted(candidate.glob("step-*.ckpt")) if candidate.is_dir() else []
        if checkpoints:
            return checkpoints[-1]
    raise UserError(
        f"{path} holds no checkpoint ({CHECKPOINTS}/step-*.ckpt); give the directory of a run that has saved one."
    )


def read_checkpoint(run: Union[str, Path]) -> ModelCheckpoint:
    """Read the model's state from a run's newest checkpoint, tensors and plain data only.

    Raises:
        UserError: there is no checkpoint, it is broken, or it is not of a model of this package.
    """
    path = find_checkpoint(run)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        state = {
            name[len(MODEL_PREFIX) :].removeprefix("module."): value
            for name, value in loaded["pipeline"].items()
            if name.startswith(MODEL_PREFIX)
        }
        step = int(loaded["step"])
    except Exception as error:  # torch reports a damaged file by half a dozen kinds of error.
        raise UserError(
            f"{path} is not a readable checkpoint ({type(error).__name__}); take another one of the run or train again."
        ) from None
    if not isinstance(state.get(EXTRA_STATE), dict) or "kind" not in state[EXTRA_STATE]:
        raise UserError(f"{path} was not written by a nerfblendshape method; give a run of nerfblendshape-head.")
    return ModelCheckpoint(path, step, state)


def load_head(run: Union[str, Path]) -> HeadModel:
    """Rebuild the head of a run, in evaluation mode on the CPU.

    Args:
        run: a head run's directory, its ``config.yml`` or a checkpoint.

    Raises:
        UserError: there is no such run or it is no head run.
    """
    checkpoint = read_checkpoint(run)
    kind = checkpoint.description["kind"]
    if kind != "head":
        raise UserError(f"{checkpoint.path} is of a {kind} run; give a run of nerfblendshape-head.")
    with whole_or_refused(checkpoint.path):
        return build_head(checkpoint.state)


@contextmanager
def whole_or_refused(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a model is built of a file into one sentence that names the file.

    Raises:
        UserError: description and tensors are not what they should be.
    """
    try:
        yield
    except UserError as error:
        raise UserError(f"{path} cannot be opened: {error}") from None
    except Exception as error:  # Any field may be malformed, which shows in a dozen kinds of error.
        reason = str(error).split("\n")[-1].strip()
        raise UserError(
            f"{path} does not hold what its description promises ({reason or type(error).__name__}); it is damaged or "
            "was made by another version of nerfblendshape_ns, so use that one, or train or export again."
        ) from error


def build_head(state: Mapping[str, Any]) -> HeadModel:
    """Rebuild a head from its state dictionary, whose description says how.

    Args:
        state: a head model's state dictionary; other prefixes stripped.
    """
    description = state[EXTRA_STATE]
    check_format(description)
    architecture, layout = description["architecture"], description["layout"]
    require_implementation(architecture["implementation"])
    if not (0 < architecture["samples_per_box"] < 2**16 and 0 < layout["max_resolution"] < 2**16):
        raise UserError("its description names a resolution out of range; train or export again.")
    refined = "camera_optimizer.pose_adjustment" in state
    config = HeadModelConfig(
        num_levels=layout["num_levels"],
        features_per_level=layout["features_per_level"],
        log2_table_size=layout["log2_table_size"],
        base_resolution=layout["base_resolution"],
        max_resolution=layout["max_resolution"],
        conditioning=architecture["conditioning"],
        network_expression=architecture["network_expression"],
        head_pose_scale=architecture["head_pose_scale"],
        basis_parametrisation="principal" if architecture["mixed"] else "named",
        expression_region=architecture["expression_region"],
        face_parts=architecture["face_parts"],
        face_motion=architecture["face_motion"],
        hidden_dim=architecture["hidden_dim"],
        density_layers=architecture["density_layers"],
        color_layers=architecture["color_layers"],
        geometry_dim=architecture["geometry_dim"],
        frame_code_dim=architecture["frame_code_dim"],
        density_bias=float(architecture["density_bias"]),
        implementation=architecture["implementation"],
        occupancy_resolution=architecture["occupancy_resolution"],
        samples_per_box=architecture["samples_per_box"],
        background_color=description["background_color"],
        camera_optimizer=CameraOptimizerConfig(mode="SO3xR3" if refined else "off"),
    )
    mesh = description["face_mesh"]
    metadata = {
        **clip_metadata(description, state),
        "mixing": state.get("field.encoding.mixing"),
        "face_mesh": None if mesh is None else torch.tensor(mesh),
        "face_motion": _face_motion(state) if architecture["face_motion"] else None,
    }
    model = config.setup(
        scene_box=SceneBox(torch.tensor(description["normalisation"]["aabb"])),
        num_train_data=architecture["num_frames"],
        metadata=metadata,
        device="cpu",
        grad_scaler=None,
    )
    model.load_state_dict(dict(state))
    return model.eval()


def clip_metadata(description: Mapping[str, Any], state: Mapping[str, Any]) -> Dict[str, Any]:
    """What a model needs of its clip, as the dataparser gives it, from a checkpoint.

    Args:
        description: the model's.
        state: the model's state dictionary, which holds the track.
    """
    basis, normalisation = description["basis"], description["normalisation"]
    return {
        "expression_names": list(basis["names"]),
        "basis_id": basis["id"],
        "expression_source_names": basis["source_names"],
        "expression_min": torch.tensor(basis["minimum"]),
        "expression_max": torch.tensor(basis["maximum"]),
        "expression_scale": torch.tensor(basis["scale"]),
        "track": {
            "expression": _tensor(state, "expression_source.track_expression"),
            "head_pose": _tensor(state, "expression_source.track_pose"),
            "times": _tensor(state, "expression_source.track_times"),
            "fps": description["fps"],
        },
        "train_frame_index": _tensor(state, "expression_source.train_frames"),
        "image_size": tuple(description["image_size"]),
        "intrinsics": description["intrinsics"],
        "dataparser_transform": torch.tensor(normalisation["transform"]),
        "dataparser_scale": normalisation["scale"],
    }


def _face_motion(state: Mapping[str, Any]) -> Tuple[Tensor, Tensor]:
    return _tensor(state, "conditioning.motion.neutral"), _tensor(state, "conditioning.motion.motion")


def _tensor(state: Mapping[str, Any], name: str) -> Tensor:
    value = state.get(name)
    if value is None:
        raise UserError(f"the checkpoint lacks {name}; it is damaged, so train the head again.")
    return value
