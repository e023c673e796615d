"""Small files with sound for tests."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from nerfblendshape_ns.common.media import decoded_frames, open_media

RATE = 16_000
"""Samples per second of what is written and read here."""


def tone(seconds: float, begin: float = 0.0) -> np.ndarray:
    """A hum of 440 Hz between -0.5 and 0.5 that is silent until ``begin``."""
    times = np.arange(round(seconds * RATE)) / RATE
    return np.where(times < begin, 0.0, 0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)


def write_sound(path: Path, samples: np.ndarray, codec: str = "aac", video: Path = None) -> Path:  # type: ignore[assignment]
    """Write one channel of sound; ``video`` is copied beside it."""
    with av.open(f"file:{path.resolve()}", "w") as output:
        audio = output.add_stream(codec, rate=RATE, layout="mono")
        if video is not None:
            with open_media(video) as container:
                images = output.add_stream_from_template(container.streams.video[0])
                for packet in container.demux(container.streams.video[0]):
                    if packet.dts is not None:
                        packet.stream = images
                        output.mux(packet)
        frame = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        output.mux(audio.encode(frame))
        output.mux(audio.encode(None))
    return path


def read_sound(path: Path) -> np.ndarray:
    """A file's sound as one channel between -1 and 1."""
    resampler = av.AudioResampler("fltp", "mono", RATE)
    with open_media(path) as container:
        frames = [*decoded_frames(container, container.streams.audio[0]), None]
        pieces = [piece.to_ndarray()[0] for frame in frames for piece in resampler.resample(frame) if piece is not None]
    return np.concatenate(pieces)
