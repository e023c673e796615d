"""A checkpoint's description: its model's architecture and what it needs of its dataset, as plain data."""

from __future__ import annotations

from typing import Any, Dict, Mapping

import torch
from torch import Tensor

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.model_components.conditioning.expression_source import ExpressionSource

FORMAT = 1
"""Raised when the description changes; no other format is read."""
LARGEST_SIDE, MOST_FRAMES = 1 << 14, 1 << 24
"""Of images in pixels and of training frames, in files of strangers."""
BOX_ROUNDING = 1e-3
"""By how much a head box may differ from what it should be."""


def clip_description(metadata: Mapping[str, Any], source: ExpressionSource, aabb: Tensor) -> Dict[str, Any]:
    """What a model needs of its dataset beside the tensors of its state; :func:`clip_metadata` reads it.

    Args:
        metadata: of the dataparser's outputs.
        source: the clip's expressions.
        aabb: ``[2, 3]`` the head box.
    """
    return {
        "basis": {
            "id": str(metadata.get("basis_id", "custom")),
            "names": list(source.names),
            "minimum": source.minimum.tolist(),
            "maximum": source.maximum.tolist(),
            "scale": metadata["expression_scale"].tolist(),
            "source_names": list(metadata.get("expression_source_names") or source.names),
        },
        "normalisation": {
            "transform": torch.as_tensor(metadata.get("dataparser_transform", torch.eye(4)[:3])).tolist(),
            "scale": float(metadata.get("dataparser_scale", 1.0)),
            "aabb": aabb.tolist(),
        },
        "image_size": [int(side) for side in metadata["image_size"]],
        "intrinsics": {name: float(value) for name, value in (metadata.get("intrinsics") or {}).items()},
        "fps": float(metadata["track"].get("fps", 25.0)),
        "seconds": source.seconds,
    }


def clip_metadata(description: Mapping[str, Any], state: Mapping[str, Any]) -> Dict[str, Any]:
    """What a model needs of its dataset, as the dataparser gives it, from a checkpoint.

    Args:
        description: the model's.
        state: the model's state dictionary, which holds the track.

    Raises:
        UserError: a fact has a value that it cannot have, or the track is missing.
    """
    basis, normalisation, fps = description["basis"], description["normalisation"], float(description["fps"])
    if not all(isinstance(name, str) for name in (*basis["names"], *basis["source_names"])):
        raise UserError("its coefficients have names that are no text; train or export again.")
    if not all(_is_count(side, LARGEST_SIDE) for side in description["image_size"]):
        raise UserError(f"its description names images of {description['image_size']} pixels; train or export again.")
    if not _is_count(description["num_frames"], MOST_FRAMES) or not 0.0 < fps < float("inf"):
        raise UserError("its description names a number of frames or a frame rate out of range; train or export again.")
    track = saved_tensor(state, "expression_source.track_expression")
    seconds = float(description.get("seconds", (len(track) - 1) / fps))  # Older ones do not tell.
    if not 0.0 <= seconds < float("inf"):
        raise UserError("its description names a clip of a length out of range; train or export again.")
    return {
        "expression_names": list(basis["names"]),
        "basis_id": basis["id"],
        "expression_source_names": basis["source_names"],
        "expression_min": torch.tensor(basis["minimum"]),
        "expression_max": torch.tensor(basis["maximum"]),
        "expression_scale": torch.tensor(basis["scale"]),
        "track": {
            "expression": track,
            "head_pose": saved_tensor(state, "expression_source.track_pose"),
            "times": saved_tensor(state, "expression_source.track_times"),
            "seconds": seconds,
            "fps": fps,
        },
        "train_frame_index": saved_tensor(state, "expression_source.train_frames"),
        "image_size": tuple(description["image_size"]),
        "intrinsics": description["intrinsics"],
        "dataparser_transform": torch.tensor(normalisation["transform"]),
        "dataparser_scale": normalisation["scale"],
    }


def head_box(description: Mapping[str, Any], state: Mapping[str, Any]) -> Tensor:
    """The head box ``[2, 3]``, in which rays end: one without room would be marched through for ever.

    Args:
        description: the model's.
        state: the model's state dictionary.

    Raises:
        UserError: it is no box inside the unit box, or rays are marched through another one.
    """
    box = torch.tensor(description["normalisation"]["aabb"])
    if box.shape != (2, 3) or not bool(((box[0] < box[1]) & (box.abs() <= 1.0 + BOX_ROUNDING)).all()):
        raise UserError(f"its head box {box.tolist()} is none of a dataset's; train or export again.")
    for name in ("aabb", "occupancy.estimator.aabbs"):
        if name in state and not torch.allclose(state[name].view(2, 3), box, rtol=0.0, atol=BOX_ROUNDING):
            raise UserError(f"its {name} is another head box than its description names; train or export again.")
    return box


def _is_count(value: Any, largest: int) -> bool:
    return type(value) is int and 1 <= value <= largest


def saved_tensor(state: Mapping[str, Any], name: str) -> Tensor:
    """A tensor of a state dictionary.

    Raises:
        UserError: there is none of this name.
    """
    value = state.get(name)
    if value is None:
        raise UserError(f"the checkpoint lacks {name}; it is damaged, so train the head again.")
    return value


def check_format(saved: Mapping[str, Any]) -> None:
    """Refuse a description of another version.

    Raises:
        UserError: the format is not ours.
    """
    if saved.get("format") != FORMAT:
        raise UserError(
            f"The checkpoint is of format {saved.get('format')}, this version of nerfblendshape_ns reads {FORMAT}; use "
            "the version that wrote it, or train again."
        )


def check_description(saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Compare a checkpoint's description with that of the model that loads it.

    Raises:
        UserError: the checkpoint is of another kind of model, basis or architecture.
    """
    if saved["kind"] != current["kind"]:
        way = "; a torso's head is given by --pipeline.model.head-run" if current["kind"] == "torso" else ""
        raise UserError(
            f"The checkpoint is of a {saved['kind']}, the method makes a {current['kind']}; resume with the method of "
            f"its run{way}."
        )
    if saved["basis"]["names"] != current["basis"]["names"]:
        ours, theirs = current["basis"]["names"], saved["basis"]["names"]
        raise UserError(
            f"The checkpoint was trained on {len(theirs)} coefficients ({', '.join(theirs[:3])}, …), the dataset gives "
            f"{len(ours)} ({', '.join(ours[:3])}, …); use the run's own dataset and --basis."
        )
    configured = _shape(current)
    for name, value in _shape(saved).items():
        if value != configured.get(name):
            raise UserError(
                f"The checkpoint was trained with {name} = {value}, the model is configured with "
                f"{configured.get(name)}; resume with the settings of the run's config.yml."
            )


def _shape(description: Mapping[str, Any]) -> Dict[str, Any]:
    """What weights belong to; the background of rendered images does not matter to them."""
    counts = {name: description[name] for name in ("num_frames", "components") if name in description}
    options = {name: value for name, value in description["architecture"].items() if name != "background_color"}
    return options | counts


def check_head_fits(head: Mapping[str, Any], metadata: Mapping[str, Any], aabb: Tensor) -> None:
    """Compare a head's description with the dataset that a torso is to be trained on.

    Args:
        head: the head's description.
        metadata: of the torso's dataset.
        aabb: the torso's scene box.

    Raises:
        UserError: the head is of another basis or dataset.
    """
    ours, theirs = list(metadata["expression_names"]), list(head["basis"]["names"])
    if ours != theirs:
        missing = sorted(set(theirs).symmetric_difference(ours))
        raise UserError(
            f"The head run was trained on {len(theirs)} coefficients, the dataset gives {len(ours)}, and they differ "
            f"in {', '.join(missing[:4]) or 'their order'}{', …' if len(missing) > 4 else ''}; train head and torso on "
            "the same data with the same --basis, --protocol and --test-frames."
        )
    if head["num_frames"] != len(metadata["train_frame_index"]):
        raise UserError(
            f"The head run had {head['num_frames']} training frames, the torso has "
            f"{len(metadata['train_frame_index'])}; train head and torso on the same data with the same --protocol, "
            "--test-frames and --val-frames."
        )
    normalisation = head["normalisation"]
    pairs = (
        (torch.tensor(normalisation["aabb"]), aabb.cpu()),
        (
            torch.tensor(normalisation["transform"]),
            torch.as_tensor(metadata.get("dataparser_transform", torch.eye(4)[:3])),
        ),
        (torch.tensor(normalisation["scale"]), torch.tensor(float(metadata.get("dataparser_scale", 1.0)))),
    )
    if not all(torch.allclose(saved.float(), current.float(), rtol=1e-3, atol=1e-3) for saved, current in pairs):
        raise UserError(
            "The head run was trained on another dataset: its head box lies elsewhere than this one's; give the run "
            "that was trained on this data."
        )


def check_head_size(head: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Compare the size of a head's images with that of the images that a torso is to be trained on.

    Raises:
        UserError: the sizes differ.
    """
    saved_size, size = list(head["image_size"]), [int(side) for side in metadata["image_size"]]
    if saved_size != size:
        raise UserError(
            f"The head run was trained at {saved_size[1]}x{saved_size[0]} pixels, the torso at {size[1]}x{size[0]}; "
            f"give nerfblendshape-data --max-size {max(saved_size)} at the end of the command."
        )
