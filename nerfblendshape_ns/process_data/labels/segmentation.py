"""Head, neck, torso and background of every frame of a clip, steady in time.

Where labels come from is a :class:`~.label_evidence.LabelEvidence`; whatever it is, the label probabilities of
neighbouring frames are averaged along the optical flow (:mod:`.temporal_consensus`) and brought to full size along the
image's edges (:mod:`.guided_filter`). Frames are streamed: memory does not grow with the clip, but for the labels
themselves, and those are optional.
"""

from __future__ import annotations

import tempfile
from collections import deque
from dataclasses import dataclass
from typing import Any, Callable, Deque, Iterator, Optional, Sequence, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.process_data.labels.face_layout import (
    FaceGeometry,
    HeadFrame,
    face_geometry,
    fill_lost_landmarks,
)
from nerfblendshape_ns.process_data.labels.guided_filter import ColourGuide
from nerfblendshape_ns.process_data.labels.label_cleanup import tidy_labels
from nerfblendshape_ns.process_data.labels.label_evidence import ClipEvidence, LabelEvidence
from nerfblendshape_ns.process_data.labels.label_statistics import LabelStatistics
from nerfblendshape_ns.process_data.labels.temporal_consensus import TemporalConsensus

NOSE_TIP = 1
LABELS_IN_MEMORY = 2**30
"""Labels of a clip larger than this many bytes are kept in a temporary file."""


@dataclass
class SegmentationOptions:
    """How a clip is segmented; the defaults suit talking heads of any size."""

    working_pixels: int = 256 * 256
    """Pixels of the downscaled frame on which labels are decided, before the edges are followed at full size."""
    num_model_frames: int = 40
    """Frames, spread over the clip, to which the clip's colours and places are fitted."""
    temporal_radius: int = 3
    """Neighbouring frames on either side that have a say in a frame's labels; 0 labels every frame on its own."""
    edge_radius: int = 4
    """Reach of the edge-following filter, in pixels of the downscaled frame."""
    edge_epsilon: float = 1e-4
    """Colour variance (0..1 scale) under which a window counts as flat."""


@dataclass
class SegmentationResult:
    """Labels of a clip."""

    labels: np.ndarray
    """uint8 ``[num_frames, height, width]``, values of :class:`~nerfblendshape_ns.data.contract.Label`; a memory map
    of a temporary file when the clip is large."""
    statistics: LabelStatistics
    """Areas and steadiness."""


def segment_clip(
    frames: Sequence[np.ndarray],
    landmarks: np.ndarray,
    progress: Optional[Callable[[int], None]] = None,
    options: Optional[SegmentationOptions] = None,
    evidence: Optional[LabelEvidence] = None,
) -> SegmentationResult:
    """Label every pixel of every frame of a clip.

    Args:
        frames: uint8 RGB ``[height, width, 3]`` images of one size; anything with a length that can be indexed.
        landmarks: float ``[num_frames, 478, 2]`` pixels, Face Landmarker order; NaN rows for frames without a face.
        progress: called with the number of frames done.
        options: None takes the defaults.
        evidence: as for :func:`iterate_labels`.

    Returns:
        Labels and statistics.

    Raises:
        UserError: no frame has a face, or the numbers of frames and landmarks differ.
    """
    first = np.asarray(frames[0])
    shape = (len(frames), *first.shape[:2])
    if int(np.prod(shape, dtype=np.int64)) > LABELS_IN_MEMORY:
        with tempfile.TemporaryFile() as file:
            labels: np.ndarray = np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)
    else:
        labels = np.empty(shape, dtype=np.uint8)
    statistics = LabelStatistics()
    for index, frame_labels in enumerate(iterate_labels(frames, landmarks, options, evidence)):
        labels[index] = frame_labels
        statistics.add(frame_labels, np.asarray(frames[index]))
        if progress is not None:
            progress(index + 1)
    return SegmentationResult(labels, statistics)


def iterate_labels(
    frames: Sequence[np.ndarray],
    landmarks: np.ndarray,
    options: Optional[SegmentationOptions] = None,
    evidence: Optional[LabelEvidence] = None,
    start: int = 0,
) -> Iterator[np.ndarray]:
    """Yield the labels of one frame after the other, in order, holding only a window of the clip in memory.

    Args:
        frames: as for :func:`segment_clip`.
        landmarks: as for :func:`segment_clip`.
        options: None takes the defaults.
        evidence: what tells labels apart; None takes :class:`~.label_evidence.ClipEvidence`.
        start: the first frame wanted; its labels are the same as if all before it had been asked for.

    Yields:
        uint8 ``[height, width]``, values of :class:`~nerfblendshape_ns.data.contract.Label`.

    Raises:
        UserError: as :func:`segment_clip`.
    """
    options = options or SegmentationOptions()
    if len(frames) != len(landmarks):
        raise UserError(
            f"{len(landmarks)} rows of landmarks were given for {len(frames)} frames; track the clip's landmarks again."
        )
    landmarks = fill_lost_landmarks(landmarks)
    with evidence or ClipEvidence() as known:
        reader = _FrameReader(frames, landmarks, options)
        num_picks = min(len(frames), options.num_model_frames)
        picks = np.linspace(0, len(frames) - 1, num_picks).round().astype(int)
        known.fit((entry.small, entry.geometry) for entry in (reader.read(int(pick)) for pick in picks))
        consensus = TemporalConsensus(options.temporal_radius)
        window: Deque[_WindowFrame] = deque()
        read = max(0, start - options.temporal_radius)
        for index in range(start, len(frames)):
            while read < min(len(frames), index + options.temporal_radius + 1):
                entry = reader.read(read)
                entry.probabilities = known.probabilities(entry.small, entry.geometry)
                window.append(entry)
                read += 1
            while window[0].index < index - options.temporal_radius:
                window.popleft()
            centre = index - window[0].index
            smooth = consensus.combine(
                [entry.grey for entry in window], [entry.probabilities for entry in window], centre
            )
            yield _full_size_labels(window[centre], smooth, landmarks[index], reader.face_height(index), options)


@dataclass
class _WindowFrame:
    """What is kept of a frame while it is inside the temporal window."""

    index: int
    image: np.ndarray
    small: np.ndarray
    grey: np.ndarray
    geometry: FaceGeometry
    probabilities: Any = None


class _FrameReader:
    """Reads frames, brings them to working size and lays the face out on them."""

    def __init__(self, frames: Sequence[np.ndarray], landmarks: np.ndarray, options: SegmentationOptions) -> None:
        self._frames = frames
        self._landmarks = landmarks
        self._head_frame = HeadFrame(landmarks)
        height, width = np.asarray(frames[0]).shape[:2]
        self._pixel_size = max(1.0, float(np.sqrt(height * width / options.working_pixels)))
        self._size: Tuple[int, int] = (round(width / self._pixel_size), round(height / self._pixel_size))

    def face_height(self, index: int) -> float:
        """Height of the face in full-size pixels."""
        return self._head_frame.face_height(index)

    def read(self, index: int) -> _WindowFrame:
        """Frame ``index`` with everything that is known of it on its own."""
        image = np.asarray(self._frames[index])
        small = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        width, height = self._size
        geometry = face_geometry(self._head_frame, index, self._landmarks[index], height, width, image.shape[1] / width)
        return _WindowFrame(
            index=index,
            image=image,
            small=small,
            grey=cv2.cvtColor(small, cv2.COLOR_RGB2GRAY),
            geometry=geometry,
        )


def _full_size_labels(
    frame: _WindowFrame,
    probabilities: np.ndarray,
    landmarks: np.ndarray,
    face_height: float,
    options: SegmentationOptions,
) -> np.ndarray:
    guide = ColourGuide(frame.small.astype(np.float32) / 255, options.edge_radius, options.edge_epsilon)
    large = frame.image.astype(np.float32) / 255
    # The filter follows single hairs; a little smoothing leaves an outline that can be the same in the next frame.
    blur = 0.006 * face_height
    scores = np.stack([cv2.GaussianBlur(guide.upsample(layer, large), (0, 0), blur) for layer in probabilities])
    labels = scores.argmax(0).astype(np.uint8)
    nose = landmarks[NOSE_TIP]
    return tidy_labels(labels, (float(nose[0]), float(nose[1])), face_height)
