"""Arrays without names: what is said of them, and --names."""

import json

import numpy as np
import pytest

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_NAMES, MEDIAPIPE_NAMES
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.tracks import read_expression_track


def test_the_known_lists():
    """Live Link Face's order by its ends and middle, MediaPipe's by its first and last names."""
    assert ARKIT_NAMES[0] == "eyeBlinkLeft" and ARKIT_NAMES[17] == "jawOpen" and ARKIT_NAMES[51] == "tongueOut"
    assert ARKIT_NAMES[15:17] == ("jawRight", "jawLeft") and ARKIT_NAMES[21:23] == ("mouthRight", "mouthLeft")
    assert len(MEDIAPIPE_NAMES) == 52 and MEDIAPIPE_NAMES[:3] == ("_neutral", "browDownLeft", "browDownRight")
    assert MEDIAPIPE_NAMES[25] == "jawOpen" and MEDIAPIPE_NAMES[-1] == "noseSneerRight"


def test_52_columns_without_names_can_be_named(tmp_path):
    values = np.random.default_rng(0).uniform(0, 1, (9, 52)).astype(np.float32)
    path = tmp_path / "bs.npy"
    np.save(path, values)
    track = read_expression_track(path)
    assert track.basis_id == "custom" and track.unnamed
    assert track.notes == (
        "bs.npy: its 52 columns have no names, and only columns in the same order can drive or be driven; 52 are often "
        "ARKit's or MediaPipe's coefficients in their order, which --names arkit52 or --names mediapipe52 says.",
    )
    for choice, names in (("arkit52", ARKIT_NAMES), ("mediapipe52", MEDIAPIPE_NAMES)):
        named = read_expression_track(path, fps=25, names=choice)
        assert (named.names, named.basis_id, named.notes, named.fps) == (names, "arkit52", (), 25)
        np.testing.assert_array_equal(named.values, values)


@pytest.mark.parametrize("kind", ["npz", "json"])
def test_other_files_without_names(tmp_path, kind):
    values = np.random.default_rng(0).uniform(0, 1, (9, 52)).round(3)
    if kind == "npz":
        np.savez(tmp_path / "a.npz", exp=values)
    else:
        (tmp_path / "a.json").write_text(json.dumps({"exportFps": 30, "weightMat": values.tolist()}))
    assert "--names arkit52" in read_expression_track(tmp_path / f"a.{kind}").notes[0]
    named = read_expression_track(tmp_path / f"a.{kind}", names="arkit52")
    assert named.names == ARKIT_NAMES and named.fps == (30 if kind == "json" else None)


def test_angles_behind_the_52(tmp_path):
    """NeuroSync's 61 columns: Live Link Face's coefficients and angles."""
    values = np.random.default_rng(0).uniform(0, 1, (9, 61)).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    assert "its 61 columns have no names" in read_expression_track(tmp_path / "a.npy").notes[0]
    track = read_expression_track(tmp_path / "a.npy", names="arkit52")
    np.testing.assert_array_equal(track.values, values[:, :52])
    assert track.names == ARKIT_NAMES and "the last 9 columns are taken for angles of head and eyes" in track.notes[0]


@pytest.mark.parametrize("shape", [(9, 1, 52), (1, 9, 52)])
def test_batch_axes_of_one(tmp_path, shape):
    values = np.random.default_rng(0).uniform(0, 1, (9, 52)).astype(np.float32)
    np.save(tmp_path / "a.npy", values.reshape(shape))
    np.testing.assert_array_equal(read_expression_track(tmp_path / "a.npy", names="arkit52").values, values)


def test_a_leading_neutral_one_is_no_column(tmp_path):
    np.save(tmp_path / "a.npy", np.concatenate([np.ones((9, 1)), np.full((9, 52), 0.5)], 1))
    assert read_expression_track(tmp_path / "a.npy", names="arkit52").names == ARKIT_NAMES


def test_other_unnamed_columns_are_reported_too(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((9, 17)))
    assert (
        read_expression_track(tmp_path / "a.npy")
        .notes[0]
        .endswith("can drive or be driven; write their names to a_names.txt beside an .npy, one per line.")
    )
    np.save(tmp_path / "b.npy", np.zeros((9, 79)))
    assert read_expression_track(tmp_path / "b.npy").notes == ()


def test_names_that_do_not_fit(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((9, 50)))
    with pytest.raises(UserError, match="a.npy has 50 columns, but --names arkit52 names 52; leave it out, or take"):
        read_expression_track(tmp_path / "a.npy", names="arkit52")
    np.save(tmp_path / "b.npy", np.full((9, 52), 40.0))
    with pytest.raises(UserError, match="eyeBlinkLeft is 40 in row 1, but ARKit coefficients run from 0 to 1"):
        read_expression_track(tmp_path / "b.npy", names="arkit52")
    (tmp_path / "c.csv").write_text("time,smile,frown\n0,0,0\n1,1,1\n")
    with pytest.raises(UserError, match=r"c.csv names its columns \(smile, frown, …\); leave --names mediapipe52 out"):
        read_expression_track(tmp_path / "c.csv", names="mediapipe52")
