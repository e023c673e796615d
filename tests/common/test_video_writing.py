"""Videos: frames, rate and sound as they went in."""

import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from sound_files import RATE, read_sound, tone, write_sound

from nerfblendshape_ns.common import video_writing
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.media import decoded_frames, has_sound, open_media
from nerfblendshape_ns.common.video_writing import Sound, check_encoders, write_video

GREYS = [np.full((15, 21, 3), 20 * number, np.uint8) for number in range(10)]


@pytest.fixture
def beep(tmp_path):
    """Two seconds: silence, then from second 1 a tone."""
    return write_sound(tmp_path / "beep.wav", tone(2.0, begin=1.0), "pcm_s16le")


def test_frames_and_rate_without_sound(tmp_path):
    write_video(tmp_path / "out.mp4", iter(GREYS), 12.5)
    with open_media(tmp_path / "out.mp4") as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.pix_fmt, stream.frames) == ("h264", "yuv420p", 10)
        assert stream.average_rate == Fraction(25, 2)
        images = [frame.to_ndarray(format="rgb24") for frame in decoded_frames(container, stream)]
    # Sides are padded to even ones.
    assert images[0].shape == (16, 22, 3)
    np.testing.assert_allclose([image.mean() for image in images], 20 * np.arange(10), atol=2)
    assert not has_sound(tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_padded_side_repeats_its_last_line(tmp_path):
    image = np.zeros((15, 21, 3), np.uint8)
    image[-1] = image[:, -1] = 255
    write_video(tmp_path / "out.mp4", [image] * 2, 25.0)
    first = cv2.VideoCapture(str(tmp_path / "out.mp4")).read()[1]
    assert first[-1].min() > 230 and first[:, -1].min() > 230 and first[:10, :10].max() < 25


def test_a_video_states_its_colours(tmp_path):
    """Without a word players take 720 lines and more for BT.709, which makes other colours of BT.601's numbers."""
    write_video(tmp_path / "out.mp4", [np.full((64, 96, 3), (200, 40, 30), np.uint8)], 25.0)
    with open_media(tmp_path / "out.mp4") as container:
        (stream,) = container.streams
        (frame,) = decoded_frames(container, stream)
        stated = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
        assert stated == (6, 1, 1, 1), "BT.601, 16 to 235, primaries and transfer of BT.709"
        luma = frame.to_ndarray(format="yuv420p")[0, 0]
    assert luma == pytest.approx(16 + 219 / 255 * (0.299 * 200 + 0.587 * 40 + 0.114 * 30), abs=1.5)


def test_rates_of_television_are_exact(tmp_path):
    write_video(tmp_path / "out.mp4", GREYS[:3], 30000 / 1001)
    with open_media(tmp_path / "out.mp4") as container:
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)


def test_sound_starts_where_the_frames_do(beep, tmp_path):
    assert has_sound(beep)
    # 10 frames at 10 per second from 0.5 s on: half silence, half tone.
    write_video(tmp_path / "out.mp4", GREYS, 10.0, Sound(beep, 0.5))
    loud = np.abs(read_sound(tmp_path / "out.mp4"))
    # AAC comes in packets of 1024 samples.
    assert len(loud) / RATE == pytest.approx(1.0, abs=0.07)
    assert (loud > 0.1).argmax() / RATE == pytest.approx(0.5, abs=0.01)
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 10


def test_sound_that_ends_early_or_begins_late(beep, tmp_path):
    write_video(tmp_path / "short.mp4", GREYS, 10.0, Sound(beep, 1.5))
    assert len(read_sound(tmp_path / "short.mp4")) / RATE == pytest.approx(0.5, abs=0.07)
    write_video(tmp_path / "late.mp4", GREYS, 10.0, Sound(beep, -0.3))
    loud = np.abs(read_sound(tmp_path / "late.mp4"))
    assert len(loud) / RATE == pytest.approx(1.0, abs=0.07) and loud.max() < 0.01
    write_video(tmp_path / "over.mp4", GREYS, 10.0, Sound(beep, 5.0))
    with open_media(tmp_path / "over.mp4") as container:
        assert container.streams.video[0].frames == 10


def test_sound_of_a_video_is_counted_from_its_first_frame(tmp_path):
    """The images begin 0.4 s after the sound: what is heard at second 1 belongs to the frame at 0.6 s."""
    write_video(tmp_path / "silent.mp4", GREYS, 10.0)
    late = tmp_path / "late.mkv"
    with av.open(str(late), "w") as output, open_media(tmp_path / "silent.mp4") as container:
        images = output.add_stream_from_template(container.streams.video[0])
        audio = output.add_stream("aac", rate=RATE, layout="mono")
        for packet in container.demux(container.streams.video[0]):
            if packet.dts is not None:
                packet.pts += round(0.4 / packet.time_base)
                packet.dts += round(0.4 / packet.time_base)
                packet.stream = images
                output.mux(packet)
        frame = av.AudioFrame.from_ndarray(tone(1.4, begin=1.0)[None], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        output.mux(audio.encode(frame))
        output.mux(audio.encode(None))
    write_video(tmp_path / "out.mp4", GREYS, 10.0, Sound(late, 0.0))
    loud = np.abs(read_sound(tmp_path / "out.mp4"))
    assert (loud > 0.1).argmax() / RATE == pytest.approx(0.6, abs=0.01)


def test_stereo_and_sample_rates_that_aac_lacks(tmp_path):
    with av.open(str(tmp_path / "odd.wav"), "w") as output:
        audio = output.add_stream("pcm_s16le", rate=10_000, layout="stereo")
        left = np.stack([0.5 * np.sin(np.arange(10_000) / 3), np.zeros(10_000)]).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(left, "fltp", "stereo")
        frame.sample_rate = 10_000
        output.mux(audio.encode(frame))
    write_video(tmp_path / "out.mp4", GREYS, 10.0, Sound(tmp_path / "odd.wav", 0.0))
    with open_media(tmp_path / "out.mp4") as container:
        stream = container.streams.audio[0]
        assert (stream.rate, stream.channels) == (48_000, 2)
        level = np.concatenate([frame.to_ndarray() for frame in decoded_frames(container, stream)], axis=1).std(1)
    assert level[0] > 0.3 > 0.01 > level[1]


def test_sound_that_changes_its_format_goes_on(tmp_path):
    """MP3 files can be put together from mono and stereo parts."""
    parts = [tmp_path / "mono.mp3", tmp_path / "stereo.mp3"]
    for path, layout in zip(parts, ("mono", "stereo")):
        with av.open(str(path), "w") as output:
            stream = output.add_stream("libmp3lame", rate=RATE, layout=layout)
            samples = np.repeat(tone(1.0)[None], stream.channels, axis=0)
            frame = av.AudioFrame.from_ndarray(samples, "fltp", layout)
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(b"".join(path.read_bytes() for path in parts))
    write_video(tmp_path / "a.mp4", [np.zeros((16, 16, 3), np.uint8)] * 50, 25.0, Sound(joined, 0.0))
    heard = np.abs(read_sound(tmp_path / "a.mp4"))
    assert heard[: RATE // 2].max() > 0.3 and heard[RATE + RATE // 2 : 2 * RATE - RATE // 8].max() > 0.3


def test_a_gap_in_the_sound_stays_a_gap(tmp_path):
    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for second in (0, 2):
            frame = av.AudioFrame.from_ndarray((tone(1.0) * 32767).astype(np.int16)[None], "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, second * RATE, Fraction(1, RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    write_video(tmp_path / "a.mp4", [np.zeros((16, 16, 3), np.uint8)] * 75, 25.0, Sound(path, 0.0))
    heard = np.abs(read_sound(tmp_path / "a.mp4"))
    loud = [heard[int(at * RATE) : int(at * RATE) + RATE // 4].max() > 0.1 for at in (0.4, 1.4, 2.4)]
    assert loud == [True, False, True]


def test_a_gap_of_days_needs_no_memory(tmp_path):
    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for second in (0, 400_000):
            frame = av.AudioFrame.from_ndarray((tone(1.0) * 32767).astype(np.int16)[None], "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, second * RATE, Fraction(1, RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    tracemalloc.start()
    write_video(tmp_path / "a.mp4", [np.zeros((16, 16, 3), np.uint8)] * 50, 25.0, Sound(path, 0.0))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 50e6


def test_failures_leave_nothing_behind(tmp_path):
    (tmp_path / "noise.mp3").write_bytes(b"no sound at all")
    assert not has_sound(tmp_path / "noise.mp3")
    with pytest.raises(UserError, match="out.mp4 could not be written .*; check the disk and the sound's file"):
        write_video(tmp_path / "out.mp4", GREYS, 10.0, Sound(tmp_path / "noise.mp3", 0.0))

    def broken():
        yield GREYS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "out.mp4", broken(), 10.0)
    assert [path.name for path in tmp_path.iterdir()] == ["noise.mp3"]


def test_a_build_without_the_encoders_is_reported(monkeypatch):
    check_encoders()
    monkeypatch.setattr(video_writing.av, "codecs_available", {"h264", "aac"})
    with pytest.raises(UserError, match=r"this build of PyAV lacks the encoder libx264, .*pip install .* av\."):
        check_encoders()


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{sound}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile beep.wav\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_file_that_names_other_files_has_no_sound(beep, tmp_path, kind):
    """A playlist called a video would have FFmpeg open whatever its author likes."""
    audio = beep if kind == "concat" else write_sound(tmp_path / "beep.ts", tone(2.0))
    assert has_sound(audio)
    trap = tmp_path / "clip.mp4"
    trap.write_text(PLAYLISTS[kind].format(sound=audio))
    assert not has_sound(trap)
    with pytest.raises(UserError, match="could not be written"):
        write_video(tmp_path / "out.mp4", GREYS, 10.0, Sound(trap, 0.0))


def test_names_are_no_addresses(beep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("concat:beep.wav|beep.wav", "http:a.wav", "-y.wav"):
        beep.rename(name)
        beep = Path(name)
        assert has_sound(beep)
        write_video(Path(f"{name}.mp4"), GREYS, 10.0, Sound(beep, 0.0))
        assert has_sound(Path(f"{name}.mp4"))
