"""Reading a video frame by frame: what it is, its pictures with their times, and the images and labels on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Optional, Sequence, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.media import PLAIN_MEDIA
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data.video.crop import FrameWindow


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
    num_frames: int = 0
    """Frames as the container counts them, which may be wrong; 0 where it does not say."""
    has_audio: bool = False
    """Whether there is sound beside the picture."""


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
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        decoded, frame = capture.read()
        if not decoded or frame is None:
            raise UserError(f"{path} holds no frame that can be decoded; convert it to mp4 (H.264) and try again.")
        height, width = frame.shape[:2]
    finally:
        capture.release()
    # Containers without a frame rate report 0, or a time base such as 90000.
    fps = fps if 1.0 <= fps <= 480.0 else 25.0
    return VideoInfo(path, width, height, fps, int(count) if 0 < count < 1e8 else 0, has_audio(path))


def has_audio(path: Path) -> bool:
    """Whether the file holds a sound track (asked of FFmpeg's libraries through PyAV, which nerfstudio brings)."""
    import av

    try:
        with av.open(f"file:{path.resolve()}", options=PLAIN_MEDIA) as container:
            return len(container.streams.audio) > 0
    except (av.FFmpegError, OSError, ValueError):
        return False


def decode(
    path: Path, start: Optional[float] = None, end: Optional[float] = None
) -> Iterator[Tuple[int, float, np.ndarray]]:
    """Yield ``(number, seconds, frame)`` for every frame, one at a time, so that memory does not grow with the video.

    Args:
        path: the video.
        start: frames before this many seconds are skipped, without being converted to RGB.
        end: frames from this many seconds on are not read.

    Yields:
        The frame's number in the video from 0, its time, and uint8 RGB ``[height, width, 3]``, upright.

    Raises:
        UserError: as :func:`open_video`.
    """
    capture = open_video(path)
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    interval = 1 / fps if 1.0 <= fps <= 480.0 else 0.04
    try:
        number, previous = -1, -1.0
        while capture.grab():
            number += 1
            seconds = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
            # Some containers report no timestamps at all; the frame number then gives the time.
            if seconds <= previous:
                seconds = previous + interval if number else 0.0
            previous = seconds
            if start is not None and seconds < start:
                continue
            if end is not None and seconds >= end:
                return
            decoded, frame = capture.retrieve()
            if not decoded or frame is None:
                return
            yield number, seconds, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


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
        return file_io.load_image(self.root / contract.IMAGES / contract.image_name(int(index) % self.num_frames))


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
        return file_io.load_image(self.root / contract.PARSING / contract.parsing_name(index), cv2.IMREAD_UNCHANGED)
