"""All faces of single images, near and far.

The detector sees 128 pixels of what it is given, and misses faces lower than about an eighth of it. So it is given the
whole image, then overlapping squares of it, then smaller ones, and each face found is measured by its landmarks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, List, Tuple

import numpy as np

from nerfblendshape_ns.process_data.face.face_landmarker import (
    LEAST_PRESENCE,
    Box,
    FaceLandmarker,
    area,
    overlap,
    shared_area,
)

# Sides of the squares, as fractions of the image's shorter side.
SQUARES = (1.0, 0.5)
# Smaller squares than this, in pixels, show nothing that the detector could know.
LEAST_SIDE = 32
# Boxes that share more than this of their union are the same face.
SAME_FACE = 0.4
# A box of which more than this lies in a larger one is a part of that face: a mouth and a nose in a small square.
INSIDE = 0.6


class FaceFinder:
    """Finds the faces of an image.

    Args:
        model: ``face_landmarker.task``.
    """

    def __init__(self, model: Path) -> None:
        self._landmarker = FaceLandmarker(model)

    def __call__(self, image: np.ndarray) -> List[Box]:
        """Boxes of all faces in a uint8 RGB image, largest first."""
        height, width = image.shape[:2]
        boxes = self._boxes(image, 0, 0, max(height, width))
        for fraction in SQUARES:
            side = int(round(fraction * min(height, width)))
            if side < LEAST_SIDE:
                break
            for left, top in _squares(height, width, side):
                # What lies in the middle of a larger face is that face.
                if not any(_contains(box, left + side / 2, top + side / 2) for box in boxes):
                    boxes += self._boxes(image, left, top, side)
            boxes = distinct(boxes)
        return boxes

    def _boxes(self, image: np.ndarray, left: int, top: int, side: int) -> List[Box]:
        """Boxes of the faces that the detector sees in a square of the image."""
        boxes = []
        for region in self._landmarker.detect(image[top : top + side, left : left + side]):
            # Measured in the whole image, where the square does not cut the face.
            landmarks, presence = self._landmarker.measure(image, region.moved(left, top))
            if presence > LEAST_PRESENCE:
                boxes.append(bounding_box(landmarks))
        return boxes


def _squares(height: int, width: int, side: int) -> Iterator[Tuple[int, int]]:
    """Left and top of squares that cover an image and overlap by half or more."""
    tops, lefts = (
        np.linspace(0, length - side, 1 + int(np.ceil((length - side) / (side / 2)))).round().astype(int)
        for length in (height, width)
    )
    return ((int(left), int(top)) for top in tops for left in lefts)


def bounding_box(landmarks: np.ndarray) -> Box:
    """The extent of landmarks ``[points, 2 or 3]`` in pixels: of a face brow line to chin."""
    low, high = landmarks.min(0), landmarks.max(0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def distinct(boxes: List[Box]) -> List[Box]:
    """Boxes without repetitions and parts of the same face, largest first."""
    kept: List[Box] = []
    for box in sorted(boxes, key=area, reverse=True):
        if all(overlap(box, other) < SAME_FACE and shared_area(box, other) < INSIDE * area(box) for other in kept):
            kept.append(box)
    return kept


def _contains(box: Box, x: float, y: float) -> bool:
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]
