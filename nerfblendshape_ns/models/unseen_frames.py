"""Refuses to test a model on frames that it was trained on.

A model and its checkpoints hold the indices of its training frames on the clip's track and the head poses of the whole
track, so it can be compared with any split of any dataset; the poses show whether it is the same clip.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Mapping, Sequence, Union

import torch
from torch import Tensor, nn

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import load_json
from nerfblendshape_ns.common.frame_numbers import name_frames
from nerfblendshape_ns.data.splits import SPLIT_FILE

POSE_TOLERANCE = 1e-4
"""Largest difference of a pose's numbers, in normalised units, that another machine's rounding could make."""
_PARTS = {"": "", "head.": "the head of "}


def check_unseen_by_model(
    model: nn.Module, img_ids: Sequence[int], metadata: Mapping[str, Any], run: Union[str, Path, None] = None
) -> None:
    """Refuse to test a model on frames that it was trained on, or that the head inside a torso was trained on.

    Args:
        model: a head or a torso, trained or rebuilt from a checkpoint.
        img_ids: of the frames to be tested; none to check the dataset alone.
        metadata: of the dataset that they are of, as ``NerfBlendshapeDataParser`` gives it for any split and protocol.
        run: the model's run, its ``config.yml`` or a checkpoint of it, for messages; None where it is not known.

    Raises:
        UserError: the model was trained on some of the frames, or on another dataset.
    """
    state, splits = dict(model.named_buffers()), metadata["splits"]
    of_clip = sorted(splits["train"] + splits["val"] + splits["test"])
    for prefix, part in _PARTS.items():
        if f"{prefix}expression_source.train_frames" not in state:
            continue
        name = f"{part}{run or 'the run'}"
        positions, poses = _track(state, prefix)
        _check_same_clip(poses, metadata, name)
        trained = {of_clip[position] for position in positions}
        seen = [img_id for img_id in img_ids if img_id in trained]
        if seen:
            raise UserError(
                f"{name} was trained on {len(seen)} of the {len(img_ids)} frames to be tested "
                f"({name_frames(seen, 3)}); test with {_own_protocol(run)}, or train with the protocol "
                f"{splits['protocol']}."
            )


def check_same_training_frames(model: nn.Module, metadata: Mapping[str, Any]) -> None:
    """Refuse to train a loaded model on frames other than its own: it would lose the record of those that it has seen.

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
    """Indices of the training frames, and the poses ``[frames, 12]`` of the whole clip."""
    source = f"{prefix}expression_source."
    return torch.as_tensor(state[source + "train_frames"]).tolist(), state[source + "track_pose"]


def _own_protocol(run: Union[str, Path, None]) -> str:
    """The protocol of a run in words."""
    if run is not None:
        path = Path(run)
        folders = [path, path.parent, path.parent.parent]  # Of a run, its config.yml, a checkpoint.
        for file in (folder / SPLIT_FILE for folder in folders):
            if file.is_file():
                record = load_json(file)
                return f"its own protocol {record.get('protocol') if isinstance(record, dict) else record}"
    return "the protocol that it was trained with"
