"""The face's landmarks and coefficients in every frame of a clip.

MediaPipe tracks causally and smooths with a one-euro filter, so its landmarks lag behind the picture by up to a frame.
The clip is therefore run through it forwards and backwards, plain and mirrored, and the passes are averaged: the lags
cancel, and so does most of the left-right bias and of the noise.

A clip is worked through in stretches of :data:`STRETCH` frames, each tracker starting :data:`WARM_UP` frames outside,
so that memory does not grow with the passes and a broken run goes on with the run over a stretch that it had reached:
what comes out is the same as without the break.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.common.arrays import load_arrays, save_arrays
from nerfblendshape_ns.process_data.face.canonical_face import NUM_LANDMARKS, mirror_permutation
from nerfblendshape_ns.process_data.face.face_finder import Box
from nerfblendshape_ns.process_data.face.landmarks import Detection, Detector, open_detector

NUM_COEFFICIENTS = 52
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
    coefficients: Optional[np.ndarray]
    """float32 ``[frames, 52]`` in 0..1, or None where the detector gives none."""
    names: List[str]
    """The coefficients' names; empty where there are none."""

    @property
    def found(self) -> np.ndarray:
        """bool ``[frames]``: whether any pass saw a face."""
        return ~np.isnan(self.landmarks[:, 0, 0])


@dataclass
class Subject:
    """Where to look, and for whom."""

    num_faces: int = 1
    """Faces that may be in the picture."""
    boxes: Optional[np.ndarray] = None
    """float64 ``[frames, 4]``: where the subject's face is about, ``x0, y0, x1, y1`` pixels; needed with several."""
    view: Optional[Tuple[int, int, int, int]] = None
    """``(left, top, width, height)`` of the part of the images that is looked at; None for all of it. MediaPipe's
    detector misses faces lower than an eighth of the picture."""


def num_passes(mesh: Optional[np.ndarray]) -> int:
    """Detections a frame that :func:`track_face` makes."""
    return 2 if mesh is None else 4


def track_face(
    frames: Sequence[np.ndarray],
    fps: float,
    model: Optional[Path],
    mesh: Optional[np.ndarray] = None,
    progress: Optional[Callable[[int], None]] = None,
    subject: Optional[Subject] = None,
    store: Optional[Path] = None,
) -> FaceTrack:
    """Track one face through a clip and average the passes described at the top of this file.

    Args:
        frames: uint8 RGB images ``[h, w, 3]`` by index.
        fps: frames a second.
        model: the Face Landmarker, or None for the bundled FaceMesh.
        mesh: canonical vertices ``[468, 3]``, which tell mirrored landmarks apart; None leaves the mirrored passes out.
        progress: called with a number of frames times :func:`num_passes`, as they are done.
        subject: which face, and where; None takes whichever is found.
        store: a folder in which finished runs over stretches are kept, and looked for.

    Returns:
        The track; frames without a face in any pass are NaN.
    """
    mirror = None if mesh is None else mirror_permutation(mesh)
    subject = subject or Subject()
    landmarks = np.full((len(frames), NUM_LANDMARKS, 3), np.nan, dtype=np.float32)
    coefficients = np.full((len(frames), NUM_COEFFICIENTS), np.nan, dtype=np.float32)
    names: List[str] = []
    for first in range(0, len(frames), STRETCH):
        last = min(first + STRETCH, len(frames))
        piece = _track_stretch(frames, first, last, fps, model, mirror, subject, progress, store)
        landmarks[first:last], coefficients[first:last] = piece.landmarks, np.asarray(piece.coefficients)
        names = names or piece.names
    return FaceTrack(landmarks, coefficients if names else None, names)


def _track_stretch(
    frames: Sequence[np.ndarray],
    first: int,
    last: int,
    fps: float,
    model: Optional[Path],
    mirror: Optional[np.ndarray],
    subject: Subject,
    progress: Optional[Callable[[int], None]],
    store: Optional[Path],
) -> FaceTrack:
    """The averaged passes over frames ``first`` to ``last``; coefficients are NaN where the detector gives none."""
    before, after = max(0, first - WARM_UP), min(len(frames), last + WARM_UP)
    total = _Sums(first, last)
    for name, order in (("forward", range(before, last)), ("backward", range(after - 1, first - 1, -1))):
        sums = _Sums(first, last)
        path = None if store is None else store / f"{first:06d}_{name}.npz"
        if path is not None and path.is_file():
            sums.load(path)
            if progress is not None:
                progress((last - first) * (1 if mirror is None else 2))
        else:
            _sweep(frames, order, fps, model, mirror, subject, sums, progress)
            if path is not None:
                sums.save(path)
        total.merge(sums)
    return total.mean()


class _Sums:
    """What some passes over one stretch have seen."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.count = np.zeros(last - first, dtype=np.int64)
        self.landmarks = np.zeros((last - first, NUM_LANDMARKS, 3))
        self.coefficients = np.zeros((last - first, NUM_COEFFICIENTS))
        self.names: List[str] = []

    def __contains__(self, index: int) -> bool:
        return self.first <= index < self.last

    def add(self, index: int, landmarks: np.ndarray, coefficients: Optional[np.ndarray]) -> None:
        """Take one pass's detection in frame ``index``; those of the warm-up are ignored."""
        if index in self:
            self.count[index - self.first] += 1
            self.landmarks[index - self.first] += landmarks
            if coefficients is not None:
                self.coefficients[index - self.first] += coefficients

    def merge(self, other: _Sums) -> None:
        """Add what other passes over the same stretch have seen."""
        self.count += other.count
        self.landmarks += other.landmarks
        self.coefficients += other.coefficients
        self.names = self.names or other.names

    def save(self, path: Path) -> None:
        """Write everything to an ``.npz`` file."""
        names = np.array(self.names, dtype=np.str_)
        save_arrays(path, count=self.count, landmarks=self.landmarks, coefficients=self.coefficients, names=names)

    def load(self, path: Path) -> None:
        """Read what :meth:`save` wrote for the same stretch."""
        kept = load_arrays(path)
        self.count, self.landmarks, self.coefficients = kept["count"], kept["landmarks"], kept["coefficients"]
        self.names = [str(name) for name in kept["names"]]

    def mean(self) -> FaceTrack:
        """Means over the passes, NaN where none saw a face."""
        count = np.where(self.count, self.count, np.nan)
        landmarks = (self.landmarks / count[:, None, None]).astype(np.float32)
        return FaceTrack(landmarks, (self.coefficients / count[:, None]).astype(np.float32), self.names)


def _sweep(
    frames: Sequence[np.ndarray],
    order: Sequence[int],
    fps: float,
    model: Optional[Path],
    mirror: Optional[np.ndarray],
    subject: Subject,
    sums: _Sums,
    progress: Optional[Callable[[int], None]],
) -> None:
    """One run through frames in ``order``: the plain pass and, with ``mirror``, the mirrored one."""
    with ExitStack() as stack:
        detect, names = stack.enter_context(open_detector(model, num_faces=subject.num_faces))
        plain = _Follower(detect, subject)
        mirrored = None
        if mirror is not None:
            other, _ = stack.enter_context(open_detector(model, num_faces=subject.num_faces))
            mirrored = _Follower(other, subject)
        for position, index in enumerate(order):
            frame = frames[index]
            milliseconds = int(position * 1000 / fps)
            found = plain.find(frame, index, milliseconds)
            if found is not None:
                sums.add(index, *found)
            if mirrored is not None and mirror is not None:
                turned = mirrored.find(frame, index, milliseconds, mirror=mirror)
                if turned is not None:
                    scores = None if turned[1] is None else turned[1][mirrored_names(names)]
                    sums.add(index, turned[0], scores)
            if progress is not None and index in sums:
                progress(1 if mirrored is None else 2)
        sums.names = sums.names or list(names)


class _Follower:
    """Runs a detector on the part of each frame that is looked at, and follows the subject among the faces found."""

    def __init__(self, detect: Detector, subject: Subject) -> None:
        self.detect, self.subject = detect, subject
        self.seen: Optional[Tuple[int, Box]] = None

    def find(
        self, frame: np.ndarray, index: int, milliseconds: int, mirror: Optional[np.ndarray] = None
    ) -> Optional[Detection]:
        """The subject in frame ``index``, in the frame's own pixels; with ``mirror`` found in the mirrored picture."""
        left, top, width, height = self.subject.view or (0, 0, frame.shape[1], frame.shape[0])
        part = frame[top : top + height, left : left + width]
        faces = self.detect(part if mirror is None else part[:, ::-1], milliseconds)
        placed: List[Detection] = []
        for landmarks, scores in faces:
            if mirror is not None:
                landmarks = landmarks.copy()
                landmarks[:, 0] = width - landmarks[:, 0]
                landmarks = landmarks[mirror]
            placed.append((landmarks + np.array([left, top, 0], dtype=np.float32), scores))
        chosen = self._choose(placed, index)
        if chosen is not None:
            low, high = chosen[0][:, :2].min(0), chosen[0][:, :2].max(0)
            self.seen = index, (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
        return chosen

    def _choose(self, faces: List[Detection], index: int) -> Optional[Detection]:
        if self.subject.num_faces == 1 or self.subject.boxes is None:
            return faces[0] if faces else None
        target = np.asarray(self.subject.boxes[index])
        if self.seen is not None and abs(self.seen[0] - index) <= MEMORY_FRAMES:
            target = np.asarray(self.seen[1])
        best, nearest = None, FARTHEST * max(target[3] - target[1], 1.0)
        for face in faces:
            centre = (face[0][:, :2].min(0) + face[0][:, :2].max(0)) / 2
            distance = float(np.hypot(*(centre - (target[:2] + target[2:]) / 2)))
            if distance < nearest:
                best, nearest = face, distance
        return best


def mirrored_names(names: Sequence[str]) -> List[int]:
    """For each coefficient the index of its mirror image: ``Left`` and ``Right`` change places."""
    index = {name: position for position, name in enumerate(names)}
    swapped = []
    for name in names:
        other = name.replace("Left", "\0").replace("Right", "Left").replace("\0", "Right")
        swapped.append(index.get(other, index[name]))
    return swapped
