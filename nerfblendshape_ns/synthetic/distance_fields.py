"""Signed-distance primitives and smooth set operations on arrays of points; negative is inside.

The smooth minimum is the polynomial one and the ellipsoid the first-order bound, both from Inigo Quilez's articles
"smooth minimum" and "ellipsoid - SDF". Distances only have to be right near the surface, where meshes are extracted.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np


def ellipsoid(points: np.ndarray, centre: Sequence[float], radii: Sequence[float]) -> np.ndarray:
    """Approximate distance to an ellipsoid; ``points`` is ``[..., 3]``, the result ``[...]``."""
    offset = points - np.asarray(centre, points.dtype)
    scaled = offset / np.asarray(radii, points.dtype)
    length = np.linalg.norm(scaled, axis=-1)
    gradient = np.linalg.norm(scaled / np.asarray(radii, points.dtype), axis=-1)
    return length * (length - 1.0) / np.maximum(gradient, 1e-6)


def sphere(points: np.ndarray, centre: Sequence[float], radius: float) -> np.ndarray:
    """Distance to a sphere."""
    return np.linalg.norm(points - np.asarray(centre, points.dtype), axis=-1) - radius


def capsule(
    points: np.ndarray, start: Sequence[float], end: Sequence[float], start_radius: float, end_radius: float
) -> np.ndarray:
    """Distance to a segment thickened by a radius that goes linearly from one end to the other."""
    first, last = np.asarray(start, points.dtype), np.asarray(end, points.dtype)
    axis = last - first
    along = np.clip((points - first) @ axis / (axis @ axis), 0.0, 1.0)
    nearest = first + along[..., None] * axis
    return np.linalg.norm(points - nearest, axis=-1) - (start_radius + (end_radius - start_radius) * along)


def smooth_union(first: np.ndarray, second: np.ndarray, width: float) -> np.ndarray:
    """Union whose seam is rounded over ``width``."""
    overlap = np.maximum(width - np.abs(first - second), 0.0) / width
    return np.minimum(first, second) - overlap * overlap * (width * 0.25)


def smooth_subtraction(solid: np.ndarray, hole: np.ndarray, width: float) -> np.ndarray:
    """``solid`` without ``hole``, the edge rounded over ``width``."""
    return -smooth_union(-solid, hole, width)


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, a cubic between; works for ``low > high`` as the falling edge."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bump(value: np.ndarray, width: float) -> np.ndarray:
    """A Gaussian of height 1 at 0 with standard deviation ``width``."""
    return np.exp(-0.5 * (value / width) ** 2)
