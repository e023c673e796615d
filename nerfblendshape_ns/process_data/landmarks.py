"""Facial landmarks and blendshape coefficients for every frame, with MediaPipe.

MediaPipe tracks causally and smooths with a one-euro filter, so its landmarks lag behind the picture by up to a frame.
The clip is therefore run through it forwards and backwards, plain and mirrored, and the passes are averaged: the lags
cancel, and so does most of the left-right bias and of the noise.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Protocol, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.process_data.canonical_face import NUM_LANDMARKS, mirror_permutation

INSTALL_HINT = (
    "MediaPipe, which finds the face, is not installed; run pip install 'nerfblendshape-ns[track]' "
    "in Python 3.10 or 3.11."
)

Detection = Tuple[np.ndarray, Optional[np.ndarray]]
"""Landmarks ``[478, 3]`` in pixels (z away from the camera, in units of x), coefficients ``[52]`` or None."""


@dataclass
class FaceTrack:
    """What was seen of the face in every frame; rows of frames without a face are NaN."""

    landmarks: np.ndarray
    """float32 ``[frames, 478, 3]`` pixels of the image; z points away from the camera, in the units of x."""
    coefficients: Optional[np.ndarray]
    """float32 ``[frames, 52]`` in 0..1, or None where the detector gives none."""
    names: List[str]
    """The coefficients' names; empty where there are none."""

    @property
    def found(self) -> np.ndarray:
        """bool ``[frames]``: whether any pass saw a face."""
        return ~np.isnan(self.landmarks[:, 0, 0])


class Detector(Protocol):
    """Finds one face in successive frames of a video."""

    def __call__(self, frame: np.ndarray, milliseconds: int) -> Optional[Detection]:
        """Detect in a uint8 RGB frame; None where there is no face."""
        ...


def require_mediapipe() -> None:
    """Raise a UserError that says how to install MediaPipe where it is missing."""
    try:
        import mediapipe  # noqa: F401
    except ImportError as error:
        raise UserError(INSTALL_HINT) from error


@contextmanager
def quiet_native_logs() -> Iterator[None]:
    """Send what native code writes to stderr to nowhere: MediaPipe's start-up messages tear the progress bars."""
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


@contextmanager
def open_landmarker(model: Path, single_images: bool = False) -> Iterator[Tuple[Detector, List[str]]]:
    """The Face Landmarker of ``model`` as a detector, and a list that holds the coefficient names once a face was seen.

    Args:
        model: a ``face_landmarker.task`` file.
        single_images: treat every frame alone instead of tracking from frame to frame.
    """
    require_mediapipe()
    import mediapipe
    from mediapipe.tasks.python import vision
    from mediapipe.tasks.python.core.base_options import BaseOptions

    mode = vision.RunningMode.IMAGE if single_images else vision.RunningMode.VIDEO
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_buffer=model.read_bytes()),
        running_mode=mode,
        num_faces=1,
        output_face_blendshapes=True,
    )
    names: List[str] = []
    with quiet_native_logs():
        landmarker = vision.FaceLandmarker.create_from_options(options)

    def detect(frame: np.ndarray, milliseconds: int) -> Optional[Detection]:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame))
        result = landmarker.detect(image) if single_images else landmarker.detect_for_video(image, milliseconds)
        if not result.face_landmarks:
            return None
        scores = result.face_blendshapes[0]
        if not names:
            names.extend(category.category_name for category in scores)
        coefficients = np.array([category.score for category in scores], dtype=np.float32)
        return _pixels(result.face_landmarks[0], frame.shape), coefficients

    with landmarker:
        yield detect, names


@contextmanager
def open_face_mesh(single_images: bool = False) -> Iterator[Tuple[Detector, List[str]]]:
    """The FaceMesh bundled with MediaPipe as a detector: landmarks only, for use without a model file."""
    require_mediapipe()
    from mediapipe.python.solutions import face_mesh

    with quiet_native_logs():
        mesh = face_mesh.FaceMesh(static_image_mode=single_images, max_num_faces=1, refine_landmarks=True)

    def detect(frame: np.ndarray, milliseconds: int) -> Optional[Detection]:
        found = mesh.process(np.ascontiguousarray(frame)).multi_face_landmarks  # type: ignore[attr-defined]
        return (_pixels(found[0].landmark, frame.shape), None) if found else None

    with mesh:
        yield detect, []


@contextmanager
def open_detector(model: Optional[Path], single_images: bool = False) -> Iterator[Tuple[Detector, List[str]]]:
    """:func:`open_landmarker` with a model, :func:`open_face_mesh` without."""
    with open_landmarker(model, single_images) if model is not None else open_face_mesh(single_images) as opened:
        yield opened


def track_face(
    frames: Sequence[np.ndarray],
    fps: float,
    model: Optional[Path],
    mesh: Optional[np.ndarray] = None,
    progress: Optional[Callable[[int], None]] = None,
) -> FaceTrack:
    """Track one face through a clip and average the passes described at the top of this file.

    Args:
        frames: uint8 RGB images ``[h, w, 3]`` by index.
        fps: frames a second.
        model: the Face Landmarker, or None for the bundled FaceMesh.
        mesh: canonical vertices ``[468, 3]``, which tell mirrored landmarks apart; None leaves the mirrored passes out.
        progress: called with 1 after each detection; there are :func:`num_passes` a frame.

    Returns:
        The track; frames without a face in any pass are NaN.
    """
    mirror = None if mesh is None else mirror_permutation(mesh)
    passes: List[FaceTrack] = []
    for order in (range(len(frames)), range(len(frames) - 1, -1, -1)):
        passes += _sweep(frames, order, fps, model, mirror, progress)
    with np.errstate(invalid="ignore"):
        landmarks = _mean_ignoring_nan(np.stack([track.landmarks for track in passes]))
    coefficients = None
    if model is not None and passes[0].coefficients is not None:
        coefficients = _mean_ignoring_nan(np.stack([np.asarray(track.coefficients) for track in passes]))
    names = next((track.names for track in passes if track.names), [])
    return FaceTrack(landmarks, coefficients, names)


def num_passes(mesh: Optional[np.ndarray]) -> int:
    """Detections a frame that :func:`track_face` makes."""
    return 2 if mesh is None else 4


def _sweep(
    frames: Sequence[np.ndarray],
    order: Sequence[int],
    fps: float,
    model: Optional[Path],
    mirror: Optional[np.ndarray],
    progress: Optional[Callable[[int], None]],
) -> List[FaceTrack]:
    """One run through the clip in ``order``: the plain pass and, with ``mirror``, the mirrored one."""
    num_frames = len(frames)
    plain = np.full((num_frames, NUM_LANDMARKS, 3), np.nan, dtype=np.float32)
    scores = np.full((num_frames, 52), np.nan, dtype=np.float32)
    mirrored, mirrored_scores = plain.copy(), scores.copy()
    with open_detector(model) as (detect, names), open_detector(model) as (detect_mirrored, _):
        for position, index in enumerate(order):
            frame = frames[index]
            milliseconds = int(position * 1000 / fps)
            found = detect(frame, milliseconds)
            _store(found, index, plain, scores)
            if progress is not None:
                progress(1)
            if mirror is None:
                continue
            found = detect_mirrored(frame[:, ::-1], milliseconds)
            _store(found, index, mirrored, mirrored_scores)
            if progress is not None:
                progress(1)
    tracks = [FaceTrack(plain, scores if names else None, list(names))]
    if mirror is not None:
        width = frames[0].shape[1]
        mirrored[..., 0] = width - mirrored[..., 0]
        swap = mirrored_names(names)
        tracks.append(FaceTrack(mirrored[:, mirror], mirrored_scores[:, swap] if names else None, list(names)))
    return tracks


def mirrored_names(names: Sequence[str]) -> List[int]:
    """For each coefficient the index of its mirror image: ``Left`` and ``Right`` change places."""
    index = {name: position for position, name in enumerate(names)}
    swapped = []
    for name in names:
        other = name.replace("Left", "\0").replace("Right", "Left").replace("\0", "Right")
        swapped.append(index.get(other, index[name]))
    return swapped


def _store(found: Optional[Detection], index: int, landmarks: np.ndarray, scores: np.ndarray) -> None:
    if found is None:
        return
    landmarks[index] = found[0]
    if found[1] is not None:
        scores[index] = found[1]


def _mean_ignoring_nan(stacked: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is not NaN; NaN where nothing is."""
    valid = ~np.isnan(stacked)
    count = valid.sum(0)
    total = np.where(valid, stacked, 0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _pixels(landmarks: Sequence, shape: Tuple[int, ...]) -> np.ndarray:
    height, width = shape[:2]
    points = np.array([(point.x, point.y, point.z) for point in landmarks], dtype=np.float32)
    return points * np.array([width, height, width], dtype=np.float32)
