"""When the rows of a recording are: timecodes, columns of time, rates that the user gives, and locales."""

import json

import numpy as np
import pytest
from expression_files import write_face_cap, write_live_link

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.tracks import read_expression_track
from nerfblendshape_ns.expressions.tracks.timecodes import timecode_seconds


def converted(rows, rate):
    """Timecodes as a converter computes them: seconds from milliseconds, frames from a remainder by the whole rate."""
    codes = []
    for row in range(rows):
        second = int(row * (1000 / rate)) // 1000
        codes.append(f"00:{second // 60:02d}:{second % 60:02d}:{row % round(rate):02d}.{row % 1000:03d}")
    return codes


@pytest.mark.parametrize("rate", [24.0, 48.0, 23.976, 29.97, 59.94])
def test_frames_that_step_back_are_read_at_the_implied_rate(tmp_path, rate):
    codes = converted(int(90 * rate), rate)
    (tmp_path / "a.csv").write_text(
        "Timecode,BlendShapeCount,JawOpen\n" + "".join(f"{code},61,0.5\n" for code in codes)
    )
    track = read_expression_track(tmp_path / "a.csv")
    assert track.fps == pytest.approx(rate) and len(track) == len(codes)
    np.testing.assert_allclose(track.times, np.arange(len(codes)) / rate, atol=1e-9)
    assert f"so the rows are read at the {rate:g} per second that the seconds imply" in track.notes[0]


def test_seconds_that_step_back_are_rows_out_of_order(tmp_path):
    rows = [f"00:00:{second:02d}:{frame:02d},61,0\n" for second in (0, 1, 3, 2, 4) for frame in range(24)]
    (tmp_path / "a.csv").write_text("Timecode,BlendShapeCount,JawOpen\n" + "".join(rows))
    with pytest.raises(UserError) as error:
        read_expression_track(tmp_path / "a.csv")
    assert "the time of row 73 is not after that of the row before; sort the rows by time, or give their" in str(
        error.value
    )
    assert "--expressions-fps or --source-fps" in str(error.value)
    assert read_expression_track(tmp_path / "a.csv", fps=24).fps == 24


def test_a_rate_given_overrules_every_clock(tmp_path):
    """Two rows per second by the files' own clocks, and four by the user."""
    (tmp_path / "time.csv").write_text("time,smile\n0,0\n0.5,1\n1.0,0\n")
    (tmp_path / "back.csv").write_text("time,smile\n0,0\n0.5,1\n0.4,0\n")
    np.savez(tmp_path / "times.npz", names=["smile"], values=np.zeros((3, 1)), times=[0, 0.5, 1])
    np.savez(tmp_path / "fps.npz", names=["smile"], values=np.zeros((3, 1)), fps=2.0)
    (tmp_path / "a.json").write_text(json.dumps({"exportFps": 2, "facsNames": ["smile"], "weightMat": [[0], [1], [0]]}))
    for name in ("time.csv", "back.csv", "times.npz", "fps.npz", "a.json"):
        track = read_expression_track(tmp_path / name, fps=4)
        assert track.fps == 4
        np.testing.assert_allclose(track.times, [0, 0.25, 0.5])
        said = f"{name}: the rate given, 4 rows per second, overrules the file's own clock."
        assert (said in track.notes) == (name != "fps.npz")
    for name in ("time.csv", "times.npz", "fps.npz", "a.json"):
        assert read_expression_track(tmp_path / name).fps == 2
    write_face_cap(tmp_path / "cap.txt")
    np.testing.assert_allclose(read_expression_track(tmp_path / "cap.txt", fps=60).times, np.arange(40) / 60)
    write_live_link(tmp_path / "take.csv", rows=120, faceless=(0, 1))
    assert read_expression_track(tmp_path / "take.csv", fps=30).duration == pytest.approx(119 / 30)


def test_a_rate_that_agrees_is_not_worth_a_note(tmp_path):
    write_live_link(tmp_path / "take.csv")
    assert read_expression_track(tmp_path / "take.csv", fps=60).notes == ()


def test_drop_frame_timecodes_by_hand(tmp_path):
    """After 00:00:59;29 comes 00:01:00;02, one frame of 29.97 later; every tenth minute nothing is left out."""
    times, notes = timecode_seconds(["00:00:59;29", "00:01:00;02", "00:09:59;29", "00:10:00;00"], tmp_path)
    frame = 1001 / 30000
    np.testing.assert_allclose(np.diff(times)[[0, 2]], frame, atol=1e-9)
    assert times[0] == pytest.approx(1799 * frame) and times[3] == pytest.approx(17982 * frame) and notes == []
    fast, _ = timecode_seconds(["00:00:59;59", "00:01:00;04"], tmp_path)
    np.testing.assert_allclose(np.diff(fast), 1001 / 60000, atol=1e-9)
    # A row a second, whose frame numbers would fit 24 a second too; there are no drop-frame timecodes of that rate.
    sparse, _ = timecode_seconds(["00:00:00;00", "00:00:01;10", "00:00:02;20"], tmp_path)
    np.testing.assert_allclose(sparse, [0, 40 * frame, 80 * frame], atol=1e-9)


@pytest.mark.parametrize(
    ("codes", "seconds"),
    [
        (("01:00:00.15", "01:00:00.29", "01:00:02.00"), (0, 14 / 30, 1.5)),
        (("01:00:00.15", "01:00:00.96", "01:00:02.00"), (0, 0.81, 1.85)),
        (("23:59:59.500", "00:00:00.250", "00:00:01.000"), (0, 0.75, 1.5)),
    ],
    ids=["frames", "hundredths", "thousandths"],
)
def test_timecodes_with_a_point(tmp_path, codes, seconds):
    times, notes = timecode_seconds(codes, tmp_path)
    np.testing.assert_allclose(times - times[0], seconds, atol=1e-9)
    assert notes == []


def test_a_row_without_a_timecode_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("Timecode,smile\n00:00:00:15,0\n,0.5\n00:00:01:02,1\n")
    with pytest.raises(UserError, match="row 2 has the timecode '', which is not HH:MM:SS:FF; correct it."):
        read_expression_track(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("times", "word"),
    [
        ((0, 33, 67, 100), "milliseconds"),
        ((0, 33333, 66667, 100000), "microseconds"),
        ((5e9, 5.033e9, 5.067e9, 5.1e9), "nanoseconds"),
    ],
)
def test_a_timestamp_of_another_unit(tmp_path, times, word):
    (tmp_path / "a.csv").write_text("timestamp,smile\n" + "".join(f"{time},0.5\n" for time in times))
    track = read_expression_track(tmp_path / "a.csv")
    assert track.duration == pytest.approx(0.1) and f"is taken for {word}" in track.notes[0]


@pytest.mark.parametrize("header", ["Time (s)", "TIME", "Timestamp", "time_sec", "elapsed"])
def test_spellings_of_a_clock_in_seconds(tmp_path, header):
    (tmp_path / "a.csv").write_text(f"smile,{header}\n0.5,0\n0.7,0.04\n")
    track = read_expression_track(tmp_path / "a.csv")
    assert track.names == ("smile",) and track.fps == 25


def test_the_timecode_of_audio2face_is_seconds(tmp_path):
    (tmp_path / "a.csv").write_text(
        "timeCode,blendShapes.EyeBlinkLeft,blendShapes.JawOpen\n0.0,0.1,0.2\n0.0333,0.1,0.3\n"
    )
    track = read_expression_track(tmp_path / "a.csv")
    assert track.names == ("eyeBlinkLeft", "jawOpen") and track.duration == pytest.approx(0.0333)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("first", ["", "sep=;\n", "# a comment\n\n"])
def test_semicolons_and_decimal_commas(tmp_path, encoding, first):
    text = first + "time;jawOpen;eyeBlink_L\n0,0;0,25;1\n0,5;0,75;0,5\n"
    (tmp_path / "a.csv").write_text(text, encoding=encoding)
    track = read_expression_track(tmp_path / "a.csv")
    assert track.names == ("jawOpen", "eyeBlinkLeft") and track.duration == 0.5
    np.testing.assert_allclose(track.values, [[0.25, 1], [0.75, 0.5]])


def test_an_empty_time_is_reported(tmp_path):
    (tmp_path / "a.csv").write_text("time,smile\n0,0\n,1\n")
    with pytest.raises(UserError, match="time is empty in row 2; fill it in or take the row out."):
        read_expression_track(tmp_path / "a.csv")
