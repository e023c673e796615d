import json

import numpy as np
import pytest
import torch
from expression_files import wave, write_face_cap, write_live_link, write_metrical

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_NAMES, arkit_name
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.tracks import READERS, make_track, read_expression_track
from nerfblendshape_ns.expressions.tracks.timecodes import timecode_seconds


def test_arkit_names_in_every_spelling():
    assert len(ARKIT_NAMES) == len(set(ARKIT_NAMES)) == 52
    for name in ARKIT_NAMES:
        assert arkit_name(name) == arkit_name(name[0].upper() + name[1:]) == name
    assert arkit_name("eyeBlink_L") == "eyeBlinkLeft" and arkit_name("Mouth Smile Right") == "mouthSmileRight"
    # The sideways jaw is no side of a pair.
    assert arkit_name("jaw_left") == "jawLeft" and arkit_name("_neutral") == "_neutral"
    assert arkit_name("HeadYaw") is None and arkit_name("cheekPuff_X") is None


def test_live_link_face(tmp_path):
    values = write_live_link(tmp_path / "take.csv")
    track = read_expression_track(tmp_path / "take.csv")
    assert track.names == ARKIT_NAMES and track.basis_id == "arkit52" and track.notes == ()
    assert track.fps == pytest.approx(60, abs=0.001) and track.values.dtype == np.float32
    np.testing.assert_allclose(track.values, values, atol=1e-7)
    np.testing.assert_allclose(track.times, np.arange(150) / 60, atol=1e-9)


def test_live_link_face_over_midnight_with_lost_faces(tmp_path):
    """Starts at 23:59:59; rows 20 to 29 are without a face and are interpolated over."""
    values = write_live_link(tmp_path / "take.csv", start=86399, faceless=tuple(range(20, 30)))
    track = read_expression_track(tmp_path / "take.csv")
    assert len(track) == 140 and "10 rows without a face" in track.notes[0]
    assert track.times[19] == pytest.approx(19 / 60) and track.times[20] == pytest.approx(30 / 60)
    assert track.duration == pytest.approx(149 / 60)
    # Half-way through the gap of 11 intervals.
    middle = track.at(np.array([24.5 / 60]))[0]
    np.testing.assert_allclose(middle, (values[19] + values[30]) / 2, atol=1e-6)


@pytest.mark.parametrize(("rate", "expected"), [(24, 24), (25, 25), (30, 30), (60, 60)])
def test_the_timecodes_rate_is_found(tmp_path, rate, expected):
    write_live_link(tmp_path / "take.csv", rows=2 * rate, rate=rate)
    assert read_expression_track(tmp_path / "take.csv").fps == pytest.approx(expected, abs=0.001)


def test_timecodes_by_hand(tmp_path):
    # 1:02:03 and 15 frames of 30: 3723.5 s; drop-frame semicolons; a subframe is part of a frame.
    times, _ = timecode_seconds(["01:02:03:15", "01:02:04;00", "01:02:04:29.5"], tmp_path)
    np.testing.assert_allclose(times, [3723.5, 3724.0, 3724 + 29.5 / 30])
    # Less than a second cannot tell its rate: Live Link Face's own.
    np.testing.assert_allclose(np.diff(timecode_seconds(["00:00:00:10", "00:00:00:11"], tmp_path)[0]), [1 / 60])


def test_resampling_to_the_video(tmp_path):
    write_live_link(tmp_path / "take.csv")
    track = read_expression_track(tmp_path / "take.csv")
    np.testing.assert_allclose(track.at(np.arange(63) / 25), wave(np.arange(63) / 25, 52), atol=4e-4)
    held = track.at(np.array([-5.0, 99.0]))
    np.testing.assert_array_equal(held, track.values[[0, -1]])


def test_other_tables(tmp_path):
    """OpenFace with its blanks after commas, frame numbers with a gap, semicolons, and a table of unknown names."""
    path = tmp_path / "table.csv"
    path.write_text(
        "frame, face_id, timestamp, confidence, success, AU01_r, AU45_r, AU45_c\n"
        "1, 0, 0.000, 0.98, 1, 0.5, 2.0, 1\n2, 0, 0.033, 0.1, 0, 0.0, 0.0, 0\n3, 0, 0.067, 0.98, 1, 1.5, 0.0, 0\n"
    )
    track = read_expression_track(path)
    assert track.names == ("AU01_r", "AU45_r") and track.basis_id == "openface_au"
    np.testing.assert_allclose(track.values, [[0.5, 2.0], [1.5, 0.0]])
    np.testing.assert_allclose(track.times, [0, 0.067])
    path.write_text("frame;jawOpen;mouth_smile_l;mood\n4;0.0;1;9\n5;0.2;1;9\n8;0.8;0;9\n")
    track = read_expression_track(path)
    assert track.names == ("jawOpen", "mouthSmileLeft") and track.fps is None and track.times is None
    np.testing.assert_allclose(track.values[:, 0], [0, 0.2, 0.4, 0.6, 0.8], atol=1e-7)
    assert "mood" in track.notes[0]
    np.testing.assert_allclose(read_expression_track(path, fps=25).times, [0, 0.04, 0.16])
    path.write_text("time_ms,smile,frown\n0,-1,2\n40,0,3\n")
    track = read_expression_track(path)
    assert (track.names, track.basis_id, track.fps) == (("smile", "frown"), "custom", 25)
    path.write_text("\ufefftime,smile\n0,1\n0.5,2\n1.0", encoding="utf-8")
    track = read_expression_track(path)
    assert len(track) == 2 and "cut short" in track.notes[0]


def test_face_cap(tmp_path):
    values = write_face_cap(tmp_path / "take.txt")
    track = read_expression_track(tmp_path / "take.txt")
    assert track.names == ("jawOpen", "eyeBlinkLeft", "mouthSmileRight") and track.basis_id == "arkit52"
    np.testing.assert_allclose(track.values, values, atol=1e-6)
    assert track.times[1] == pytest.approx(19.667e-3, abs=1e-5) and track.duration == pytest.approx(0.653, abs=1e-3)


def test_arrays_with_names_beside_them(tmp_path):
    values = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    np.save(tmp_path / "expr.npy", values)
    (tmp_path / "expr_names.json").write_text(json.dumps({"basis": "mine", "names": ["smile", "frown"]}))
    track = read_expression_track(tmp_path / "expr.npy")
    assert (track.names, track.basis_id, track.fps) == (("smile", "frown"), "mine", None)
    np.testing.assert_array_equal(track.values, values)
    with pytest.raises(UserError, match="says nothing of time"):
        track.at(np.zeros(1))
    assert track.with_fps(25).duration == pytest.approx(8 / 25)
    (tmp_path / "expr_names.json").unlink()
    (tmp_path / "expr_names.txt").write_text("\ufeffJawOpen\nEyeBlink_L\n", encoding="utf-8")
    track = read_expression_track(tmp_path / "expr.npy", fps=30)
    assert (track.names, track.basis_id, track.fps) == (("jawOpen", "eyeBlinkLeft"), "arkit52", 30)


@pytest.mark.parametrize(("columns", "basis"), [(46, "facewarehouse46"), (79, "bfm79"), (64, "bfm64"), (55, "custom")])
@pytest.mark.parametrize("leading", [False, True])
def test_arrays_without_names(tmp_path, columns, basis, leading):
    """The size decides the basis, and a leading neutral 1 is left out."""
    values = np.random.default_rng(0).normal(size=(9, columns)).astype(np.float32)
    np.save(tmp_path / "coefficients.npy", np.concatenate([np.ones((9, int(leading)), np.float32), values], 1))
    track = read_expression_track(tmp_path / "coefficients.npy")
    assert track.basis_id == basis and track.names[0] == "expr_00" and len(track.notes) == leading + (basis == "custom")
    np.testing.assert_array_equal(track.values, values)


def test_a_named_coefficient_that_stays_at_1_is_no_neutral_one(tmp_path):
    (tmp_path / "a.csv").write_text("eyeBlinkLeft,jawOpen\n1,0\n1,0.5\n")
    track = read_expression_track(tmp_path / "a.csv")
    assert (track.names, track.notes) == (("eyeBlinkLeft", "jawOpen"), ())
    (tmp_path / "a.csv").write_text("_neutral,jawOpen\n1,0\n1,0.5\n")
    assert read_expression_track(tmp_path / "a.csv").names == ("jawOpen",)


def test_flame_archives(tmp_path):
    random = np.random.default_rng(0)
    components, jaw = random.normal(size=(7, 50)), random.normal(0, 0.1, (7, 3))
    np.savez(tmp_path / "flame.npz", expr=components, jaw_pose=jaw, rotation=np.zeros((7, 3)))
    track = read_expression_track(tmp_path / "flame.npz", fps=25)
    assert track.basis_id == "flame" and track.names[49:] == ("expr_49", "jaw_0", "jaw_1", "jaw_2")
    np.testing.assert_allclose(track.values, np.concatenate([components, jaw], 1), atol=1e-6)
    assert track.values.min() < -1


def test_bfm_track_of_radnerf(tmp_path):
    components = torch.randn(7, 79, generator=torch.Generator().manual_seed(0))
    torch.save({"exp": components, "euler": torch.zeros(7, 3)}, tmp_path / "track_params.pt")
    track = read_expression_track(tmp_path / "track_params.pt", fps=25)
    assert track.basis_id == "bfm79" and track.names[78] == "expr_78"
    np.testing.assert_array_equal(track.values, components.numpy())


def test_named_archive_with_its_own_clock(tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.savez(tmp_path / "a.npz", names=["jawOpen", "x"], values=values, times=[5.0, 5.1, 5.4], basis="rig")
    track = read_expression_track(tmp_path / "a.npz")
    assert (track.names, track.basis_id) == (("jawOpen", "x"), "rig")
    np.testing.assert_allclose(track.times, [0, 0.1, 0.4])


def test_metrical_tracker(tmp_path):
    components = write_metrical(tmp_path / "actor")
    for path in (tmp_path / "actor", tmp_path / "actor" / "checkpoint"):
        track = read_expression_track(path, fps=25)
        assert track.basis_id == "flame" and len(track.names) == 100 + 6 + 2 + 12
        np.testing.assert_array_equal(track.values[:, :100], components)
        # Jaw and eyes at rest are 0; the eyelids are as they are.
        np.testing.assert_array_equal(track.values[:, 100:106], 0)
        np.testing.assert_array_equal(track.values[:, 106:108], 0.25)
        np.testing.assert_array_equal(track.values[:, 108:], 0)


def test_flame_text_folder(tmp_path):
    for number in (1, 2, 10):
        (tmp_path / "exp").mkdir(exist_ok=True)
        (tmp_path / "exp" / f"{number}.txt").write_text(f"{number}.5\n-1\n")
    track = read_expression_track(tmp_path)
    np.testing.assert_array_equal(track.values, [[1.5, -1], [2.5, -1], [10.5, -1]])


def test_every_source_says_what_it_is():
    for name, source in READERS.items():
        assert source.name == name and source.looked_for and source.__doc__


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, np.ndarray):
        np.save(path, content, allow_pickle=True)
    elif isinstance(content, dict):
        torch.save(content, path) if path.suffix in (".pt", ".frame") else np.savez(path, **content)
    else:
        path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)


WRONG_FILES = [
    ("a.txt", "hello", "is of no known kind of expression coefficients (array: NAME.npy"),
    ("a.npy", b"x", "is not a plain numeric .npy file"),
    ("a.npy", np.array([{}], dtype=object), "is not a plain numeric .npy file"),
    ("a.npy", np.zeros(5), "holds no [frames, coefficients] table but shape (5,)"),
    ("a.npy", np.zeros((0, 5)), "holds no [frames, coefficients] table but shape (0, 5)"),
    ("a.npy", np.zeros((3, 2), dtype=complex), "holds complex128 values where coefficients are numbers"),
    ("a.npy", np.array([[0, np.nan], [1, 2]]), "1 values that are not finite, the first in row 0, expr_01"),
    ("a.npz", b"x", "cannot be read as plain arrays"),
    ("a.npz", {"pose": np.zeros(3)}, "holds pose but neither names and values nor expression parameters"),
    ("a.npz", {"names": ["a"], "values": np.zeros((3, 2))}, "has 2 coefficients but 1 names"),
    ("a.npz", {"names": ["a", "a"], "values": np.zeros((3, 2))}, "names a more than once"),
    ("a.npz", {"names": ["a"], "values": np.zeros((3, 1)), "times": [0, 2, 1]}, "the time of row 2 is not after"),
    ("a.npz", {"exp": np.zeros((3, 50)), "jaw": np.zeros((4, 3))}, "different numbers of frames"),
    ("a.npz", {"names": ["a"], "values": np.zeros((3, 1)), "fps": 0.0}, "0 frames per second is no rate"),
    ("a.pt", b"x", "cannot be read as plain arrays"),
    ("a.pt", {"exp": pytest.raises}, "cannot be read as plain arrays"),
    ("a.csv", "", "a.csv is empty"),
    ("a.csv", "jawOpen,x\n", "has column names but no rows"),
    ("a.csv", "1,2\n3,4\n", "has numbers in its first line"),
    ("a.csv", b"\xff\xfe\x00", "cannot be read as text"),
    ("a.csv", "time,jawOpen\n0,a\n1,2\n", "jawOpen is 'a' in row 1, which is no number"),
    ("a.csv", "time,jawOpen\n0,0\n1\n2,0\n", "row 2 has 1 cells, not 2"),
    ("a.csv", "time,jawOpen\n0,0\n0,1\n", "the time of row 2 is not after"),
    ("a.csv", "frame,jawOpen\n1,0\n1,1\n", "the frame number of row 2 is not above"),
    ("a.csv", "time,jawOpen\n0,0\n1,87\n", "jawOpen is 87 in row 2, but ARKit coefficients run from 0 to 1"),
    ("a.csv", "Timecode,jawOpen\n1:2:3,0\n1:2:4,1\n", "row 1 has the timecode '1:2:3', which is not HH:MM:SS:FF"),
    ("a.csv", "Timecode,BlendShapeCount,JawOpen\n0:0:0:1,0,\n0:0:0:2,0,\n", "has no row with coefficients"),
    ("a.csv", "time,who\n0,me\n1,you\n", "has no column of coefficients; its columns are time, who"),
    ("a.csv", "time,jawOpen,JawOpen\n0,0,0\n1,0,0\n", "names jawOpen more than once"),
    ("a.txt", "bs,jawOpen\n", "has no recorded moment (k,…)"),
    ("a.txt", "info\nk,0,1,2\n", "has no line of names (bs,…)"),
    ("a.txt", "bs,jawOpen\nk,0,x\n", "line 2 holds something else than numbers"),
    ("a.txt", "bs,jawOpen\n" + "k,0" + ",0" * 11 + "\nk,1,0\n", "line 3 has 2 numbers, not 12"),
    ("a.txt", "bs,jawOpen\n" + "k,0" + ",0" * 12 + "\n", "has 2 coefficients but 1 names"),
    ("a/exp/1.txt", "one", "1.txt does not hold numbers alone"),
    ("a/checkpoint/1.frame", {"camera": torch.zeros(3)}, "holds no FLAME parameters under 'flame'"),
    ("a/notes.md", "x", "is of no known kind"),
]


@pytest.mark.parametrize(("name", "content", "expected"), WRONG_FILES)
def test_wrong_files_have_their_own_messages(tmp_path, name, content, expected):
    write(tmp_path / name, content)
    with pytest.raises(UserError) as error:
        read_expression_track(tmp_path / name.split("/")[0])
    text = str(error.value)
    assert expected in text and str(tmp_path) in text or "no rate" in text
    assert "\n" not in text and text.endswith(".")


def test_missing_and_wrong_names(tmp_path):
    with pytest.raises(UserError, match="nothing.csv does not exist"):
        read_expression_track(tmp_path / "nothing.csv")
    np.save(tmp_path / "e.npy", np.zeros((3, 2)))
    for text, expected in (
        ('["a"]', "has 2 coefficients but 1 names"),
        ("{}", "holds no list of names"),
        ("{", "is not valid JSON"),
    ):
        (tmp_path / "e_names.json").write_text(text)
        with pytest.raises(UserError, match=expected):
            read_expression_track(tmp_path / "e.npy")


def test_rates_are_checked(tmp_path):
    for fps in (0, -1, float("nan")):
        with pytest.raises(UserError, match="is no rate"):
            make_track(tmp_path, ["a"], np.zeros((3, 1)), "custom", fps=fps)


@pytest.mark.parametrize("fps", [None, 30.0])
def test_a_table_of_several_faces_is_refused(tmp_path, fps):
    """OpenFace's FaceLandmarkVidMulti writes a row for each face of a frame."""
    (tmp_path / "a.csv").write_text("frame, face_id, timestamp, AU01_r\n1, 0, 0.0, 1\n1, 2, 0.0, 5\n2, 0, 0.03, 1\n")
    with pytest.raises(UserError, match=r"rows of several faces \(face_id 0, 2\); take out all but one face's"):
        read_expression_track(tmp_path / "a.csv", fps=fps)


def test_a_cell_that_is_too_long_is_told(tmp_path):
    path = tmp_path / "face.csv"
    path.write_text("jawOpen,jawLeft\n" + "1" * 140_000 + ",0\n")
    with pytest.raises(UserError, match=r"face\.csv cannot be read as a table \(field larger .*\); export"):
        read_expression_track(path)
