"""Reading a video frame by frame: what it is, and its images with their times."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Optional, Tuple

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.media import decoded_frames, open_media, sound_stream, start_time
from nerfblendshape_ns.process_data.video.conversion import (
    HDR,
    FrameConverter,
    orientation,
    pixel_aspect,
    square_size,
)
from nerfblendshape_ns.process_data.video.crop import FrameWindow


@dataclass(frozen=True)
class VideoInfo:
    """What a video says of itself, its rotation already applied."""

    path: Path
    """The file."""
    width: int
    """Width in pixels of the upright image."""
    height: int
    """Height in pixels of the upright image."""
    fps: float
    """Nominal frames per second."""
    num_frames: int
    """Frames as the container counts them or its length implies, which may be wrong."""
    has_audio: bool = False
    """Whether there is sound too."""
    is_hdr: bool = False
    """Whether it begins in HDR, which is converted."""
    is_interlaced: bool = False
    """Whether it begins interlaced, which is undone."""


@contextmanager
def _opened(path: Path) -> Iterator[Tuple[InputContainer, VideoStream]]:
    """A video and its stream of images.

    Raises:
        UserError: there is no such file, it is a folder, or it holds no images that can be decoded.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; give the path of a video file.")
    if path.is_dir():
        raise UserError(
            f"{path} is a folder, not a video; give the path of one video file. Images become one by "
            "ffmpeg -framerate 25 -i FOLDER/%06d.png -crf 10 -pix_fmt yuv444p OUT.mp4, if they are 25 a second."
        )
    with ExitStack() as stack:
        container = stream = None
        with suppress(av.FFmpegError):
            container = stack.enter_context(open_media(path))
            stream = container.streams.best("video")
        if container is None or not isinstance(stream, VideoStream) or stream.codec_context is None or stream.width < 1:
            raise UserError(f"{path} is not a video that can be decoded; convert it to mp4 (H.264) and try again.")
        stream.thread_type = "AUTO"
        yield container, stream


def _frame_rate(stream: VideoStream) -> float:
    """Nominal frames per second; 25 for containers that do not say, or give a time base such as 90000."""
    rate = float(stream.guessed_rate or 0)
    return rate if 1.0 <= rate <= 480.0 else 25.0


def probe_video(path: Path) -> VideoInfo:
    """Decode the first frame to learn the size of the upright image, and read the nominal frame rate.

    Raises:
        UserError: the file is none, or no frame of it can be decoded.
    """
    with _opened(path) as (container, stream):
        first = next(decoded_frames(container, stream), None)
        if first is None:
            raise UserError(f"{path} holds no frame that can be decoded; convert it to mp4 (H.264) and try again.")
        width, height = square_size(first, pixel_aspect(stream))
        if orientation(first).transposed:
            width, height = height, width
        fps = _frame_rate(stream)
        num_frames = stream.frames or round((container.duration or 0) / av.time_base * fps)
        # Matroska's length ends where its times do, which may begin late; browsers record without.
        begins_late = "matroska" in container.format.name and start_time(stream) > 0.5
        if num_frames < 1 or (not stream.frames and begins_late):
            num_frames = max(1, _count_packets(path))
        has_audio, is_hdr = sound_stream(container) is not None, first.color_trc in HDR
        return VideoInfo(path, width, height, fps, num_frames, has_audio, is_hdr, bool(first.interlaced_frame))


def _count_packets(path: Path) -> int:
    """Encoded images of a video; nothing is decoded."""
    with _opened(path) as (container, stream), suppress(av.FFmpegError):
        return sum(packet.size > 0 for packet in container.demux(stream))
    return 0


def decode(
    path: Path, start: Optional[float] = None, end: Optional[float] = None
) -> Iterator[Tuple[int, float, np.ndarray]]:
    """Yield ``(number, seconds, image)`` for every frame, one at a time, so that memory does not grow with the video.

    Args:
        path: the video.
        start: frames before this many seconds are skipped, without being converted to RGB.
        end: frames from this many seconds on are not read.

    Yields:
        The frame's number in the video from 0, seconds after the stream's start, and uint8 RGB
        ``[height, width, 3]``, upright, all of the first one's size.

    Raises:
        UserError: the file is none that can be decoded.
    """
    with _opened(path) as (container, stream):
        first, interval, previous = start_time(stream), 1 / _frame_rate(stream), -1.0
        converter = FrameConverter(pixel_aspect(stream))
        for number, frame in enumerate(decoded_frames(container, stream)):
            time = frame.pts if frame.pts is not None else frame.dts
            seconds = -1.0 if time is None else float(time * frame.time_base - first)
            # Some containers report no times at all; the frame number then gives the time.
            if seconds <= previous:
                seconds = previous + interval if number else 0.0
            previous = seconds
            if start is not None and seconds < start:
                continue
            if end is not None and seconds >= end:
                break
            yield from converter.add(frame, (number, seconds))
        yield from converter.rest()


def apply_window(frame: np.ndarray, window: FrameWindow) -> np.ndarray:
    """Cut ``window`` out of a frame and scale it to its output size (area filter, so that nothing aliases)."""
    cut = frame[window.top : window.top + window.height, window.left : window.left + window.width]
    if cut.shape[:2] == (window.out_height, window.out_width):
        return np.ascontiguousarray(cut)
    return cv2.resize(cut, (window.out_width, window.out_height), interpolation=cv2.INTER_AREA)
