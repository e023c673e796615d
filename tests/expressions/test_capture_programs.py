"""Audio2Face's JSON, iFacialMocap's text, and Face Cap's lines of information."""

import json

import numpy as np
import pytest
from expression_files import wave, write_face_cap

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.tracks import read_expression_track

VALUES = wave(np.arange(12) / 30, 3).round(4)
NAMES = ["jawOpen", "eyeBlinkLeft", "mouthSmileRight"]


@pytest.mark.parametrize("rate", [24, 30.0, 60])
@pytest.mark.parametrize("keys", [("facsNames", "weightMat", "exportFps"), ("names", "weights", "fps")])
def test_audio2face(tmp_path, rate, keys):
    names, rows, fps = keys
    document = {
        fps: rate,
        "trackPath": "hello.wav",
        "numPoses": 3,
        "numFrames": 12,
        names: NAMES,
        rows: VALUES.tolist(),
    }
    (tmp_path / "a.json").write_text(json.dumps(document), encoding="utf-8-sig")
    track = read_expression_track(tmp_path / "a.json")
    assert (track.names, track.basis_id, track.fps, track.notes) == (tuple(NAMES), "arkit52", rate, ())
    np.testing.assert_allclose(track.values, VALUES, atol=1e-7)
    np.testing.assert_allclose(track.times, np.arange(12) / rate)


def test_audio2face_without_rate_or_names(tmp_path):
    """46 weights of its default face are no coefficients of FaceWarehouse."""
    (tmp_path / "a.json").write_text(json.dumps({"weightMat": np.full((5, 46), 0.5).tolist()}))
    track = read_expression_track(tmp_path / "a.json")
    assert track.times is None and track.basis_id == "custom" and "46 columns have no names" in track.notes[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"weightMat": [[0.1], [0.2', "a.json is not valid JSON"),
        ('{"weightMat": [[0.1], [0.2, 0.3]]}', "weightMat is not one row of numbers per frame"),
        ('{"weightMat": []}', "weightMat is not one row of numbers per frame"),
        ('["weightMat"]', "weightMat is not one row of numbers per frame"),
        ('{"weightMat": [[0.1]], "exportFps": "sixty"}', "exportFps is 'sixty', which is no rate; correct it"),
        ('{"weightMat": [[0.1]], "facsNames": "jawOpen"}', "facsNames is no list of names"),
        ('{"weightMat": [[0.1]], "facsNames": ["a", "b"]}', "has 1 coefficients but 2 names"),
        ('{"other": 1}', "is of no known kind of expression coefficients"),
    ],
)
def test_wrong_json(tmp_path, text, expected):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError) as error:
        read_expression_track(tmp_path / "a.json")
    assert expected in str(error.value) and "a.json" in str(error.value) and str(error.value).endswith(".")


@pytest.mark.parametrize("joint", ["-", "&"])
def test_ifacialmocap(tmp_path, joint):
    """Percent, angles behind the equals sign, and no time."""
    lines = [
        f"faceTrackingStatus{joint}1|jawOpen{joint}{jaw}|eyeBlink_L{joint}5|=head#-21.4,-6.2,-1.1,0.09|rightEye#6.0,2.4,0.3|"
        for jaw in (0, 50, 100)
    ]
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n")
    track = read_expression_track(tmp_path / "a.txt", fps=60)
    assert (track.names, track.basis_id, track.fps) == (("jawOpen", "eyeBlinkLeft"), "arkit52", 60)
    np.testing.assert_allclose(track.values, [[0, 0.05], [0.5, 0.05], [1, 0.05]])
    (tmp_path / "a.txt").write_text(lines[0] + "\njawOpen\n")
    with pytest.raises(UserError, match="a.txt: line 2 is not NAME-PERCENT|… with the first line's names; take it out"):
        read_expression_track(tmp_path / "a.txt")


def test_ifacialmocap_names_more_than_arkit_does(tmp_path):
    (tmp_path / "a.txt").write_text("trackingStatus-1|jawOpen-50|hapihapi-0|=head#0,0,0|\n")
    track = read_expression_track(tmp_path / "a.txt")
    assert (track.names, track.basis_id, track.values.tolist()) == (("jawOpen",), "arkit52", [[0.5]])
    (tmp_path / "a.txt").write_text("grin-50|frown-0|\n")
    assert read_expression_track(tmp_path / "a.txt").names == ("grin", "frown")


def test_ifacialmocap_with_spaces_and_numbers_in_exponent_form(tmp_path):
    frames = ("jawOpen - 2.5e-05 | eyeBlink_L - 1E+1 |= head # 0, 3.0, 0 |", "jawOpen-50|eyeBlink_L-5|")
    (tmp_path / "a.txt").write_text("\n".join(frames))
    track = read_expression_track(tmp_path / "a.txt", fps=60)
    assert track.names == ("jawOpen", "eyeBlinkLeft")
    np.testing.assert_allclose(track.values, [[2.5e-7, 0.1], [0.5, 0.05]], rtol=1e-6)
    (tmp_path / "a.txt").write_text("faceTrackingStatus-1|headTrackingStatus-1|\n")
    with pytest.raises(UserError, match="a.txt has no line with coefficients; record it again"):
        read_expression_track(tmp_path / "a.txt")


@pytest.mark.parametrize("infos", [0, 1, 4, 40])
@pytest.mark.parametrize("suffix", ["txt", "csv"])
def test_face_cap_with_any_number_of_info_lines(tmp_path, infos, suffix):
    values = write_face_cap(tmp_path / "a.txt")
    lines = (tmp_path / "a.txt").read_text().splitlines()[1:]
    text = "\n".join([*(f"info,note {number},x" for number in range(infos)), *lines])
    (tmp_path / f"b.{suffix}").write_text(text, encoding="utf-8-sig")
    track = read_expression_track(tmp_path / f"b.{suffix}")
    assert track.basis_id == "arkit52"
    np.testing.assert_allclose(track.values, values, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "info\nbs,jawOpen\nk,0,1,2", r"a.txt has moments \(k,…\) without coefficients; export the recording"),
        ("a.csv", "frame,jawOpen\n2,0.5\n1e38,0.5", r"a.csv: its frame numbers go from 2 to 1e\+38; correct them\.$"),
        ("a.csv", "frame,jawOpen\n0,0\n2000000,0", r"a.csv: its frame numbers go from 0 to 2e\+06; correct them\.$"),
    ],
)
def test_recordings_that_cannot_be_are_refused_in_a_sentence(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_expression_track(tmp_path / name)
