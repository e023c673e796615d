"""The face's landmarks and coefficients in every frame of a clip.

The Face Landmarker tracks causally and smooths with a one-euro filter, so its landmarks lag behind the image by up to a
frame. The clip is therefore run through it forwards and backwards, plain and mirrored, and the passes are averaged: the
lags cancel, and so does most of the left-right bias and of the noise.

A clip is tracked in stretches of :data:`STRETCH` frames, each tracker starting :data:`WARM_UP` frames outside, so that
memory does not grow with the passes and an interrupted run resumes at the stretch that it had reached: the result is
that of an uninterrupted run.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.coefficient_names.arkit import MEDIAPIPE_NAMES
from nerfblendshape_ns.coefficient_names.sides import side_pairs
from nerfblendshape_ns.common.arrays import load_arrays, save_arrays
from nerfblendshape_ns.common.parallel import ordered_map
from nerfblendshape_ns.process_data.face.canonical_face import NUM_LANDMARKS, mirror_permutation, read_canonical_face
from nerfblendshape_ns.process_data.face.face_finder import Box, bounding_box
from nerfblendshape_ns.process_data.face.face_landmarker import Detector, Face, FaceLandmarker

NUM_PASSES = 4
"""Detections per frame."""
# After 20 frames of warm-up landmarks differ from those of an unbroken run by 0.02 pixels rms, 0.2 at most (longhair).
STRETCH, WARM_UP = 400, 24
# Among several faces the subject is the one nearest to where it was in the last so many frames, or was seen at first;
# one farther away than this many face heights is somebody else.
MEMORY_FRAMES = 8
FARTHEST = 0.8


@dataclass
class FaceTrack:
    """What was seen of the face in every frame; rows of frames without a face are NaN."""

    landmarks: np.ndarray
    """float32 ``[frames, 478, 3]`` pixels of the image; z points away from the camera, in the units of x."""
    coefficients: np.ndarray
    """float32 ``[frames, 52]`` in 0..1."""

    @property
    def found(self) -> np.ndarray:
        """bool ``[frames]``: whether any pass saw a face."""
        return ~np.isnan(self.landmarks[:, 0, 0])


@dataclass
class Subject:
    """Whose face is tracked, and in which part of the images."""

    num_faces: int = 1
    """Faces that may be in the image."""
    boxes: Optional[np.ndarray] = None
    """float64 ``[frames, 4]``: where the subject's face is about, ``x0, y0, x1, y1`` pixels; needed with several."""
    view: Optional[Tuple[int, int, int, int]] = None
    """``(left, top, width, height)`` of the part of the images that the detector gets; None for all of it. The
    detector misses faces lower than an eighth of the image."""


def track_face(
    frames: Sequence[np.ndarray],
    fps: float,
    model: Path,
    progress: Callable[[int], None],
    subject: Subject,
    store: Path,
) -> FaceTrack:
    """Track one face through a clip and average the passes described at the top of this file.

    Args:
        frames: uint8 RGB images ``[h, w, 3]`` by index.
        fps: frames per second.
        model: the Face Landmarker.
        progress: called with a number of frames times :data:`NUM_PASSES`, as they are done; from several threads.
        subject: whose face, and where.
        store: a folder in which finished runs over stretches are kept; those found in it are not repeated.

    Returns:
        The track; frames without a face in any pass are NaN.
    """
    mirror = mirror_permutation(read_canonical_face(model))
    landmarks = np.empty((len(frames), NUM_LANDMARKS, 3), dtype=np.float32)
    coefficients = np.empty((len(frames), len(MEDIAPIPE_NAMES)), dtype=np.float32)

    def sweep(first: int, forward: bool) -> None:
        """One run through a stretch in one direction: the plain pass and the mirrored one."""
        last = min(first + STRETCH, len(frames))
        path = _sums_path(store, first, forward)
        if path.is_file():
            progress((last - first) * NUM_PASSES // 2)
            return
        before, after = max(0, first - WARM_UP), min(len(frames), last + WARM_UP)
        order = range(before, last) if forward else range(after - 1, first - 1, -1)
        sums = _Sums(first, last)
        plain, mirrored = (FaceLandmarker(model, video=True, num_faces=subject.num_faces) for _ in range(2))
        passes = _Follower(plain, subject), _Follower(mirrored, subject, mirror)
        for position, index in enumerate(order):
            frame = frames[index]
            for follower in passes:
                found = follower.find(frame, index, int(position * 1000 / fps))
                if found is not None:
                    sums.add(index, *found)
            if index in sums:
                progress(len(passes))
        sums.save(path)

    starts = range(0, len(frames), STRETCH)
    for _ in ordered_map(lambda which: sweep(*which), itertools.product(starts, (True, False))):
        pass
    for first in starts:
        last = min(first + STRETCH, len(frames))
        total = _Sums(first, last)
        for forward in (True, False):
            total.add_saved(_sums_path(store, first, forward))
        landmarks[first:last], coefficients[first:last] = total.means()
    return FaceTrack(landmarks, coefficients)


def _sums_path(store: Path, first: int, forward: bool) -> Path:
    return store / f"{first:06d}_{'forward' if forward else 'backward'}.npz"


class _Sums:
    """What some passes over the frames ``first`` to ``last`` (exclusive) have seen."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.count = np.zeros(last - first, dtype=np.int64)
        self.landmarks = np.zeros((last - first, NUM_LANDMARKS, 3))
        self.coefficients = np.zeros((last - first, len(MEDIAPIPE_NAMES)))

    def __contains__(self, index: int) -> bool:
        return self.first <= index < self.last

    def add(self, index: int, landmarks: np.ndarray, coefficients: np.ndarray) -> None:
        """Take one pass's detection in frame ``index``; those of the warm-up are ignored."""
        if index in self:
            self.count[index - self.first] += 1
            self.landmarks[index - self.first] += landmarks
            self.coefficients[index - self.first] += coefficients

    def save(self, path: Path) -> None:
        """Write everything to an ``.npz`` file."""
        save_arrays(path, count=self.count, landmarks=self.landmarks, coefficients=self.coefficients)

    def add_saved(self, path: Path) -> None:
        """Add what :meth:`save` wrote for the same stretch."""
        saved = load_arrays(path)
        self.count += saved["count"]
        self.landmarks += saved["landmarks"]
        self.coefficients += saved["coefficients"]

    def means(self) -> Tuple[np.ndarray, np.ndarray]:
        """Mean landmarks and coefficients over the passes, NaN where none saw a face."""
        count = np.where(self.count, self.count, np.nan)
        return self.landmarks / count[:, None, None], self.coefficients / count[:, None]


class _Follower:
    """Runs a detector on the subject's part of each frame, and follows the subject among the faces found.

    Args:
        detect: the detector.
        subject: whose face, and where.
        mirror: as of :func:`~.canonical_face.mirror_permutation`: the detector sees mirrored images, and what it finds
            is mirrored back; None for plain images.
    """

    def __init__(self, detect: Detector, subject: Subject, mirror: Optional[np.ndarray] = None) -> None:
        self.detect, self.subject, self.mirror = detect, subject, mirror
        self.seen: Optional[Tuple[int, Box]] = None

    def find(self, frame: np.ndarray, index: int, milliseconds: int) -> Optional[Face]:
        """The subject in frame ``index``, in the frame's own pixels."""
        left, top, width, height = self.subject.view or (0, 0, frame.shape[1], frame.shape[0])
        part = frame[top : top + height, left : left + width]
        found: List[Face] = []
        corner = np.array([left, top, 0], dtype=np.float32)
        # Not a mirrored view: OpenCV would copy that, which takes twice as long as all that it does with the image.
        for face in self.detect(part if self.mirror is None else cv2.flip(part, 1), milliseconds):
            if self.mirror is not None:
                face = mirrored_back(face, width, self.mirror)
            found.append(face._replace(landmarks=face.landmarks + corner))
        chosen = self._choose(found, index)
        if chosen is not None:
            self.seen = index, bounding_box(chosen.landmarks)
        return chosen

    def _choose(self, faces: List[Face], index: int) -> Optional[Face]:
        if self.subject.num_faces == 1 or self.subject.boxes is None:
            return faces[0] if faces else None
        target = np.asarray(self.subject.boxes[index])
        if self.seen is not None and abs(self.seen[0] - index) <= MEMORY_FRAMES:
            target = np.asarray(self.seen[1])
        best, nearest = None, FARTHEST * max(target[3] - target[1], 1.0)
        for face in faces:
            centre = (face.landmarks[:, :2].min(0) + face.landmarks[:, :2].max(0)) / 2
            distance = float(np.hypot(*(centre - (target[:2] + target[2:]) / 2)))
            if distance < nearest:
                best, nearest = face, distance
        return best


_OTHER_SIDE = side_pairs(MEDIAPIPE_NAMES, sideways=True)
MIRRORED_COEFFICIENTS = [_OTHER_SIDE.get(index, index) for index in range(len(MEDIAPIPE_NAMES))]
"""For each coefficient the index of its mirror image."""


def mirrored_back(face: Face, width: int, mirror: np.ndarray) -> Face:
    """A face that was seen in a mirrored image, as it is in the image.

    Args:
        face: in pixels of the mirrored image.
        width: of the image.
        mirror: as of :func:`~.canonical_face.mirror_permutation`.
    """
    landmarks = face.landmarks.copy()
    landmarks[:, 0] = width - landmarks[:, 0]
    return Face(landmarks[mirror], face.coefficients[MIRRORED_COEFFICIENTS])
