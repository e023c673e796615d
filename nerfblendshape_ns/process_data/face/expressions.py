"""Expression coefficients of a clip: the Face Landmarker's 52, or principal directions of the landmarks without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List

import numpy as np

from nerfblendshape_ns.common.smoothing import whittaker
from nerfblendshape_ns.process_data.face.canonical_face import NUM_MESH_LANDMARKS, RIGID_LANDMARKS, align_similarity

ARKIT_BASIS = "arkit52"
LANDMARK_PCA_BASIS = "landmark_pca"
PCA_COMPONENTS = 16


@dataclass
class Expressions:
    """Coefficients as they are written to ``expr.npy``."""

    values: np.ndarray
    """float32 ``[frames, basis]``; neutral is 0."""
    names: List[str]
    """One name a coefficient."""
    basis: str
    """The basis id."""


def arkit_expressions(coefficients: np.ndarray, names: List[str], smoothness: float) -> Expressions:
    """The Face Landmarker's coefficients, lightly smoothed and kept in 0..1.

    Args:
        coefficients: ``[frames, 52]``, no NaN.
        names: their names; they start with ``_neutral``.
        smoothness: in frames, as in :func:`~nerfblendshape_ns.common.smoothing.whittaker`.
    """
    values = np.clip(whittaker(coefficients, smoothness), 0.0, 1.0)
    return Expressions(values.astype(np.float32), list(names), ARKIT_BASIS)


def landmark_pca_expressions(
    landmarks: np.ndarray, reference: np.ndarray, smoothness: float, components: int = PCA_COMPONENTS
) -> Expressions:
    """Principal directions of the aligned landmarks as coefficients, for use without a blendshape model.

    Head motion is taken out by a similarity on the rigid landmarks; the clip's median face is the neutral. Each
    coefficient is divided by its largest size in the clip, so that it stays in -1..1. The directions belong to this
    clip: they have no meaning (``pca_03`` is not an eyebrow) and do not carry over to another clip.

    Args:
        landmarks: ``[frames, 468 or more, 3]`` pixels (x right, y down, z away from the camera).
        reference: the clip's face ``[468, 3]`` in head space.
        smoothness: in frames.
        components: how many directions; fewer where the clip has fewer frames.

    Returns:
        Coefficients named ``pca_00``, ``pca_01``, …, most variance first.
    """
    points = landmarks[:, :NUM_MESH_LANDMARKS].astype(np.float64) * np.array([1.0, -1.0, -1.0])
    aligned = np.stack([align_similarity(frame, reference, RIGID_LANDMARKS) for frame in points])
    offsets = (aligned - np.median(aligned, axis=0)).reshape(len(aligned), -1)
    # Directions are those of the spread about the mean; coefficients are measured from the median, so neutral is 0.
    _, _, directions = np.linalg.svd(offsets - offsets.mean(0), full_matrices=False)
    directions = directions[: min(components, len(offsets) - 1)]
    # The sign of a singular vector is arbitrary: the largest entry is made positive, so that runs agree.
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], axis=1)
    values = whittaker(offsets @ (directions * np.sign(largest)).T, smoothness)
    values = values / np.maximum(np.abs(values).max(0), 1e-9)
    return Expressions(
        values.astype(np.float32), [f"pca_{index:02d}" for index in range(values.shape[1])], LANDMARK_PCA_BASIS
    )
