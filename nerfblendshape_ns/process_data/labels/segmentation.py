"""Head, neck, torso and background of every frame of a clip, steady in time.

Label probabilities of single frames come from a :class:`~.label_evidence.LabelEvidence`. Those of neighbouring frames
are averaged along the optical flow (:mod:`.temporal_consensus`) and upsampled along the image's edges
(:mod:`.guided_filter`). Frames are streamed: memory does not grow with the clip.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Iterator, List, Sequence, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.common.frame_numbers import spread
from nerfblendshape_ns.common.parallel import PerThread, ordered_map
from nerfblendshape_ns.process_data.face.canonical_face import NOSE_TIP
from nerfblendshape_ns.process_data.labels.face_layout import FaceGeometry, HeadFrame, face_geometry
from nerfblendshape_ns.process_data.labels.guided_filter import ColourGuide
from nerfblendshape_ns.process_data.labels.label_cleanup import tidy_labels
from nerfblendshape_ns.process_data.labels.label_evidence import LabelEvidence
from nerfblendshape_ns.process_data.labels.temporal_consensus import RADIUS, OpticalFlow, temporal_consensus

WORKING_PIXELS = 256 * 256
"""Pixels of the downscaled frame on which labels are decided, before the edges are followed at full size."""
MODEL_FRAMES = 40
"""Frames, spread over the clip, to which the clip's colours and positions are fitted."""
EDGE_RADIUS = 4
"""Radius of the edge-following filter, in pixels of the downscaled frame."""
EDGE_EPSILON = 1e-4
"""Colour variance (0..1 scale) under which a window counts as flat."""


def iterate_labels(
    frames: Sequence[np.ndarray],
    landmarks: np.ndarray,
    evidence: LabelEvidence,
    start: int = 0,
) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """Yield one frame after the other with its labels, in order, holding only a window of the clip in memory.

    Args:
        frames: uint8 RGB ``[height, width, 3]`` images of one size; anything with a length that can be indexed.
        landmarks: float ``[num_frames, 478, 2]`` pixels, Face Landmarker order, no NaN.
        evidence: where label probabilities come from; used by several threads.
        start: the first frame wanted; its labels are the same as if all before it had been asked for.

    Yields:
        The frame, and uint8 ``[height, width]``, values of :class:`~nerfblendshape_ns.data.contract.Label`.
    """
    reader = _FrameReader(frames, landmarks)
    samples = ordered_map(reader.read, spread(len(frames), MODEL_FRAMES))
    evidence.fit((sample.small, sample.geometry) for sample in samples)
    flow = PerThread(OpticalFlow)

    def evaluated(index: int) -> _WindowFrame:
        entry = reader.read(index)
        entry.probabilities = evidence.probabilities(entry.small, entry.geometry)
        return entry

    def windows() -> Iterator[Tuple[List[_WindowFrame], int]]:
        begin = end = max(0, start - RADIUS)
        entries = ordered_map(evaluated, range(begin, len(frames)))
        window: List[_WindowFrame] = []
        for index in range(start, len(frames)):
            dropped = max(0, index - RADIUS) - begin
            added = min(len(frames), index + RADIUS + 1) - end
            # Another list each time: earlier ones are still in use.
            window = [*window[dropped:], *itertools.islice(entries, added)]
            begin, end = begin + dropped, end + added
            yield window, index - begin

    def labelled(item: Tuple[List[_WindowFrame], int]) -> Tuple[np.ndarray, np.ndarray]:
        window, centre = item
        frame = window[centre]
        greys, probabilities = [one.grey for one in window], [one.probabilities for one in window]
        smooth = temporal_consensus(flow(), greys, probabilities, centre)
        nose, height = landmarks[frame.index, NOSE_TIP], reader.face_height(frame.index)
        return frame.image, _full_size_labels(frame, smooth, nose, height)

    return ordered_map(labelled, windows())


@dataclass
class _WindowFrame:
    """A frame while it is inside the temporal window."""

    index: int
    image: np.ndarray
    small: np.ndarray
    grey: np.ndarray
    geometry: FaceGeometry
    probabilities: Any = None


class _FrameReader:
    """Reads frames, scales them to working size and computes the face's geometry on them."""

    def __init__(self, frames: Sequence[np.ndarray], landmarks: np.ndarray) -> None:
        self._frames = frames
        self._landmarks = landmarks
        self._head_frame = HeadFrame(landmarks)
        height, width = np.asarray(frames[0]).shape[:2]
        self._pixel_size = max(1.0, float(np.sqrt(height * width / WORKING_PIXELS)))
        self._size: Tuple[int, int] = (round(width / self._pixel_size), round(height / self._pixel_size))

    def face_height(self, index: int) -> float:
        """Height of the face in full-size pixels."""
        return self._head_frame.face_height(index)

    def read(self, index: int) -> _WindowFrame:
        """Frame ``index`` with everything but its label probabilities."""
        image = np.asarray(self._frames[index])
        small = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        width, height = self._size
        geometry = face_geometry(self._head_frame, index, self._landmarks[index], height, width, image.shape[1] / width)
        return _WindowFrame(index, image, small, cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), geometry)


def _full_size_labels(
    frame: _WindowFrame, probabilities: np.ndarray, nose: np.ndarray, face_height: float
) -> np.ndarray:
    guide = ColourGuide(frame.small.astype(np.float32) / 255, EDGE_RADIUS, EDGE_EPSILON)
    large = cv2.split(frame.image.astype(np.float32) / 255)
    # The filter follows single hairs; a little smoothing leaves an outline that can be the same in the next frame.
    blur = 0.006 * face_height
    scores = [cv2.GaussianBlur(guide.upsample(layer, large), (0, 0), blur) for layer in probabilities[:-1]]
    # The filter is linear and keeps constants: the last label's score is what is left.
    scores.append(1 - sum(scores[1:], scores[0]))
    labels, best = np.zeros(scores[0].shape, np.uint8), scores[0]
    for label, score in enumerate(scores[1:], 1):
        labels = np.where(score > best, np.uint8(label), labels)
        best = np.maximum(best, score)
    return tidy_labels(labels, (float(nose[0]), float(nose[1])), face_height)
