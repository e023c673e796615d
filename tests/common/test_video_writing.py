"""Videos by ffmpeg: frames, rate and sound as they went in."""

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from nerfblendshape_ns.common import video_writing as video_file
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.frame_store import FrameStore
from nerfblendshape_ns.common.video_writing import Sound, encode, has_sound
from nerfblendshape_ns.process_data.video.frames import has_audio

RATE = 16000


@pytest.fixture
def frames(tmp_path):
    store = FrameStore(tmp_path / "frames", "k")
    for number in range(10):
        store.write(number, np.full((15, 21, 3), 20 * number, np.uint8))
    return store.folder


@pytest.fixture
def beep(tmp_path):
    """Two seconds: silence, then from second 1 a tone."""
    path = tmp_path / "beep.wav"
    tone = "sine=frequency=440:sample_rate=16000:duration=2,volume=0:enable='lt(t,1)'"
    subprocess.run(["ffmpeg", "-loglevel", "error", "-y", "-f", "lavfi", "-i", tone, str(path)], check=True)
    return path


def samples(path):
    command = ["ffmpeg", "-loglevel", "error", "-i", str(path), "-ac", "1", "-ar", str(RATE), "-f", "s16le", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.int16).astype(float)


def test_frames_and_rate_without_sound(frames, tmp_path):
    encode(frames, 10, 12.5, tmp_path / "out.mp4")
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 10 and capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    good, first = capture.read()
    # Sides are padded to even ones.
    assert good and first.shape == (16, 22, 3)
    assert not has_sound(tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.glob("*.mp4")] == ["out.mp4"]


def test_sound_starts_where_the_frames_do(frames, beep, tmp_path):
    assert has_sound(beep)
    # 10 frames at 10 a second from 0.5 s on: half silence, half tone.
    encode(frames, 10, 10.0, tmp_path / "out.mp4", Sound(beep, 0.5))
    loud = np.abs(samples(tmp_path / "out.mp4"))
    # AAC comes in packets of 1024 samples.
    assert len(loud) / RATE == pytest.approx(1.0, abs=0.15)
    assert loud[: int(0.4 * RATE)].mean() < 50 < 500 < loud[int(0.6 * RATE) : int(0.9 * RATE)].mean()
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 10


def test_failures_leave_nothing_behind(frames, tmp_path):
    (tmp_path / "noise.mp3").write_bytes(b"no sound at all")
    assert not has_sound(tmp_path / "noise.mp3")
    with pytest.raises(UserError, match="ffmpeg could not write"):
        encode(frames, 10, 10.0, tmp_path / "out.mp4", Sound(tmp_path / "noise.mp3", 0.0))
    assert not list(tmp_path.glob("*.mp4"))


def test_a_missing_ffmpeg_is_told(monkeypatch):
    monkeypatch.setattr(video_file.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="ffmpeg, which writes the video, is not installed"):
        video_file.require_ffmpeg()


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{sound}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile beep.wav\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_file_that_names_other_files_has_no_sound(beep, frames, tmp_path, kind):
    """A playlist called a video would have ffmpeg open whatever its author likes."""
    audio = beep if kind == "concat" else tmp_path / "beep.ts"
    if kind == "hls":
        subprocess.run(["ffmpeg", "-loglevel", "error", "-i", str(beep), "-c:a", "aac", str(audio)], check=True)
    assert has_sound(audio) and has_audio(audio)
    trap = tmp_path / "clip.mp4"
    trap.write_text(PLAYLISTS[kind].format(sound=audio))
    assert not has_sound(trap) and not has_audio(trap)
    with pytest.raises(UserError, match="ffmpeg could not write"):
        encode(frames, 10, 10.0, tmp_path / "out.mp4", Sound(trap, 0.0))


def test_names_are_no_addresses(beep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("concat:beep.wav|beep.wav", "http:a.wav", "-y.wav"):
        beep.rename(name)
        beep = Path(name)
        assert has_sound(beep) and has_audio(beep)
