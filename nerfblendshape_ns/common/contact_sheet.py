"""Putting images together on a sheet with captions."""

from __future__ import annotations

from typing import Sequence, Tuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 4
"""White pixels between two images."""
CAPTION, FONT = 20, 13
"""Height of a caption and of its letters in pixels."""
BLACK = (0, 0, 0)


def caption(text: str, width: int, colour: Tuple[int, int, int] = BLACK) -> np.ndarray:
    """A line of text on white, uint8 RGB ``[CAPTION, width, 3]``; what does not fit is cut off."""
    line = Image.new("RGB", (width, CAPTION), "white")
    ImageDraw.Draw(line).text((2, 2), text, fill=colour, font=ImageFont.load_default(size=FONT))
    return np.asarray(line)


def side_by_side(images: Sequence[np.ndarray], gap: int = GAP) -> np.ndarray:
    """Images of any heights in a row, uint8 RGB; white between them and below the lower ones."""
    height = max(len(image) for image in images)
    padded = [np.pad(i, ((0, height - len(i)), (0, gap), (0, 0)), constant_values=255) for i in images]
    row = np.concatenate(padded, axis=1)
    return row[:, : row.shape[1] - gap]
