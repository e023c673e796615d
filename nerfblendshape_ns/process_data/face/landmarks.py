"""Facial landmarks and blendshape coefficients of single images or successive frames, by MediaPipe's Face Landmarker.

The coefficients are those of :data:`~nerfblendshape_ns.coefficient_names.arkit.MEDIAPIPE_NAMES`, in that order.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, Protocol, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.library_output import MEDIAPIPE_LINES, without_lines

INSTALL_HINT = (
    "MediaPipe, which finds the face, is not installed; run pip install 'nerfblendshape-ns[track]' "
    "in Python 3.10 or 3.11."
)

Detection = Tuple[np.ndarray, np.ndarray]
"""Landmarks ``[478, 3]`` in pixels (z away from the camera, in units of x), coefficients ``[52]`` in 0..1."""


class Detector(Protocol):
    """Finds faces in successive frames of a video."""

    def __call__(self, frame: np.ndarray, milliseconds: int) -> List[Detection]:
        """Detect in a uint8 RGB frame; empty where there is no face."""
        ...


def require_mediapipe() -> None:
    """Raise a UserError that says how to install MediaPipe where it is missing."""
    try:
        import mediapipe  # noqa: F401
    except ImportError as error:
        raise UserError(INSTALL_HINT) from error


@contextmanager
def open_landmarker(model: Path, single_images: bool = False, num_faces: int = 1) -> Iterator[Detector]:
    """The Face Landmarker as a detector.

    Args:
        model: a ``face_landmarker.task`` file.
        single_images: treat every frame alone instead of tracking from frame to frame.
        num_faces: how many faces are looked for at most.
    """
    require_mediapipe()
    import mediapipe
    from mediapipe.tasks.python import vision
    from mediapipe.tasks.python.core.base_options import BaseOptions

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_buffer=model.read_bytes()),
        running_mode=vision.RunningMode.IMAGE if single_images else vision.RunningMode.VIDEO,
        num_faces=num_faces,
        output_face_blendshapes=True,
    )
    with without_lines(MEDIAPIPE_LINES):
        landmarker = vision.FaceLandmarker.create_from_options(options)

    def detect(frame: np.ndarray, milliseconds: int) -> List[Detection]:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame))
        result = landmarker.detect(image) if single_images else landmarker.detect_for_video(image, milliseconds)
        return [
            (_pixels(points, frame.shape), np.array([category.score for category in scores], dtype=np.float32))
            for points, scores in zip(result.face_landmarks, result.face_blendshapes)
        ]

    with landmarker:
        yield detect


def _pixels(landmarks: Sequence, shape: Tuple[int, ...]) -> np.ndarray:
    height, width = shape[:2]
    points = np.array([(point.x, point.y, point.z) for point in landmarks], dtype=np.float32)
    return points * np.array([width, height, width], dtype=np.float32)
