"""What a run is, as plain data inside its checkpoint: it can be rebuilt without executing a YAML file."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Dict

import torch
from torch import Tensor

from nerfblendshape_ns.common.errors import UserError

if TYPE_CHECKING:
    from nerfblendshape_ns.model_components.conditioning.expression_source import ExpressionSource
    from nerfblendshape_ns.models.head import HeadModel
    from nerfblendshape_ns.models.torso import TorsoModel

FORMAT = 1
"""Raised when the description changes; no other format is read."""


def head_description(model: "HeadModel") -> Dict[str, Any]:
    """Architecture, basis, ranges and normalisation of a head model; numbers, strings, lists and dictionaries only."""
    source, metadata = model.expression_source, model.metadata
    field = model.field
    return {
        "format": FORMAT,
        "kind": "head",
        "layout": asdict(model.layout),
        "architecture": {
            "conditioning": model.config.conditioning,
            "network_expression": model.config.network_expression,
            "head_pose_scale": model.config.head_pose_scale,
            "directions": int(field.encoding.bases.shape[0]),
            "mixed": field.encoding.mixing is not None,
            "num_frames": int(model.num_train_data),
            "hidden_dim": model.config.hidden_dim,
            "density_layers": model.config.density_layers,
            "color_layers": model.config.color_layers,
            "geometry_dim": model.config.geometry_dim,
            "frame_code_dim": model.config.frame_code_dim,
            "expression_region": model.conditioning.region is not None,
            "face_parts": model.conditioning.parts is not None,
            "face_motion": model.conditioning.motion is not None,
            "density_bias": model.config.density_bias,
            "occupancy_resolution": model.config.occupancy_resolution,
            "samples_per_box": model.config.samples_per_box,
            "implementation": field.implementation,
        },
        "background_color": model.config.background_color,
        "face_mesh": None if metadata.get("face_mesh") is None else metadata["face_mesh"].tolist(),
        **_dataset_description(metadata, source, model.aabb),
    }


def torso_description(model: "TorsoModel") -> Dict[str, Any]:
    """Architecture, basis, ranges and normalisation of a torso model; the head describes itself beside it."""
    config = model.config
    return {
        "format": FORMAT,
        "kind": "torso",
        "layout": asdict(model.layout),
        "architecture": {
            "num_frames": int(model.num_train_data),
            "hidden_dim": config.hidden_dim,
            "position_frequencies": config.position_frequencies,
            "pose_frequencies": config.pose_frequencies,
            "frame_code_dim": config.frame_code_dim,
            "head_aware": config.head_aware,
            "carried": config.carried,
            "deformation": config.deformation,
            "implementation": model.field.implementation,
        },
        "background": model.backdrop.saved,
        **_dataset_description(model.metadata, model.expression_source, model.aabb),
    }


def _dataset_description(metadata: Dict[str, Any], source: "ExpressionSource", aabb: Tensor) -> Dict[str, Any]:
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
    }


def check_head_fits(head: Dict[str, Any], metadata: Dict[str, Any], aabb: Tensor) -> None:
    """Compare a head's description with the dataset that a torso is to be trained on.

    Args:
        head: the head's description.
        metadata: of the torso's dataset.
        aabb: the torso's scene box.

    Raises:
        UserError: the head is of another basis, dataset or image size.
    """
    ours, theirs = list(metadata["expression_names"]), list(head["basis"]["names"])
    if ours != theirs:
        missing = sorted(set(theirs).symmetric_difference(ours))
        raise UserError(
            f"The head run was trained on {len(theirs)} coefficients, the dataset gives {len(ours)}, and they differ "
            f"in {', '.join(missing[:4]) or 'their order'}{', …' if len(missing) > 4 else ''}; train head and torso on "
            "the same data with the same --basis, --protocol and --test-frames."
        )
    if head["architecture"]["num_frames"] != len(metadata["train_frame_index"]):
        raise UserError(
            f"The head run had {head['architecture']['num_frames']} training frames, the torso has "
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
    saved_size, size = list(head["image_size"]), [int(side) for side in metadata["image_size"]]
    if saved_size != size:
        raise UserError(
            f"The head run was trained at {saved_size[1]}x{saved_size[0]} pixels, the torso at {size[1]}x{size[0]}; "
            f"give --pipeline.datamanager.dataparser.max-size {max(saved_size)}."
        )


def check_format(saved: Dict[str, Any]) -> None:
    """Refuse a description of another version.

    Raises:
        UserError: the format is not ours.
    """
    if saved.get("format") != FORMAT:
        raise UserError(
            f"The checkpoint is of format {saved.get('format')}, this version of nerfblendshape_ns reads {FORMAT}; use "
            "the version that wrote it, or train again."
        )


def check_description(saved: Dict[str, Any], current: Dict[str, Any]) -> None:
    """Compare a checkpoint's description with the model that loads it.

    Raises:
        UserError: the checkpoint is of another format, basis or architecture.
    """
    check_format(saved)
    if saved["basis"]["names"] != current["basis"]["names"]:
        ours, theirs = current["basis"]["names"], saved["basis"]["names"]
        raise UserError(
            f"The checkpoint was trained on {len(theirs)} coefficients ({', '.join(theirs[:3])}, …), the dataset gives "
            f"{len(ours)} ({', '.join(ours[:3])}, …); use the run's own dataset and --basis."
        )
    for key in ("layout", "architecture"):
        for name, value in saved[key].items():
            if current[key].get(name) != value:
                raise UserError(
                    f"The checkpoint was trained with {name} = {value}, the model is configured with "
                    f"{current[key].get(name)}; resume with the settings of the run's config.yml."
                )
