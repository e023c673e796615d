"""All faces of single images, near and far: MediaPipe's full-range detector finds them, the landmarks measure them.

The detector inside the Face Landmarker sees 128 pixels of the whole image and misses faces lower than about an eighth
of its longer side; the full-range one, in every MediaPipe wheel, finds them down to about a twentieth. Its boxes are
coarse, so each is cut out and measured by the landmarks.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Tuple

import numpy as np

from nerfblendshape_ns.common.library_output import MEDIAPIPE_LINES, without_lines
from nerfblendshape_ns.process_data.face.landmarks import open_landmarker, require_mediapipe

Box = Tuple[float, float, float, float]
"""``(x0, y0, x1, y1)`` in pixels: the extent of the 468 landmarks, brow line to chin."""

LEAST_SCORE = 0.5
# Side of the square cut out around a detection, in detection heights.
CUT_SIDE = 2.2
# Boxes that share more than this of their union are the same face.
SAME_FACE = 0.4


@contextmanager
def open_face_finder(model: Path) -> Iterator[Callable[[np.ndarray], List[Box]]]:
    """A function that gives the boxes of all faces in a uint8 RGB image, largest first.

    Args:
        model: the Face Landmarker.
    """
    require_mediapipe()
    from mediapipe.python.solutions import face_detection

    with without_lines(MEDIAPIPE_LINES):
        detector = face_detection.FaceDetection(model_selection=1, min_detection_confidence=LEAST_SCORE)

    with detector, open_landmarker(model, single_images=True) as detect:

        def measure(frame: np.ndarray, left: int, top: int) -> Optional[Box]:
            found = detect(frame, 0)
            if not found:
                return None
            x0, y0, x1, y1 = bounding_box(found[0][0])
            return x0 + left, y0 + top, x1 + left, y1 + top

        def find(frame: np.ndarray) -> List[Box]:
            height, width = frame.shape[:2]
            detections = detector.process(np.ascontiguousarray(frame)).detections or []  # type: ignore[attr-defined]
            measured = []
            for detection in detections:
                rough = detection.location_data.relative_bounding_box
                side = CUT_SIDE * max(rough.width * width, rough.height * height)
                centre_x = (rough.xmin + rough.width / 2) * width
                centre_y = (rough.ymin + rough.height / 2) * height
                left, top = max(0, int(centre_x - side / 2)), max(0, int(centre_y - side / 2))
                right, bottom = min(width, int(centre_x + side / 2)), min(height, int(centre_y + side / 2))
                if right - left > 8 and bottom - top > 8:
                    measured.append(measure(frame[top:bottom, left:right], left, top))
            if not any(measured):
                # A face that more than fills the image is in the landmark detector's own range.
                measured.append(measure(frame, 0, 0))
            return distinct([box for box in measured if box is not None])

        yield find


def bounding_box(landmarks: np.ndarray) -> Box:
    """The box of landmarks ``[points, 2 or 3]`` in pixels."""
    low, high = landmarks.min(0), landmarks.max(0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def distinct(boxes: List[Box]) -> List[Box]:
    """Boxes without repetitions of the same face, largest first."""
    kept: List[Box] = []
    for box in sorted(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]), reverse=True):
        if all(overlap(box, other) < SAME_FACE for other in kept):
            kept.append(box)
    return kept


def overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)
