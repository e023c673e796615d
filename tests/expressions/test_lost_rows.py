"""Rows of a recording in which there is no face."""

import numpy as np
import pytest
from expression_files import write_live_link

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.tracks import read_expression_track


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("rate", [24, 30, 60])
def test_live_link_face_loses_the_face_inside(tmp_path, short, rate):
    values = write_live_link(tmp_path / "a.csv", rows=150, rate=rate, faceless=tuple(range(40, 75)), short=short)
    track = read_expression_track(tmp_path / "a.csv")
    assert track.notes == ("a.csv: 35 rows without a face are left out and interpolated over.",)
    np.testing.assert_allclose(track.at(np.array([0, 39, 75, 149]) / rate), values[[0, 39, 75, 149]], atol=1e-6)
    # Half-way through the gap of 36 intervals.
    np.testing.assert_allclose(track.at(np.array([57 / rate]))[0], (values[39] + values[75]) / 2, atol=1e-6)


@pytest.mark.parametrize("short", [True, False])
def test_what_lies_before_the_first_face_is_held(tmp_path, short):
    """90 of 300 rows at 60 per second: the first face is at 1.5 s, not at 0."""
    values = write_live_link(tmp_path / "a.csv", rows=300, faceless=tuple(range(90)), short=short)
    track = read_expression_track(tmp_path / "a.csv")
    assert track.times is not None and track.times[0] == 0 and track.duration == pytest.approx(299 / 60)
    np.testing.assert_allclose(track.at(np.array([0.0, 1.0, 1.5])), values[[90, 90, 90]], atol=1e-6)
    np.testing.assert_allclose(track.at(np.array([2.0]))[0], values[120], atol=1e-6)
    assert track.notes[0] == "a.csv: 90 rows without a face are left out and interpolated over."
    assert track.notes[1] == "a.csv: there is no face in the first 1.50 s; what is seen first is held there."


@pytest.mark.parametrize("lost", [1, 40])
def test_a_face_lost_at_the_end_is_no_cut_recording(tmp_path, lost):
    values = write_live_link(tmp_path / "a.csv", rows=300, faceless=tuple(range(300 - lost, 300)), short=True)
    track = read_expression_track(tmp_path / "a.csv")
    assert track.duration == pytest.approx(299 / 60) and "cut short" not in " ".join(track.notes)
    np.testing.assert_allclose(track.values[-1], values[299 - lost], atol=1e-6)
    assert track.notes[-1].endswith(f"no face in the last {lost / 60:.2f} s; what is seen last is held there.")


def test_a_recording_cut_inside_a_row_loses_that_row(tmp_path):
    write_live_link(tmp_path / "a.csv", rows=120, faceless=(5,), short=True)
    text = (tmp_path / "a.csv").read_text()
    (tmp_path / "a.csv").write_text(text[: text.rindex(",") - 20])
    track = read_expression_track(tmp_path / "a.csv")
    assert track.duration == pytest.approx(118 / 60)
    assert "the last row is cut short and left out" in track.notes[0]


def test_no_face_at_all(tmp_path):
    write_live_link(tmp_path / "a.csv", rows=30, faceless=tuple(range(30)), short=True)
    with pytest.raises(UserError, match="a.csv has no row with coefficients: no face was seen in any; record the face"):
        read_expression_track(tmp_path / "a.csv")


def test_openface_begins_without_a_face(tmp_path):
    """120 frames at 30 per second without success: the first face stays at 4 s."""
    lines = ["frame, face_id, timestamp, confidence, success, pose_Tx, pose_Rx, AU01_r, AU12_r"]
    for row in range(150):
        seen = int(row >= 120)
        lines.append(
            f"{row + 1}, 0, {row / 30:.3f}, {0.98 * seen}, {seen}, 1.0, 0.02, {seen * row / 100:.2f}, {seen}.0"
        )
    (tmp_path / "a.csv").write_text("\n".join(lines))
    track = read_expression_track(tmp_path / "a.csv")
    assert track.names == ("AU01_r", "AU12_r") and track.fps == pytest.approx(30, abs=0.05)
    np.testing.assert_allclose(track.at(np.array([0, 3.9, 4.0, 4.5]))[:, 0], [1.2, 1.2, 1.2, 1.35], atol=1e-3)
    assert "no face in the first 4.00 s" in track.notes[1]


@pytest.mark.parametrize("lost", ["", "nan", "NaN"])
def test_rows_of_empty_cells_have_no_face(tmp_path, lost):
    """As scripts write frames in which MediaPipe found nothing; one row per frame where there is no time."""
    cells = [lost, lost, "0.2", lost, "0.6", lost]
    (tmp_path / "a.csv").write_text("jawOpen,mouthPucker\n" + "\n".join(f"{cell},{cell}" for cell in cells))
    track = read_expression_track(tmp_path / "a.csv")
    np.testing.assert_allclose(track.values[:, 0], [0.2, 0.2, 0.2, 0.4, 0.6, 0.6], atol=1e-6)
    assert track.times is None and "no face in the first 2 rows" in track.notes[1]
    assert "no face in the last row; what is seen last" in track.notes[2]
    timed = read_expression_track(tmp_path / "a.csv", fps=10)
    np.testing.assert_allclose(timed.at(np.array([0, 0.3, 0.5]))[:, 0], [0.2, 0.4, 0.6], atol=1e-6)


@pytest.mark.parametrize(("no", "yes"), [("False", "True"), ("0.00", "1.00"), ("no", "yes")])
def test_spellings_of_a_flag(tmp_path, no, yes):
    (tmp_path / "a.csv").write_text(f"time,face_detected,smile\n0,{no},0\n0.1,{yes},0.5\n0.2,{yes},0.7\n")
    track = read_expression_track(tmp_path / "a.csv")
    np.testing.assert_allclose(track.values[:, 0], [0.5, 0.5, 0.7], atol=1e-6)
    assert track.names == ("smile",)


def test_numbered_frames_without_a_face(tmp_path):
    (tmp_path / "a.csv").write_text("frame,success,AU01_r\n1,0,0\n2,1,1\n4,1,3\n5,0,0\n")
    np.testing.assert_allclose(read_expression_track(tmp_path / "a.csv").values[:, 0], [1, 1, 2, 3, 3])
    track = read_expression_track(tmp_path / "a.csv", fps=10)
    np.testing.assert_allclose(track.times, [0, 0.1, 0.3, 0.4])
    np.testing.assert_allclose(track.values[:, 0], [1, 1, 3, 3])
