"""Writing H.264 videos, with the sound that belongs to them."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, count, repeat
from pathlib import Path
from typing import Iterable, Iterator, Optional

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import write_atomically
from nerfblendshape_ns.common.media import decoded_frames, open_media, sound_stream, start_time

VIDEO_CODEC, AUDIO_CODEC = "libx264", "aac"
QUALITY = "16"
"""x264's constant rate factor: hardly distinguishable from the original."""
AUDIO_BITS = 160_000
"""Bits per second of the sound."""
BT_601, BT_709, LIMITED = 6, 1, 1
"""FFmpeg's numbers: the matrix that RGB is converted with, primaries and transfer of sRGB's kind, range 16 to 235."""
GAP_SECONDS = 0.02
"""Times of sound that are off by more are gaps or overlaps, not rounding."""


@dataclass(frozen=True)
class Sound:
    """A stretch of a file's sound."""

    path: Path
    """A video or audio file with sound in it."""
    start: float
    """Seconds after the file's first video frame (in an audio file: after its start) at which the stretch begins."""


def check_encoders() -> None:
    """Refuse to begin what could not be written.

    Raises:
        UserError: this build of PyAV cannot encode H.264 or AAC.
    """
    missing = [name for name in (VIDEO_CODEC, AUDIO_CODEC) if name not in av.codecs_available]
    if missing:
        raise UserError(
            f"this build of PyAV lacks the encoder {' and '.join(missing)}, so no video can be written; install the "
            "package of PyPI: pip install --force-reinstall --only-binary :all: av."
        )


def write_video(path: Path, frames: Iterable[np.ndarray], fps: float, sound: Optional[Sound] = None) -> None:
    """Write an mp4 that every player knows: H.264 in yuv420p, sound as AAC, index at the start.

    Args:
        path: the file; an existing one is replaced when the new one is complete.
        frames: at least one, uint8 RGB ``[height, width, 3]``, all of one size; odd sides grow by a repeated line of
            pixels, since yuv420p halves the resolution of colour.
        fps: frames per second.
        sound: cut to the length of the frames.

    Raises:
        UserError: an encoder is missing, the sound cannot be read, or the file cannot be written.
    """
    check_encoders()

    def write(temporary: Path) -> None:
        try:
            # Absolute, since FFmpeg takes a name such as take:1.mp4 for a protocol.
            with av.open(os.path.abspath(temporary), "w", "mp4", options={"movflags": "+faststart"}) as output:
                _encode(output, frames, Fraction(fps).limit_denominator(100_000), sound)
        except av.FFmpegError as error:
            raise UserError(f"{path} could not be written ({error}); check the disk and the sound's file.") from error

    write_atomically(path, write)


def _encode(output: OutputContainer, frames: Iterable[np.ndarray], rate: Fraction, sound: Optional[Sound]) -> None:
    images = iter(frames)
    first = next(images, None)
    if first is None:
        raise UserError("there are no frames to make a video of.")
    height, width = first.shape[:2]
    odd = (0, height % 2), (0, width % 2), (0, 0)
    video = output.add_stream(VIDEO_CODEC, rate=rate, options={"crf": QUALITY})
    video.width, video.height, video.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
    # Players take what does not say for BT.709 from 720 lines on, which shows other colours.
    colours = video.codec_context
    colours.colorspace, colours.color_range = BT_601, LIMITED
    colours.color_primaries = colours.color_trc = BT_709
    # PyAV's own choice, threads by slices, makes x264 code each slice by itself, which costs quality.
    video.thread_type = "AUTO"
    with ExitStack() as stack:
        audio, heard = None, repeat(None)
        if sound is not None:
            source = stack.enter_context(open_media(sound.path))
            stream = sound_stream(source)
            if stream is None:
                raise UserError(f"{sound.path} holds no sound that can be decoded; give another file.")
            audio = _add_audio(output, stream)
            heard = _heard(source, stream, sound.start, audio, rate)
        for number, (image, samples) in enumerate(zip(chain([first], images), heard)):
            frame = VideoFrame.from_ndarray(np.pad(image, odd, mode="edge"), format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            output.mux(video.encode(frame.reformat(format="yuv420p", interpolation="BICUBIC")))
            if audio is not None and samples is not None:
                output.mux(audio.encode(samples))
    for stream in (video, audio):
        if stream is not None:
            output.mux(stream.encode(None))


def _add_audio(output: OutputContainer, source: AudioStream) -> AudioStream:
    """The stream for a source's sound, with its sample rate if AAC has that, and at most two channels."""
    rates = av.Codec(AUDIO_CODEC, "w").audio_rates or []
    audio = output.add_stream(AUDIO_CODEC, rate=source.rate if source.rate in rates else 48_000)
    audio.bit_rate, audio.layout = AUDIO_BITS, "mono" if source.channels == 1 else "stereo"
    return audio


def _heard(
    source: InputContainer, stream: AudioStream, start: float, audio: AudioStream, rate: Fraction
) -> Iterator[Optional[AudioFrame]]:
    """What is heard during one video frame after the other, without end; None once the sound is over."""
    pieces = _samples(source, stream, start, audio)
    waiting, written = np.zeros((audio.channels, 0), np.float32), 0
    for number in count(1):
        length = round(number * audio.rate / rate) - written
        while waiting.shape[1] < length and (piece := next(pieces, None)) is not None:
            waiting = np.concatenate([waiting, piece], axis=1)
        now, waiting = waiting[:, :length], waiting[:, length:]
        if not now.size:
            yield None
            continue
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(now), "fltp", audio.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = audio.rate, written, Fraction(1, audio.rate)
        written += now.shape[1]
        yield frame


def _samples(source: InputContainer, stream: AudioStream, start: float, audio: AudioStream) -> Iterator[np.ndarray]:
    """float32 ``[channels, samples]`` from ``start`` on, piece by piece; silence where there is no sound."""
    images = source.streams.best("video")
    start += float(start_time(images if isinstance(images, VideoStream) else stream))
    resampler, kind, end, early = None, None, None, 0

    def cut(pieces: Iterable[Optional[AudioFrame]]) -> Iterator[np.ndarray]:
        """Pieces without what is heard too early."""
        nonlocal early
        for piece in pieces:
            if piece is not None:
                samples = piece.to_ndarray()
                yield samples[:, early:]
                early = max(0, early - samples.shape[1])

    # From the file's beginning: where to jump to in MP3 and AAC files can only be estimated.
    for frame in decoded_frames(source, stream):
        offset = (end or 0) if frame.time is None else round((frame.time - start) * audio.rate)
        length = frame.samples * audio.rate // frame.sample_rate
        if end is None and offset + length <= 0:
            continue
        missing = offset - (end or 0)
        is_gap = end is None or abs(missing) > GAP_SECONDS * audio.rate
        now = frame.format.name, frame.layout.name, frame.sample_rate
        if is_gap or now != kind:
            if resampler is not None:
                yield from cut(resampler.resample(None))
            resampler = av.AudioResampler("fltp", audio.layout.name, audio.rate)
            kind = now
            if is_gap:
                early = max(0, -missing)
                for first in range(0, missing, audio.rate):  # A second at a time: a file may state a gap of years.
                    yield np.zeros((audio.channels, min(audio.rate, missing - first)), np.float32)
        assert resampler is not None
        yield from cut(resampler.resample(frame))
        end = offset + length
    if resampler is not None:
        yield from cut(resampler.resample(None))
