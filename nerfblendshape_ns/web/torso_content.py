"""What a page holds of a torso and of what is behind the person."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np
import torch

from nerfblendshape_ns.fields.networks import frame_code
from nerfblendshape_ns.fields.torso_field import (
    ITERATIONS,
    LARGEST_SHIFT,
    POSE_DIM,
    POSE_FREQUENCIES,
    POSITION_FREQUENCIES,
)
from nerfblendshape_ns.model_components.torso.torso_occupancy import THRESHOLD
from nerfblendshape_ns.model_components.torso.torso_plane import FADE
from nerfblendshape_ns.models.torso import TorsoModel
from nerfblendshape_ns.web.head_content import (
    Arrays,
    Layer,
    array,
    dense_layers,
    folded,
    grid_content,
    layer_arrays,
    pose_content,
    split,
    table_array,
)


def torso_content(torso: TorsoModel, exact: bool, background: bool) -> Tuple[Dict[str, Any], Arrays]:
    """Plain data and arrays from which a page renders a torso; see :func:`.head_content`.

    Args:
        torso: in evaluation mode.
        exact: the table in single precision instead of half.
        background: also give the clean plate; else white stands in for it.
    """
    field, occupancy, plane, behind = torso.field, torso.occupancy, torso.plane, torso.background
    layers = {
        "deformation": dense_layers(field.deformation),
        "appearance": dense_layers(field.appearance),
        "skinning": dense_layers(field.skinning) if field.skinning is not None else [],
    }
    code = frame_code(field.frame_codes, None, 1)
    code = torch.zeros(0) if code is None else code[0].detach()
    arrays = {
        "torso.table": table_array(field.table, exact),
        "torso.occupancy": ((occupancy.opacity > THRESHOLD) & occupancy.allowed).to(torch.uint8).cpu().numpy(),
        "torso.appearance.condition": _take_condition(layers["appearance"], field.layout.output_dim, code),
    }
    if field.linear:
        arrays |= _linear_in_pose(layers["deformation"], code)
    else:
        positions = field.position_encoding.get_out_dim()
        arrays["torso.deformation.condition"] = _take_condition(layers["deformation"], positions, code)
    arrays |= layer_arrays("torso.", layers)
    content = {
        "grid": grid_content(field.layout),
        "layers": {name: len(some) for name, some in layers.items()},
        "linear": field.linear,
        "iterations": ITERATIONS,
        "largestShift": LARGEST_SHIFT,
        "positionFrequencies": POSITION_FREQUENCIES,
        "poseFrequencies": POSE_FREQUENCIES,
        "poseCode": pose_content(torso.pose_code),
        "focal": plane.focal.tolist(),
        "centre": plane.centre.tolist(),
        "depth": float(plane.depth),
        "fade": FADE,
        "background": behind.color.tolist(),
    }
    image = {"plate": behind.plate if background else None, "image": behind.image}.get(behind.kind)
    if image is not None:
        arrays["torso.background"] = image.cpu().numpy()
    return content, arrays


def _take_condition(layers: List[Layer], features: int, code: torch.Tensor) -> np.ndarray:
    """Leave the first layer what varies over the image, and the code in its bias; gives what reads the head pose."""
    layer, condition = split(layers[0], features)
    of_pose = condition.shape[1] - len(code)
    layers[0] = folded(layer, condition[:, of_pose:], code)
    return array(condition[:, :of_pose])


def _linear_in_pose(layers: List[Layer], code: torch.Tensor) -> Arrays:
    """The last layer's weights and biases of the displacement with each number of the head pose.

    The layer gives displacements per unit of pose and code, each along two axes; what the codes move joins the constant
    ones, which stay.
    """
    last = tuple(value.view(2, 1 + POSE_DIM + len(code), *value.shape[1:]) for value in layers[-1])
    constant = [value[:, 0] + torch.einsum("ac...,c->a...", value[:, 1 + POSE_DIM :], code) for value in last]
    layers[-1] = (constant[0], constant[1])
    names = ("torso.deformation.pose.weight", "torso.deformation.pose.bias")
    return {name: array(value[:, 1 : 1 + POSE_DIM].transpose(0, 1)) for name, value in zip(names, last)}
