"""FLIP: how visible the difference of two images is when one alternates with the other (Andersson et al. 2020).

Colours are filtered by the contrast sensitivity of the eye and compared in a perceptually uniform space; edges and
points that one image has and the other lacks raise the error. No part of it is learnt, so it needs no weights.
"""

from __future__ import annotations

import math
from typing import List, Tuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

PIXELS_PER_DEGREE = 0.7 * 3840 / 0.7 * math.pi / 180
"""Of the visual angle: the authors' monitor, 3840 pixels over 0.7 m, seen from 0.7 m."""

_COLOR_EXPONENT, _FEATURE_EXPONENT = 0.7, 0.5
_KNEE_INPUT, _KNEE_OUTPUT = 0.4, 0.95
"""Colour errors up to this fraction of the largest take up this fraction of the scale."""
_FEATURE_WIDTH = 0.082
"""Degrees from peak to trough of the eye's edge detector."""
_CONTRAST_SENSITIVITY = (((1.0, 0.0047),), ((1.0, 0.0053),), ((34.1, 0.04), (13.5, 0.025)))
"""Weights and widths of the Gaussians, summed, of the channels luminance, red-green and blue-yellow."""
_LINEAR_TO_XYZ = (
    (10135552 / 24577794, 8788810 / 24577794, 4435075 / 24577794),
    (2613072 / 12288897, 8788810 / 12288897, 887015 / 12288897),
    (1425312 / 73733382, 8788810 / 73733382, 70074185 / 73733382),
)
"""Linear sRGB to CIE XYZ; white, which is (1, 1, 1), has the coordinates of illuminant D65."""


def flip_map(
    prediction: Float[Tensor, "height width 3"], truth: Float[Tensor, "height width 3"]
) -> Float[Tensor, "height width"]:
    """LDR-FLIP of every pixel, from 0 (the same) to 1, at the authors' viewing conditions.

    Args:
        prediction: sRGB in [0, 1].
        truth: likewise; both on one device.
    """
    images = torch.stack([prediction, truth]).permute(0, 3, 1, 2).float()
    opponent = _opponent(_linear(images))
    color = _color_difference(opponent)
    feature = _feature_difference((opponent[:, :1] + 16.0) / 116.0)
    return color ** (1.0 - feature)


def _color_difference(opponent: Float[Tensor, "two 3 height width"]) -> Float[Tensor, "height width"]:
    """HyAB distance of what the eye's contrast sensitivity leaves, on a scale from 0 to 1."""
    seen = _linear_of_opponent(_filter_contrast(opponent)).clamp(0.0, 1.0)
    lab = _hunt_adjusted(_lab(seen))
    primaries = torch.eye(3, device=opponent.device)[1:, :, None, None]  # Green and blue are furthest apart.
    largest = _hyab(_hunt_adjusted(_lab(primaries))) ** _COLOR_EXPONENT
    error = _hyab(lab) ** _COLOR_EXPONENT
    knee = _KNEE_INPUT * largest
    above = _KNEE_OUTPUT + (error - knee) / (largest - knee) * (1.0 - _KNEE_OUTPUT)
    return torch.where(error < knee, error / knee * _KNEE_OUTPUT, above)


def _feature_difference(luminance: Float[Tensor, "two 1 height width"]) -> Float[Tensor, "height width"]:
    """How differently strong edges and points are, on a scale from 0 to 1."""
    deviation = 0.5 * _FEATURE_WIDTH * PIXELS_PER_DEGREE
    x = torch.arange(-math.ceil(3 * deviation), math.ceil(3 * deviation) + 1).double()
    gaussian = torch.exp(-(x**2) / (2 * deviation**2))
    differences = []
    for kernel in (-x * gaussian, (x**2 / deviation**2 - 1.0) * gaussian):
        # Of the two-dimensional kernel, positive weights sum to 1 and negative ones to -1.
        positive, negative = (kernel.clamp_min(0.0).sum(), -kernel.clamp_max(0.0).sum())
        along = torch.where(kernel > 0, kernel / positive, kernel / negative)
        across = gaussian / gaussian.sum()
        horizontal = _separable(luminance, along, across)
        vertical = _separable(luminance, across, along)
        strength = (horizontal**2 + vertical**2).sqrt()[:, 0]
        differences.append((strength[0] - strength[1]).abs())
    return (torch.maximum(*differences) / math.sqrt(2.0)) ** _FEATURE_EXPONENT


def _filter_contrast(opponent: Float[Tensor, "two 3 height width"]) -> Float[Tensor, "two 3 height width"]:
    widest = max(width for gaussians in _CONTRAST_SENSITIVITY for _, width in gaussians)
    radius = math.ceil(3 * math.sqrt(widest / (2 * math.pi**2)) * PIXELS_PER_DEGREE)
    x = torch.arange(-radius, radius + 1).double() / PIXELS_PER_DEGREE
    channels: List[Tensor] = []
    for plane, gaussians in zip(opponent.split(1, dim=1), _CONTRAST_SENSITIVITY):
        kernels = [torch.exp(-(math.pi**2) / width * x**2) for _, width in gaussians]
        heights = [weight * math.sqrt(math.pi / width) for weight, width in gaussians]
        total = sum(height * float(kernel.sum()) ** 2 for height, kernel in zip(heights, kernels))
        filtered = [height / total * _separable(plane, kernel, kernel) for height, kernel in zip(heights, kernels)]
        channels.append(torch.stack(filtered).sum(0))
    return torch.cat(channels, dim=1)


def _separable(
    plane: Float[Tensor, "two 1 height width"], along_x: Float[Tensor, "taps"], along_y: Float[Tensor, "taps"]
) -> Float[Tensor, "two 1 height width"]:
    """Filter rows and columns; beyond the border the image goes on as it is there."""
    radius = len(along_x) // 2
    padded = F.pad(plane, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, along_x.to(padded)[None, None, None, :])
    return F.conv2d(rows, along_y.to(padded)[None, None, :, None])


# --- colours, channels in dimension 1 ---


def _linear(srgb: Tensor) -> Tensor:
    return torch.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)


def _matrix_and_white(like: Tensor) -> Tuple[Float[Tensor, "3 3"], Float[Tensor, "3 1 1"]]:
    matrix = torch.tensor(_LINEAR_TO_XYZ, dtype=torch.float64)
    return matrix.to(like), matrix.sum(1)[:, None, None].to(like)


def _relative_xyz(linear: Tensor) -> Tensor:
    """XYZ in units of white's."""
    matrix, white = _matrix_and_white(linear)
    return torch.einsum("ij,njhw->nihw", matrix, linear) / white


def _opponent(linear: Tensor) -> Tensor:
    """YCxCz: luminance, red-green, blue-yellow; linear in light."""
    x, y, z = _relative_xyz(linear).unbind(1)
    return torch.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], dim=1)


def _linear_of_opponent(opponent: Tensor) -> Tensor:
    y = (opponent[:, 0] + 16.0) / 116.0
    relative = torch.stack([y + opponent[:, 1] / 500.0, y, y - opponent[:, 2] / 200.0], dim=1)
    matrix, white = _matrix_and_white(opponent)
    return torch.einsum("ij,njhw->nihw", torch.linalg.inv(matrix.double()).to(opponent), relative * white)


def _lab(linear: Tensor) -> Tensor:
    """CIE L*a*b*."""
    relative, delta = _relative_xyz(linear), 6.0 / 29.0
    root = relative.clamp_min(delta**3) ** (1.0 / 3.0)
    x, y, z = torch.where(relative > delta**3, root, relative / (3.0 * delta**2) + 4.0 / 29.0).unbind(1)
    return torch.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], dim=1)


def _hunt_adjusted(lab: Tensor) -> Tensor:
    """Colours are seen weaker in the dark."""
    return torch.cat([lab[:, :1], 0.01 * lab[:, :1] * lab[:, 1:]], dim=1)


def _hyab(lab: Float[Tensor, "two 3 height width"]) -> Float[Tensor, "height width"]:
    """HyAB distance of the first image from the second: of lightness and of colour, added."""
    difference = lab[0] - lab[1]
    return difference[0].abs() + difference[1:].norm(dim=0)
