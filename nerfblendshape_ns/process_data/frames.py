"""Reading a video frame by frame: what it is, which frames are kept, and how they become images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.process_data.crop import FrameWindow

# Below this a clip cannot be split into training, validation and test frames, nor a head pose track be smoothed.
MIN_FRAMES = 10
# Frame intervals that differ by more than this share of the median mean a variable frame rate.
IRREGULAR_SHARE = 0.25


@dataclass(frozen=True)
class VideoInfo:
    """What a video says of itself, its rotation already applied."""

    path: Path
    """The file."""
    width: int
    """Width in pixels of the upright picture."""
    height: int
    """Height in pixels of the upright picture."""
    fps: float
    """Nominal frames a second."""


def open_video(path: Path) -> cv2.VideoCapture:
    """Open a video for decoding, phone rotation honoured.

    Raises:
        UserError: there is no such file, it is a folder, or it holds no picture that OpenCV can decode.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; give the path of a video file with --video.")
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a video; give the path of one video file with --video.")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened() or capture.get(cv2.CAP_PROP_FRAME_WIDTH) < 1:
        capture.release()
        raise UserError(f"{path} is not a video that can be decoded; convert it to mp4 (H.264) and try again.")
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def probe_video(path: Path) -> VideoInfo:
    """Decode the first frame to learn the size of the upright picture, and read the nominal frame rate.

    Raises:
        UserError: as :func:`open_video`, or no frame can be decoded.
    """
    capture = open_video(path)
    try:
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        decoded, frame = capture.read()
        if not decoded or frame is None:
            raise UserError(f"{path} holds no frame that can be decoded; convert it to mp4 (H.264) and try again.")
        height, width = frame.shape[:2]
    finally:
        capture.release()
    # Containers without a frame rate report 0, or a time base such as 90000.
    return VideoInfo(path, width, height, fps if 1.0 <= fps <= 480.0 else 25.0)


def decode(path: Path) -> Iterator[Tuple[float, np.ndarray]]:
    """Yield ``(seconds, frame)`` for every frame; frames are uint8 RGB ``[height, width, 3]``, upright."""
    capture = open_video(path)
    fps = probe_video(path).fps
    try:
        index, previous = 0, -1.0
        while True:
            decoded, frame = capture.read()
            if not decoded or frame is None:
                return
            seconds = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
            # Some containers report no timestamps at all; the frame number then gives the time.
            if seconds <= previous:
                seconds = previous + 1 / fps if index else 0.0
            yield seconds, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            index, previous = index + 1, seconds
    finally:
        capture.release()


def frame_times(path: Path) -> np.ndarray:
    """Timestamps in seconds of every frame, float64 ``[frames]``, without converting any picture.

    Raises:
        UserError: no frame can be decoded, or fewer than :data:`MIN_FRAMES`.
    """
    capture = open_video(path)
    fps = probe_video(path).fps
    times: List[float] = []
    try:
        while capture.grab():
            seconds = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
            if times and seconds <= times[-1]:
                seconds = times[-1] + 1 / fps
            times.append(seconds)
    finally:
        capture.release()
    return np.array(times)


def is_irregular(times: np.ndarray) -> bool:
    """Whether more than 2 % of the frame intervals are far from the median, as in variable-frame-rate recordings."""
    intervals = np.diff(times)
    median = float(np.median(intervals))
    return bool((np.abs(intervals - median) > IRREGULAR_SHARE * median).mean() > 0.02)


def select_frames(
    times: np.ndarray, fps: Optional[float], max_frames: Optional[int] = None
) -> Tuple[np.ndarray, float]:
    """Choose which decoded frames are kept.

    Args:
        times: seconds of each decoded frame.
        fps: frames a second wanted; None keeps every frame. The nearest decoded frame is taken for each instant and no
            frame is taken twice, so a rate above the video's own keeps every frame.
        max_frames: keep only the first so many.

    Returns:
        Ascending indices of the frames kept, and the frames a second that they make.

    Raises:
        UserError: fewer than :data:`MIN_FRAMES` remain.
    """
    own_fps = 1.0 / float(np.median(np.diff(times))) if len(times) > 1 else 25.0
    indices = np.arange(len(times))
    if fps is not None and fps < own_fps and len(times) > 1:
        instants = np.arange(times[0], times[-1] + 0.5 / own_fps, 1 / fps)
        after = np.clip(np.searchsorted(times, instants), 1, len(times) - 1)
        nearest = np.where(np.abs(times[after - 1] - instants) <= np.abs(times[after] - instants), after - 1, after)
        indices = np.unique(nearest)
        own_fps = fps
    if max_frames is not None:
        indices = indices[:max_frames]
    if len(indices) < MIN_FRAMES:
        raise UserError(
            f"the video gives only {len(indices)} frames and at least {MIN_FRAMES} are needed; "
            "use a longer video or a higher --fps."
        )
    return indices, own_fps


def apply_window(frame: np.ndarray, window: FrameWindow) -> np.ndarray:
    """Cut ``window`` out of a frame and scale it to its output size (area filter, so that nothing aliases)."""
    cut = frame[window.top : window.top + window.height, window.left : window.left + window.width]
    if cut.shape[:2] == (window.out_height, window.out_width):
        return np.ascontiguousarray(cut)
    return cv2.resize(cut, (window.out_width, window.out_height), interpolation=cv2.INTER_AREA)


class ImageFolder(Sequence[np.ndarray]):
    """The written frames as a sequence: ``len()`` and ``[index]`` give uint8 RGB images, read from disk on demand."""

    def __init__(self, root: Path, num_frames: int) -> None:
        self.root = root
        self.num_frames = num_frames

    def __len__(self) -> int:
        return self.num_frames

    def __getitem__(self, index):  # type: ignore[override]
        """Read frame ``index``; slices are not supported, so that no caller loads a whole clip by accident."""
        if not -self.num_frames <= index < self.num_frames:
            raise IndexError(index)
        return contract.load_image(self.root / contract.IMAGES / contract.image_name(int(index) % self.num_frames))


class LabelFolder:
    """The label images as an array-like: ``shape``, ``len()`` and ``[index]`` read from disk on demand."""

    def __init__(self, root: Path, num_frames: int, height: int, width: int) -> None:
        self.root = root
        self.shape: Tuple[int, int, int] = (num_frames, height, width)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        """uint8 ``[height, width]`` labels of frame ``index``."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return contract.load_image(self.root / contract.PARSING / contract.parsing_name(index), cv2.IMREAD_UNCHANGED)
