"""Opening and decoding local video and audio files with PyAV (FFmpeg's libraries)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Union

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

PLAIN_MEDIA = {
    "protocol_whitelist": "file,pipe",
    "format_whitelist": "3g2,3gp,aac,ac3,aiff,amr,asf,au,avi,caf,dv,eac3,flac,flv,gif,h264,hevc,ivf,m4a,m4v,matroska,"
    "mj2,mjpeg,mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,nut,ogg,w64,wav,webm,yuv4mpegpipe",
}
"""Options with which FFmpeg opens local files that hold their own sound and images, and nothing else: playlists and
scripts (HLS, DASH, concat) name other files and addresses that it would open."""

# PyAV 19 takes metadata in any encoding; those before it raise an error unless asked not to.
_ANY_METADATA: Dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}


def open_media(path: Path) -> InputContainer:
    """Open a video or audio file; its name is never taken for an address.

    Raises:
        av.FFmpegError: it is none that :data:`PLAIN_MEDIA` allows, or is damaged.
    """
    return av.open(f"file:{path.resolve()}", options=PLAIN_MEDIA, **_ANY_METADATA)


def has_sound(path: Path) -> bool:
    """Whether a file has an audio stream that can be decoded."""
    try:
        with open_media(path) as container:
            return sound_stream(container) is not None
    except av.FFmpegError:
        return False


def sound_stream(container: InputContainer) -> Optional[AudioStream]:
    """The first audio stream that can be decoded; None where there is none."""
    return next((stream for stream in container.streams.audio if stream.codec_context is not None), None)


def start_time(stream: Union[VideoStream, AudioStream]) -> Fraction:
    """Seconds at which a stream starts, on the clock that all streams of a file share."""
    return (stream.start_time or 0) * (stream.time_base or Fraction(0))


def decoded_frames(container: InputContainer, stream: Union[VideoStream, AudioStream]) -> Iterator[Any]:
    """The ``av.VideoFrame`` or ``av.AudioFrame`` of a stream; packets that cannot be decoded are left out, and a file
    that breaks off ends there."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        yield from frames
