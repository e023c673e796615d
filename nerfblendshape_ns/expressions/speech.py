"""A face for speech: ARKit coefficients from sound, and from the words that are said where they are known.

With words the phonemes come from openfacefx, spread over the times at which somebody speaks, and become visemes, then
ARKit's coefficients, weighted by the loudness. Without them the loudness alone opens the jaw. Neither listens to what
is said: for lips that follow the sound by a network, Audio2Face's JSON is read (:mod:`.tracks.audio2face`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import av
import numpy as np
from scipy.ndimage import gaussian_filter1d

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_NAMES
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.media import decoded_frames, open_media, sound_stream

RATE = 16_000
"""Samples per second that sound is analysed at."""
FPS = 60.0
"""Frames per second of what is made of it."""
LOUD_PERCENTILE, SILENT_FRACTION = 95.0, 0.06
"""Loudness is relative to this percentile of it; below this fraction nobody speaks."""
SMOOTHING = 0.03
"""Seconds over which loudness is averaged (standard deviation)."""
JAW_ALONE = 0.5
"""jawOpen at full loudness where no words are known."""
LEAST_WEIGHT = 0.35
"""Visemes keep this fraction where speech is quietest."""
BLINK_SECONDS = (2.0, 6.0)
"""Shortest and longest time between blinks."""
SWAY = ((0.13, 1.2), (0.29, 0.8), (0.43, 0.5))
"""Frequencies in Hz and amplitudes in degrees of the head's motion about each of its axes."""
NOD = 2.0
"""Degrees that the head is lowered by loud speech."""
NO_WORD = "--text holds no word"


@dataclass(frozen=True)
class Speech:
    """A talking face."""

    times: np.ndarray
    """float64 ``[frames]`` seconds from the sound's start."""
    values: np.ndarray
    """float64 ``[frames, 52]`` coefficients in the order of :data:`ARKIT_NAMES`."""
    angles: Optional[np.ndarray]
    """float64 ``[frames, 3]`` yaw, pitch and roll of the head in radians (see
    :func:`~nerfblendshape_ns.expressions.live.frame.turn_of_angles`); None where it is held still."""


def speak(sound: Path, text: Optional[str], idle: bool) -> Speech:
    """A face that says what a file lets hear.

    Args:
        sound: an audio file, or a video with sound.
        text: the words that are said, in English; None opens the jaw by loudness alone.
        idle: blink, and move the head a little.

    Raises:
        UserError: the sound cannot be read, the text holds no word, or openfacefx is not installed.
    """
    loudness = measure_loudness(read_sound(sound))
    times = np.arange(len(loudness)) / FPS
    values = np.zeros((len(times), len(ARKIT_NAMES)))
    if text is None:
        values[:, ARKIT_NAMES.index("jawOpen")] = JAW_ALONE * loudness
    else:
        for name, curve in viseme_curves(text, loudness).items():
            values[:, ARKIT_NAMES.index(name)] = curve
    if not idle:
        return Speech(times, values, None)
    closed = blinks(times)
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        values[:, ARKIT_NAMES.index(name)] = closed
    return Speech(times, values, sway(times, loudness))


def read_sound(path: Path) -> np.ndarray:
    """One channel of a file's sound, float32 in -1..1 at :data:`RATE`.

    Raises:
        UserError: there is none that can be decoded.
    """
    pieces: List[np.ndarray] = []
    try:
        with open_media(path) as container:
            stream = sound_stream(container)
            if stream is not None:
                # MP3 files can be put together from parts of several kinds, of which a resampler takes one.
                for _, frames in groupby(decoded_frames(container, stream), _kind):
                    resampler = av.AudioResampler("flt", "mono", RATE)
                    for frame in chain(frames, [None]):
                        pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    except (av.FFmpegError, OSError, ValueError):
        pieces = []
    if not sum(map(len, pieces)):
        raise UserError(f"{path} holds no sound that can be decoded; give a .wav, .mp3, .flac or .m4a file.")
    return np.concatenate(pieces)


def _kind(frame: Any) -> Tuple[str, str, int]:
    """How the samples of an ``av.AudioFrame`` are kept."""
    return frame.format.name, frame.layout.name, frame.sample_rate


def measure_loudness(samples: np.ndarray) -> np.ndarray:
    """How loud somebody speaks at each frame: 0 is silence, 1 is loud; float64 ``[frames]``."""
    hop = RATE / FPS
    count = max(1, int(len(samples) * FPS / RATE))
    power = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    edges = np.round(np.arange(count + 1) * hop).astype(int)
    rms = np.sqrt(np.maximum(np.diff(power[np.minimum(edges, len(samples))]), 0.0) / hop)
    rms = gaussian_filter1d(rms, SMOOTHING * FPS)
    loud = float(np.percentile(rms, LOUD_PERCENTILE))
    if loud < 1e-3:
        return np.zeros(count)
    return np.clip((rms / loud - SILENT_FRACTION) / (1.0 - SILENT_FRACTION), 0.0, 1.0)


def viseme_curves(text: str, loudness: np.ndarray) -> Dict[str, np.ndarray]:
    """ARKit's coefficients for words, by openfacefx.

    Args:
        text: the words.
        loudness: ``[frames]`` 0..1.

    Raises:
        UserError: openfacefx is not installed, the text holds no word, or nobody speaks.
    """
    try:
        import openfacefx  # pyright: ignore[reportMissingImports]
        from openfacefx.retarget import PRESETS, retarget  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("--text needs the package openfacefx: pip install openfacefx.") from None
    if not any(character.isalpha() for character in text):
        raise UserError(f"{NO_WORD}; give what is said in the sound.")
    spoken = np.concatenate([[0.0], np.cumsum(loudness > 0)])[:-1] / FPS
    total = float(spoken[-1])
    if total <= 0:
        raise UserError("nobody is heard in the sound; --text needs speech.")
    track: Any = retarget(openfacefx.generate_naive(text, total, fps=FPS), PRESETS["arkit"])
    curves: Dict[str, np.ndarray] = {}
    weight = np.where(loudness > 0, LEAST_WEIGHT + (1.0 - LEAST_WEIGHT) * loudness, 0.0)
    weight = gaussian_filter1d(weight, SMOOTHING * FPS)
    for channel in track.channels:
        if channel.name in ARKIT_NAMES:
            at, values = zip(*((key.time, key.value) for key in channel.keys))
            curves[channel.name] = weight * np.interp(spoken, at, values)
    if not curves:
        raise UserError(f"{NO_WORD}; it is read as English, so write what is said in Latin letters.")
    return curves


def blinks(times: np.ndarray) -> np.ndarray:
    """How far the eyes are closed at each time, 0..1: quickly shut, slowly opened, at irregular times."""
    random, closed, begin = np.random.default_rng(0), np.zeros(len(times)), 1.0
    while begin < times[-1]:
        closed = np.maximum(closed, np.interp(times - begin, [0.0, 0.07, 0.1, 0.25], [0.0, 1.0, 1.0, 0.0]))
        begin += random.uniform(*BLINK_SECONDS)
    return closed


def sway(times: np.ndarray, loudness: np.ndarray) -> np.ndarray:
    """Small motion of a head, which is lowered a little by what is said loudly: ``[frames, 3]`` radians."""
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, (3, len(SWAY)))
    degrees = np.stack(
        [
            sum(size * np.sin(2 * np.pi * rate * times + phase) for (rate, size), phase in zip(SWAY, axis))
            for axis in phases
        ],
        axis=1,
    )
    degrees[:, 2] *= 0.5
    degrees[:, 1] += NOD * gaussian_filter1d(loudness, 0.25 * FPS)
    return np.radians(degrees)
