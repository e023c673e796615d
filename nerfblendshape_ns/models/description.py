"""What a head run is, as plain data inside its checkpoint: it can be rebuilt without executing a YAML file."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Dict, List, Optional

import torch

from nerfblendshape_ns.errors import UserError

if TYPE_CHECKING:
    from nerfblendshape_ns.models.head import HeadModel

FORMAT = 1
"""Raised when the description changes in a way that old readers cannot take."""


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
            "directions": int(field.encoding.bases.shape[0]),
            "mixed": field.encoding.mixing is not None,
            "num_frames": int(model.num_train_data),
            "hidden_dim": model.config.hidden_dim,
            "density_layers": model.config.density_layers,
            "color_layers": model.config.color_layers,
            "geometry_dim": model.config.geometry_dim,
            "frame_code_dim": model.config.frame_code_dim,
            "expression_region": model.region is not None,
            "density_bias": model.config.density_bias,
            "occupancy_resolution": model.config.occupancy_resolution,
            "samples_per_box": model.config.samples_per_box,
        },
        "basis": {
            "id": str(metadata.get("basis_id", "custom")),
            "names": list(source.names),
            "minimum": source.minimum.tolist(),
            "maximum": source.maximum.tolist(),
            "source_names": list(metadata.get("expression_source_names") or source.names),
            "projection": _projection(metadata),
        },
        "normalisation": {
            "transform": torch.as_tensor(metadata.get("dataparser_transform", torch.eye(4)[:3])).tolist(),
            "scale": float(metadata.get("dataparser_scale", 1.0)),
            "aabb": model.aabb.tolist(),
        },
        "image_size": [int(side) for side in metadata["image_size"]],
        "intrinsics": {name: float(value) for name, value in (metadata.get("intrinsics") or {}).items()},
        "background_color": model.config.background_color,
        "face_mesh": None if metadata.get("face_mesh") is None else metadata["face_mesh"].tolist(),
        "fps": float(metadata["track"].get("fps", 25.0)),
    }


def _projection(metadata: Dict[str, Any]) -> Optional[List[List[float]]]:
    """``[source, basis]`` from the clip's coefficients to the model's; None where those are some of the clip's."""
    projection = metadata.get("expression_projection")
    if projection is None or set(metadata["expression_names"]) <= set(metadata["expression_source_names"]):
        return None
    return torch.as_tensor(projection).tolist()


def check_format(saved: Dict[str, Any]) -> None:
    """Refuse a description that a later version has written.

    Raises:
        UserError: the format is newer than ours.
    """
    if saved.get("format", 0) > FORMAT:
        raise UserError(
            f"The checkpoint's format {saved.get('format')} is newer than this version of nerfblendshape_ns reads "
            f"({FORMAT}); upgrade the package."
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
