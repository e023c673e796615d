"""Faces for sound: loudness, words, blinks."""

import shutil
import subprocess
import sys

import av
import numpy as np
import pytest
from sound_files import tone, write_sound

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_NAMES
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions import speech
from nerfblendshape_ns.expressions.speech import FPS, RATE, measure_loudness, read_sound, speak

JAW = ARKIT_NAMES.index("jawOpen")
TEXT = "Hello everybody, my name is Adam. I open my mouth, and I have never said a word of this before."


def bursts() -> np.ndarray:
    """Four syllables of a fifth of a second each, between silences."""
    times = np.arange(3 * RATE) / RATE
    loud = sum(np.exp(-(((times - middle) / 0.08) ** 2)) for middle in (0.6, 1.0, 1.4, 2.3))
    return (0.5 * loud * np.sin(2 * np.pi * 200 * times)).astype(np.float32)


def test_loudness_is_relative_and_silence_is_silent():
    loudness = measure_loudness(tone(2.0, begin=1.0))
    assert len(loudness) == 2 * FPS and loudness[: int(0.8 * FPS)].max() == 0 and loudness[int(1.3 * FPS) :].min() > 0.9
    assert np.allclose(measure_loudness(0.01 * bursts()), measure_loudness(bursts()), atol=1e-6)
    assert not measure_loudness(np.zeros(RATE, np.float32)).any()


def test_sound_of_any_file_and_of_none(tmp_path):
    samples = read_sound(write_sound(tmp_path / "a.m4a", bursts()))
    assert abs(len(samples) / RATE - 3.0) < 0.1 and 0.3 < np.abs(samples).max() <= 1.0
    (tmp_path / "b.wav").write_bytes(b"RIFF nothing")
    with pytest.raises(UserError, match="b.wav holds no sound that can be decoded; give a .wav"):
        read_sound(tmp_path / "b.wav")


def test_sound_whose_channels_change_is_read_to_its_end(tmp_path):
    """As in MP3 files that were put together from mono and stereo parts."""
    parts = []
    for layout, channels in (("mono", 1), ("stereo", 2)):
        with av.open(str(tmp_path / f"{layout}.mp3"), "w") as output:
            stream = output.add_stream("libmp3lame", rate=RATE, layout=layout)
            frame = av.AudioFrame.from_ndarray(np.tile(tone(1.0), (channels, 1)), "fltp", layout)
            frame.sample_rate, frame.pts = RATE, 0
            output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        parts.append((tmp_path / f"{layout}.mp3").read_bytes())
    (tmp_path / "whole.mp3").write_bytes(b"".join(parts))
    samples = read_sound(tmp_path / "whole.mp3")
    assert abs(len(samples) / RATE - 2.0) < 0.2
    assert all(np.abs(samples[begin : begin + RATE // 2]).max() > 0.3 for begin in (RATE // 4, RATE * 5 // 4))


def test_without_words_the_loudness_opens_the_jaw(tmp_path):
    path = write_sound(tmp_path / "a.m4a", bursts())
    spoken = speak(path, None, idle=False)
    loudness = measure_loudness(read_sound(path))
    assert spoken.angles is None and np.allclose(spoken.values[:, JAW], speech.JAW_ALONE * loudness)
    assert not np.delete(spoken.values, JAW, axis=1).any()


def test_blinks_and_small_head_motion(tmp_path):
    still = np.zeros(20 * RATE, np.float32)
    still[::RATE] = 0.5
    spoken = speak(write_sound(tmp_path / "a.m4a", still), None, idle=True)
    closed = spoken.values[:, ARKIT_NAMES.index("eyeBlinkLeft")]
    assert np.array_equal(closed, spoken.values[:, ARKIT_NAMES.index("eyeBlinkRight")])
    blinks = np.sum(np.diff((closed > 0.5).astype(int)) == 1)
    assert 3 <= blinks <= 10 and closed.max() == 1 and np.mean(closed > 0) < 0.2
    degrees = np.degrees(spoken.angles)
    assert 0.5 < np.abs(degrees).max() < 6 and np.abs(np.diff(degrees, axis=0)).max() < 0.2


def test_words_move_the_lips_while_somebody_speaks(tmp_path):
    pytest.importorskip("openfacefx")
    path = write_sound(tmp_path / "a.m4a", bursts())
    spoken, loudness = speak(path, "My mouth opens wide", idle=False), measure_loudness(read_sound(path))
    moved = {name for name, curve in zip(ARKIT_NAMES, spoken.values.T) if curve.max() > 0.05}
    assert {"jawOpen", "mouthFunnel", "mouthPressLeft"} <= moved
    assert spoken.values.min() >= 0 and spoken.values.max() <= 1
    silent = np.convolve(loudness, np.ones(15), "same") == 0
    assert spoken.values[silent].max() < 0.02, "the mouth rests in silence"
    assert np.corrcoef(spoken.values[:, JAW], loudness)[0, 1] > 0.4


def test_a_sentence_of_espeak(tmp_path):
    pytest.importorskip("openfacefx")
    program = shutil.which("espeak-ng")
    if program is None:
        pytest.skip("espeak-ng is not installed")
    subprocess.run([program, "-w", str(tmp_path / "a.wav"), TEXT], check=True)
    spoken, loudness = speak(tmp_path / "a.wav", TEXT, idle=False), measure_loudness(read_sound(tmp_path / "a.wav"))
    assert np.corrcoef(spoken.values[:, JAW], loudness)[0, 1] >= 0.5


def test_words_that_cannot_be_spoken_are_told(tmp_path, monkeypatch):
    path = write_sound(tmp_path / "a.m4a", bursts())
    silence = write_sound(tmp_path / "b.m4a", np.zeros(RATE, np.float32))
    monkeypatch.setitem(sys.modules, "openfacefx", None)
    with pytest.raises(UserError, match="--text needs the package openfacefx: pip install openfacefx"):
        speak(path, "Hello", True)
    monkeypatch.undo()
    pytest.importorskip("openfacefx")
    with pytest.raises(UserError, match="--text holds no word"):
        speak(path, " ... ", True)
    with pytest.raises(UserError, match="--text holds no word; it is read as English"):
        speak(path, "Привет, мир", True)
    with pytest.raises(UserError, match="nobody is heard in the sound"):
        speak(silence, "Hello", True)
