"""Mattes: how opaque the person is against the background, and what follows from that for the head.

A matte is an 8-bit image beside the labels, 255 where only the person is seen. It sees strands of hair that labels
cannot hold. The labels say what it shows: the head's opacity is the matte times the fraction of head among the labels
of the person near by.
"""

from __future__ import annotations

import cv2
import numpy as np

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.labels import REFERENCE_SIZE, SOFT_ALPHA_SIGMA, head_mask, nearest_known

FUSION_RADII = (24.0, 6.0)
"""Half windows of the two rounds of :func:`foreground_colours`, in pixels of a 512-pixel image."""


def head_alpha(labels: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """The head's opacity.

    Against the background it is the matte; towards neck and clothes the border of the labels is softened as in
    :func:`~nerfblendshape_ns.data.labels.soft_alpha`. A pixel without a person's label belongs to the nearest one.

    Args:
        labels: uint8 ``[height, width]`` values of :class:`~nerfblendshape_ns.data.contract.Label`.
        matte: uint8 ``[height, width]``, 255 is the person.

    Returns:
        float32 ``[height, width]`` in 0..1.
    """
    person = labels != Label.BACKGROUND
    if not person.any():
        return np.zeros(labels.shape, dtype=np.float32)
    head, _ = nearest_known(head_mask(labels).astype(np.float32), person)
    head_fraction = cv2.GaussianBlur(head, (0, 0), SOFT_ALPHA_SIGMA * max(labels.shape) / REFERENCE_SIZE)
    return head_fraction * (matte.astype(np.float32) / 255)


def foreground_colours(image: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """The person's own colours under the soft edge, without the background that shines through.

    Blur fusion, in two rounds: M. Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021, equations 5-7.

    Args:
        image: uint8 RGB ``[height, width, 3]``.
        matte: uint8 ``[height, width]``, 255 is the person.

    Returns:
        uint8 RGB ``[height, width, 3]``: the image where the matte is full, elsewhere colours F that explain it as
        ``matte * F + (1 - matte) * B``.
    """
    alpha = (matte.astype(np.float32) / 255)[..., None]
    colours = image.astype(np.float32)
    foreground, background = colours, colours
    for radius in FUSION_RADII:
        size = 2 * max(1, round(radius * max(matte.shape) / REFERENCE_SIZE)) + 1
        blurred_alpha = cv2.blur(alpha, (size, size))[..., None]
        near_foreground = cv2.blur(foreground * alpha, (size, size)) / (blurred_alpha + 1e-5)
        near_background = cv2.blur(background * (1 - alpha), (size, size)) / (1 - blurred_alpha + 1e-5)
        left = colours - alpha * near_foreground - (1 - alpha) * near_background
        foreground = np.clip(near_foreground + alpha * left, 0, 255)
        background = near_background
    foreground = np.where(matte[..., None] == 255, colours, foreground)
    return np.rint(foreground).astype(np.uint8)
