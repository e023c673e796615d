"""How far another person's head may turn a model's: little farther than its clip shows."""

from __future__ import annotations

import numpy as np

RANGE_PERCENTILE = 98.0
"""A person's range of rotation is this percentile of their frames' absolute angles."""
RANGE_MARGIN = 3.0
"""Degrees beyond a person's own range to which somebody else may turn the head."""


def farthest(own: np.ndarray) -> np.ndarray:
    """How far somebody else may turn the head about the image's axes x and y, ``[2]`` degrees; ``own`` as below."""
    return np.percentile(np.abs(own[:, :2]), RANGE_PERCENTILE, axis=0) + RANGE_MARGIN


def soften(turns: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Soften turns beyond the range of a person's clip, where the model was never observed.

    Rotations about the camera's own axis only roll the image and stay. Yaw and pitch go through
    ``limit · tanh(angle / limit)``: small ones pass, large ones approach the limit.

    Args:
        turns: ``[frames, 3]`` rotation vectors from the person's neutral rotation in the camera's axes, degrees.
        own: ``[own frames, 3]`` the person's, likewise.

    Returns:
        ``[frames, 3]``.
    """
    limit = farthest(own)
    softened = turns.copy()
    softened[:, :2] = limit * np.tanh(turns[:, :2] / limit)
    return softened
