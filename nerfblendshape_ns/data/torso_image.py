"""The torso image: neck and torso of a frame with alpha, extended behind the chin and the hair.

What lies behind the head's edge is seen in no frame at that moment but shows as soon as the head moves, so the torso's
uppermost colours are extended upward under the head, as RAD-NeRF's and the unofficial repository's preprocessing do
(lengths from there, in pixels of a 512-pixel frame).
"""

from __future__ import annotations

import cv2
import numpy as np

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.labels import REFERENCE_SIZE, SOFT_ALPHA_SIGMA, extend_colours, head_mask

TORSO_EXTENT = 8
"""How far the torso goes on behind the head, in pixels of a 512-pixel frame."""
NECK_EXTENT = 48
"""How far the neck does."""
NECK_START = 4
"""The neck's colour is taken so far below the chin, clear of its shadow and of mixed pixels."""
DARKENING = 0.992
"""Factor of the colour per pixel of distance from where it is taken. The references take 0.98, which is far too dark
for the hidden neck of the synthetic person and makes no difference on a real clip (``docs/findings.md``)."""
DARKEST = 0.86
"""The factor falls no lower: under a chin it gets darker where chin and neck meet, not all the way up."""
NECK_BLUR = 2.0
"""Standard deviation of the blur of the extended neck, which hides the streaks."""


def torso_image(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cut neck and torso out of a frame and extend them upward under the head.

    Args:
        image: uint8 RGB ``[height, width, 3]``.
        labels: uint8 ``[height, width]`` values of :class:`~nerfblendshape_ns.data.contract.Label`.

    Returns:
        uint8 RGBA ``[height, width, 4]``, colour not premultiplied; alpha is 0 on background and head, soft at edges,
        full on the extension.
    """
    unit = max(image.shape[:2]) / REFERENCE_SIZE
    neck, visible = labels == Label.NECK, (labels == Label.NECK) | (labels == Label.TORSO)
    colours = image.astype(np.float32)
    extended = visible.copy()
    for extent, start, of_neck in ((TORSO_EXTENT, 0, False), (NECK_EXTENT, NECK_START, True)):
        _extend(colours, extended, labels, neck if of_neck else visible & ~neck, extent * unit, start * unit, unit)
    extension = extended & ~visible
    if extension.any():
        blurred = _blur_inside(colours, extended, NECK_BLUR * unit)
        colours[extension] = blurred[extension]
    sigma = SOFT_ALPHA_SIGMA * unit
    alpha = cv2.GaussianBlur(extended.astype(np.float32), (0, 0), sigma)
    pixels = np.clip(colours + 0.5, 0, 255).astype(np.uint8)
    # The outermost pixels are mixed with what is beside them, so the soft edge takes its colour from within.
    inner = cv2.erode(extended.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=(1,)) > 0
    pixels = extend_colours(pixels, inner, 1 + 4 * sigma)
    return np.dstack([pixels, (alpha * 255 + 0.5).astype(np.uint8)])


def _extend(
    colours: np.ndarray,
    extended: np.ndarray,
    labels: np.ndarray,
    source: np.ndarray,
    extent: float,
    start: float,
    unit: float,
) -> None:
    """Carry the topmost pixels of ``source`` that lie right below the head upward, column by column, in place."""
    head = head_mask(labels)
    rows, columns = np.nonzero(source[1:] & head[:-1])
    rows += 1
    below = np.minimum(rows + round(start), len(labels) - 1)
    below = np.where(source[below, columns], below, rows)
    colour, away = colours[below, columns], below - rows
    growing = np.ones(len(rows), dtype=bool)
    for step in range(1, max(1, round(extent)) + 1):
        above = rows - step
        growing &= above >= 0
        growing[growing] &= head[above[growing], columns[growing]]
        target = growing.copy()
        target[growing] &= ~extended[above[growing], columns[growing]]
        pixels = above[target], columns[target]
        factor = np.maximum(DARKENING ** ((step + away[target]) / unit), DARKEST)
        colours[pixels] = colour[target] * factor[:, None]
        extended[pixels] = True


def _blur_inside(colours: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur that takes in pixels of ``mask`` only."""
    weight = mask.astype(np.float32)[..., None]
    total = cv2.GaussianBlur(colours * weight, (0, 0), sigma)
    return total / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)[..., None]
