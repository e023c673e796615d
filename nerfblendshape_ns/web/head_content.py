"""What a page holds of a head."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple, cast

import numpy as np
import torch
from nerfstudio.field_components.mlp import MLP
from scipy import ndimage
from torch import Tensor, nn

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.fields.head_field import DENSITY_BIAS
from nerfblendshape_ns.fields.networks import frame_code
from nerfblendshape_ns.model_components.conditioning.face_motion import GRID, interpolation
from nerfblendshape_ns.model_components.conditioning.head_pose_code import HeadPoseCode
from nerfblendshape_ns.model_components.rendering.early_termination import EARLY_STOP
from nerfblendshape_ns.models.head import HeadModel
from nerfblendshape_ns.ops.canonical_kernels import EYE_END, EYE_NEAREST, EYE_WHOLE
from nerfblendshape_ns.ops.hash_grid import HashGridLayout
from nerfblendshape_ns.web.tables import quantise

Arrays = Dict[str, np.ndarray]
FURTHEST = 255
"""Largest distance in cells to an occupied one."""
UNBOUNDED = 100.0
"""Radians that stand for infinity."""


def head_content(head: HeadModel, exact: bool = False) -> Tuple[Dict[str, Any], Arrays]:
    """Plain data and arrays from which a page renders a head.

    What is the same in every image, such as the mean appearance code, is added to the networks' biases.

    Args:
        head: in evaluation mode.
        exact: tables in single precision instead of 8 bit and half.

    Raises:
        UserError: its networks are tiny-cuda-nn's.
    """
    field, conditioning = head.field, head.conditioning
    layers = {"density": dense_layers(field.density_network), "color": dense_layers(field.color_network)}
    code = frame_code(field.frame_codes, None, 1)
    features = head.layout.output_dim
    first, inputs = split(layers["density"][0], features)
    by_code = conditioning.by_code
    if by_code:
        assert code is not None
        first, inputs = folded(first, inputs, code[0]), inputs[:, :0]
    layers["density"][0] = first
    if code is not None:
        first, of_code = split(layers["color"][0], -code.shape[1])
        layers["color"][0] = folded(first, of_code, code[0])
    encoding = field.encoding
    # What the tables are blended by; a baseline has no tables, and its network may read the condition itself.
    names = conditioning.basis + (6 if conditioning.with_pose else 0)
    mixing = torch.eye(names) if encoding.mixing is None else encoding.mixing
    arrays = {
        "head.inputs": array(inputs),
        "head.mixing": array(mixing),
        "head.occupancy": cell_distances(head.occupancy.connected()[0].cpu().numpy()),
        **_tables(encoding.mean, encoding.bases, head.layout, exact),
        **layer_arrays("head.", layers),
    }
    low, high = (value.clamp(-UNBOUNDED, UNBOUNDED).tolist() for value in (head.view_range.low, head.view_range.high))
    content = {
        "box": head.aabb.tolist(),
        "step": head.occupancy.step_size,
        "stop": EARLY_STOP,
        "densityBias": DENSITY_BIAS,
        "largestDensity": field.max_density,
        "background": 1.0 if head.config.background_color == "white" else 0.0,
        "grid": grid_content(head.layout),
        "tables": len(encoding.bases),
        "layers": {name: len(some) for name, some in layers.items()},
        "scale": conditioning.scale.tolist(),
        "withPose": conditioning.with_pose,
        "poseCode": pose_content(conditioning.pose_code),
        "correction": None,
        "view": {
            "centre": head.view_range.centre.tolist(),
            "axes": head.view_range.axes.tolist(),
            "low": low,
            "high": high,
        },
        "parts": None,
        "motion": None,
        "eyes": None,
    }
    if conditioning.correction.active:
        linear, offset = conditioning.correction.linear, conditioning.correction.offset
        content["correction"] = {"linear": linear.tolist(), "offset": offset.tolist()}
    if conditioning.parts is not None:
        parts = conditioning.parts
        arrays["head.face"] = (parts.region.weights > 0.5).to(torch.uint8).cpu().numpy()
        arrays["head.still"] = parts.still[:, 0].to(torch.uint8).cpu().numpy()
        arrays["head.reference"] = array(parts.reference)
        content["parts"] = {"rear": float(parts.region.rear), "border": float(parts.border)}
    if conditioning.motion is not None:
        motion = conditioning.motion
        length, weights = interpolation(motion.aabb, motion.neutral, motion.motion)
        content["motion"] = {"grid": GRID, "length": length}
        arrays["head.landmarks"] = array(motion.neutral)
        arrays["head.motion"] = array(weights.view(len(motion.neutral), -1, 3).transpose(0, 1))
    if conditioning.eyes is not None:
        eyes = conditioning.eyes
        content["eyes"] = {"centres": eyes.centres.tolist(), "size": eyes.size.tolist()}
        content["eyes"] |= {"nearest": EYE_NEAREST, "whole": EYE_WHOLE, "end": EYE_END}
        arrays["head.opening"] = array(eyes.opening).astype(np.float16)
        arrays["head.turns"] = array(eyes.turns.T)
        arrays["head.furthest"] = array(eyes.furthest)
        arrays["head.gaze"] = array(torch.stack([eyes.low, eyes.high]))
    return content, arrays


def grid_content(layout: HashGridLayout) -> Dict[str, Any]:
    """Sizes of a hash grid."""
    return {
        "dimensions": layout.dimensions,
        "features": layout.features_per_level,
        "resolutions": list(layout.resolutions),
        "offsets": list(layout.offsets),
    }


def pose_content(code: HeadPoseCode) -> Dict[str, Any]:
    """The linear map that makes a head pose's six numbers, and where they are clamped."""
    return {
        "reference": code.reference.tolist(),
        "factors": code.factors.tolist(),
        "offset": code.offset.tolist(),
        "limit": code.limit,
    }


def array(tensor: Tensor) -> np.ndarray:
    """A tensor in single precision."""
    return tensor.detach().float().cpu().numpy()


Layer = Tuple[Tensor, Tensor]
"""Weight ``[outputs, inputs]`` and bias ``[outputs]``."""


def dense_layers(network: MLP) -> List[Layer]:
    """Weights and biases of a network.

    Raises:
        UserError: it is tiny-cuda-nn's, whose weights are laid out otherwise.
    """
    if network.tcnn_encoding is not None:
        raise UserError(
            "the networks are tiny-cuda-nn's, which a page cannot hold; train with --pipeline.model.implementation "
            "torch to export one."
        )
    layers = []
    for layer in network.layers or ():
        assert isinstance(layer, nn.Linear)
        layers.append((layer.weight.detach(), layer.bias.detach()))
    return layers


def split(layer: Layer, inputs: int) -> Tuple[Layer, Tensor]:
    """A layer of the first inputs alone (of all but the last where the number is negative), and the others' weights."""
    return (layer[0][:, :inputs], layer[1]), layer[0][:, inputs:]


def folded(layer: Layer, weights: Tensor, constant: Optional[Tensor]) -> Layer:
    """A layer whose bias also has what inputs of constant value add."""
    return layer if constant is None else (layer[0], layer[1] + weights @ constant)


def layer_arrays(prefix: str, layers: Dict[str, List[Layer]]) -> Arrays:
    """Weights and biases by names such as ``PREFIXdensity.0.weight``."""
    return {
        f"{prefix}{name}.{number}.{part}": array(value)
        for name, some in layers.items()
        for number, layer in enumerate(some)
        for part, value in zip(("weight", "bias"), layer)
    }


def _tables(mean: Tensor, bases: Tensor, layout: HashGridLayout, exact: bool) -> Arrays:
    values, scales = array(bases), np.ones((len(bases), layout.num_levels, layout.features_per_level), np.float32)
    if not exact:
        values, scales = quantise(values, layout.offsets)
    return {
        "head.mean": table_array(mean, exact),
        "head.bases": values,
        "head.scales": scales,
    }


def table_array(table: Tensor, exact: bool) -> np.ndarray:
    """A table that nothing is blended from, in half precision unless it shall be exact."""
    return array(table) if exact else array(table).astype(np.float16)


def cell_distances(occupied: np.ndarray) -> np.ndarray:
    """How many cells each is from an occupied one, along the axis that it is furthest, indexed x, y, z; 0 if it is one.

    A ray in a cell with distance d meets nothing before it has passed d - 1 whole cells.
    """
    if not occupied.any():
        return np.full(occupied.shape, FURTHEST, np.uint8)
    distances = cast(np.ndarray, ndimage.distance_transform_cdt(~occupied, "chessboard"))
    return np.minimum(distances, FURTHEST).astype(np.uint8)
