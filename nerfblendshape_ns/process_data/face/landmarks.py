"""Facial landmarks and blendshape coefficients of single pictures or successive frames, with MediaPipe."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, Optional, Protocol, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.library_output import MEDIAPIPE_LINES, without_lines

INSTALL_HINT = (
    "MediaPipe, which finds the face, is not installed; run pip install 'nerfblendshape-ns[track]' "
    "in Python 3.10 or 3.11."
)

Detection = Tuple[np.ndarray, Optional[np.ndarray]]
"""Landmarks ``[478, 3]`` in pixels (z away from the camera, in units of x), coefficients ``[52]`` or None."""


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
def open_landmarker(
    model: Path, single_images: bool = False, num_faces: int = 1
) -> Iterator[Tuple[Detector, List[str]]]:
    """The Face Landmarker of ``model`` as a detector, and a list that holds the coefficient names once a face was seen.

    Args:
        model: a ``face_landmarker.task`` file.
        single_images: treat every frame alone instead of tracking from frame to frame.
        num_faces: how many faces are looked for at most.
    """
    require_mediapipe()
    import mediapipe
    from mediapipe.tasks.python import vision
    from mediapipe.tasks.python.core.base_options import BaseOptions

    mode = vision.RunningMode.IMAGE if single_images else vision.RunningMode.VIDEO
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_buffer=model.read_bytes()),
        running_mode=mode,
        num_faces=num_faces,
        output_face_blendshapes=True,
    )
    names: List[str] = []
    with without_lines(MEDIAPIPE_LINES):
        landmarker = vision.FaceLandmarker.create_from_options(options)

    def detect(frame: np.ndarray, milliseconds: int) -> List[Detection]:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame))
        result = landmarker.detect(image) if single_images else landmarker.detect_for_video(image, milliseconds)
        if result.face_blendshapes and not names:
            names.extend(category.category_name for category in result.face_blendshapes[0])
        return [
            (_pixels(points, frame.shape), np.array([category.score for category in scores], dtype=np.float32))
            for points, scores in zip(result.face_landmarks, result.face_blendshapes)
        ]

    with landmarker:
        yield detect, names


@contextmanager
def open_face_mesh(single_images: bool = False, num_faces: int = 1) -> Iterator[Tuple[Detector, List[str]]]:
    """The FaceMesh bundled with MediaPipe as a detector: landmarks only, for use without a model file."""
    require_mediapipe()
    from mediapipe.python.solutions import face_mesh

    with without_lines(MEDIAPIPE_LINES):
        mesh = face_mesh.FaceMesh(static_image_mode=single_images, max_num_faces=num_faces, refine_landmarks=True)

    def detect(frame: np.ndarray, milliseconds: int) -> List[Detection]:
        found = mesh.process(np.ascontiguousarray(frame)).multi_face_landmarks  # type: ignore[attr-defined]
        return [(_pixels(face.landmark, frame.shape), None) for face in found or []]

    with mesh:
        yield detect, []


@contextmanager
def open_detector(
    model: Optional[Path], single_images: bool = False, num_faces: int = 1
) -> Iterator[Tuple[Detector, List[str]]]:
    """:func:`open_landmarker` with a model, :func:`open_face_mesh` without."""
    if model is not None:
        with open_landmarker(model, single_images, num_faces) as opened:
            yield opened
    else:
        with open_face_mesh(single_images, num_faces) as opened:
            yield opened


def _pixels(landmarks: Sequence, shape: Tuple[int, ...]) -> np.ndarray:
    height, width = shape[:2]
    points = np.array([(point.x, point.y, point.z) for point in landmarks], dtype=np.float32)
    return points * np.array([width, height, width], dtype=np.float32)
