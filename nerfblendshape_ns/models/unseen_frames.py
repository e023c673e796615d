"""Refuses to test a model on frames that it was trained on.

A model's state holds the places of its training frames on the clip's track and the head poses of the whole track, so a
checkpoint can be held against any split of any dataset; the poses tell whether it is the same clip.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Mapping, Sequence, Union

import torch
from torch import Tensor, nn

from nerfblendshape_ns.data.contract import load_json
from nerfblendshape_ns.data.frame_numbers import name_frames
from nerfblendshape_ns.data.splits import SPLIT_FILE
from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.models.rebuild import CHECKPOINTS, read_checkpoint

POSE_TOLERANCE = 1e-4
"""Largest difference of a pose's numbers, in normalised units, that another machine's rounding could make."""
_PARTS = {"": "", "head.": "the head of "}


def check_unseen(run: Union[str, Path], img_ids: Sequence[int], metadata: Mapping[str, Any]) -> None:
    """Refuse to test a run on frames that it was trained on, or that the head inside a torso's run was trained on.

    The run's newest checkpoint is read, so this can be called before a pipeline is loaded, with any protocol or data::

        outputs = config.pipeline.datamanager.dataparser.setup().get_dataparser_outputs("test")
        check_unseen(run, outputs.metadata["img_ids"], outputs.metadata)

    A pipeline itself is loaded with the protocol of its run, which decides the number of training frames.

    Args:
        run: a run's directory, its ``config.yml`` or a checkpoint.
        img_ids: of the frames to be tested.
        metadata: of the dataset that they are of, as ``NerfBlendshapeDataParser`` gives it for any split.

    Raises:
        UserError: the run was trained on some of the frames, or on another dataset, or it has no checkpoint.
    """
    checkpoint = read_checkpoint(run)
    _check(checkpoint.state, img_ids, metadata, str(run), _own_protocol(checkpoint.path))


def check_unseen_by_model(
    model: nn.Module, img_ids: Sequence[int], metadata: Mapping[str, Any], name: str = "the run"
) -> None:
    """:func:`check_unseen` for a model in memory.

    Args:
        model: a head or a torso.
        img_ids: of the frames to be tested.
        metadata: of their dataset.
        name: of the model in messages.
    """
    _check(dict(model.named_buffers()), img_ids, metadata, name, "the protocol and data that it was trained with")


def check_same_training_frames(model: nn.Module, metadata: Mapping[str, Any]) -> None:
    """Refuse to train a loaded model on other frames than before: it would not know that it has seen the earlier ones.

    Args:
        model: with the state of a checkpoint.
        metadata: of the dataset that it is to be trained on.

    Raises:
        UserError: the training frames or the clip differ.
    """
    buffers = dict(model.named_buffers())
    trained, poses = _track(buffers, "")
    name = "the checkpoint to resume"
    _check_same_clip(poses, metadata, name)
    if trained != metadata["train_frame_index"].tolist():
        raise UserError(
            f"{name} was trained on other frames than {metadata['root']} gives with the protocol "
            f"{metadata['splits']['protocol']}; resume with the protocol, --test-frames and --val-frames of its run."
        )


def _check(
    state: Mapping[str, Any], img_ids: Sequence[int], metadata: Mapping[str, Any], name: str, protocol: str
) -> None:
    splits = metadata["splits"]
    of_clip = sorted(splits["train"] + splits["val"] + splits["test"])
    for prefix, part in _PARTS.items():
        if f"{prefix}expression_source.train_frames" not in state:
            continue
        positions, poses = _track(state, prefix)
        _check_same_clip(poses, metadata, part + name)
        trained = {of_clip[position] for position in positions}
        seen = [img_id for img_id in img_ids if img_id in trained]
        if seen:
            raise UserError(
                f"{part}{name} was trained on {len(seen)} of the {len(img_ids)} frames to be tested "
                f"({name_frames(seen, 3)}); test with {protocol}, or train with the protocol {splits['protocol']}."
            )


def _check_same_clip(trained: Tensor, metadata: Mapping[str, Any], name: str) -> None:
    poses = metadata["track"]["head_pose"].to(trained)
    if len(poses) != len(trained):
        difference = f"it had {len(trained)} frames and there are {len(poses)}"
    else:
        changed = (poses - trained).abs().amax(1) > POSE_TOLERANCE
        if not bool(changed.any()):
            return
        difference = f"the head poses of {int(changed.sum())} of {len(poses)} frames differ"
    raise UserError(
        f"{name} was trained on another dataset than {metadata['root']} is now ({difference}), so which of its frames "
        "it has seen is not known; give the data that it was trained on, or train again."
    )


def _track(state: Mapping[str, Any], prefix: str) -> tuple[List[int], Tensor]:
    """Places of the training frames, and the poses ``[frames, 12]`` of the whole clip."""
    source = f"{prefix}expression_source."
    return torch.as_tensor(state[source + "train_frames"]).tolist(), state[source + "track_pose"]


def _own_protocol(checkpoint: Path) -> str:
    """The protocol of a checkpoint's run in words."""
    folder = checkpoint.parent
    path = (folder.parent if folder.name == CHECKPOINTS else folder) / SPLIT_FILE
    return f"its own protocol {load_json(path)['protocol']}" if path.is_file() else "its own protocol"
