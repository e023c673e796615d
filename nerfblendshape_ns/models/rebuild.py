"""Reads checkpoints, and rebuilds a trained head from its own: no dataset, no YAML, no pickled objects."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Union

import torch
from nerfstudio.data.scene_box import SceneBox

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.fields.networks import require_implementation
from nerfblendshape_ns.model_components.conditioning.eye_motion import TENSORS
from nerfblendshape_ns.models.architecture import HeadArchitecture, read_architecture
from nerfblendshape_ns.models.description import check_format, clip_metadata, head_box, saved_tensor
from nerfblendshape_ns.models.expression_model import ExpressionModelConfig
from nerfblendshape_ns.models.head import HeadModel, HeadModelConfig

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
        """The model's description; see ``models/description.py``."""
        return self.state[EXTRA_STATE]


def find_checkpoint(run: Union[str, Path]) -> Path:
    """The newest checkpoint of a run.

    Args:
        run: a run's directory, its ``config.yml``, its ``nerfstudio_models`` folder or a checkpoint file.

    Raises:
        UserError: there is none, or the file is another one.
    """
    path = Path(run)
    if not path.exists():
        raise UserError(f"{path} does not exist; give the directory of a run, its config.yml or a checkpoint.")
    if path.is_file() and path.suffix == ".ckpt":
        return path
    if path.is_file() and path.suffix != ".yml":
        raise UserError(
            f"{path} is neither a checkpoint nor a run's config.yml; give one of them or the run's directory."
        )
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
        model = part_of(loaded["pipeline"], MODEL_PREFIX)
        state = {name.removeprefix("module."): value for name, value in model.items()}
        step = int(loaded["step"])
    except Exception as error:  # torch reports a damaged file by half a dozen kinds of error.
        raise UserError(
            f"{path} is not a readable checkpoint ({type(error).__name__}); take another one of the run or train again."
        ) from None
    if not isinstance(state.get(EXTRA_STATE), dict) or "kind" not in state[EXTRA_STATE]:
        raise UserError(f"{path} was not written by a nerfblendshape method; give a run of nerfblendshape-head.")
    return ModelCheckpoint(path, step, state)


def part_of(state: Mapping[str, Any], prefix: str) -> State:
    """What a state dictionary holds under names that begin so, by the rest of the names."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


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

    Raises:
        UserError: the description is of another format, or names an option that a head cannot have.
    """
    description = state[EXTRA_STATE]
    check_format(description)
    options, mesh = read_architecture(description["architecture"], HeadArchitecture), description["face_mesh"]
    config = HeadModelConfig(**options)
    check_size(state, "occupancy.allowed", config.occupancy_resolution**3)
    check_size(state, "field.encoding.mean", config.grid(0).rows * config.features_per_level)
    motion = ("conditioning.motion.neutral", "conditioning.motion.motion")
    eyes = tuple(f"conditioning.eyes.{name}" for name in TENSORS)
    return rebuild(
        config,
        state,
        mixing=state.get("field.encoding.mixing"),
        face_mesh=None if mesh is None else torch.tensor(mesh),
        face_motion=tuple(saved_tensor(state, name) for name in motion) if options["face_motion"] else None,
        eye_motion=tuple(saved_tensor(state, name) for name in eyes) if eyes[0] in state else None,
    )


def check_size(state: Mapping[str, Any], name: str, size: int) -> None:
    """Refuse a description that would build another tensor than the file holds, however large.

    Raises:
        UserError: the tensor is missing or has another number of elements.
    """
    if saved_tensor(state, name).numel() != size:
        raise UserError(f"its description asks for {name} of {size} numbers, and it holds others; export again.")


def rebuild(config: ExpressionModelConfig, state: Mapping[str, Any], **metadata: Any) -> Any:
    """The model of a config with the weights of a state dictionary, frozen, in evaluation mode on the CPU.

    Args:
        config: of the model.
        state: the model's state dictionary, its description among it.
        metadata: what the model needs of its dataset beside the clip.
    """
    description = state[EXTRA_STATE]
    require_implementation(config.implementation)
    model = config.setup(
        scene_box=SceneBox(head_box(description, state)),
        num_train_data=description["num_frames"],
        metadata={**clip_metadata(description, state), **metadata},
        device="cpu",
        grad_scaler=None,
    )
    model.load_state_dict(dict(state))
    return model.eval().requires_grad_(False)
