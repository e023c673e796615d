"""Angles and positions of the head among the columns of a file."""

import json

import numpy as np
import pytest

from nerfblendshape_ns.coefficient_names.head_columns import is_head_motion
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.tracks import read_expression_track

MOTION = """head_pitch head_yaw head_roll HeadYaw headPitch headpitch pitch Yaw roll yaw_degrees head_yaw_deg head-roll
pose_Rx pose_Ry pose_Rz pose_Tx pose_RX pose_R0 rot_x rotX headRotX HeadRotationY head_x headPosZ head_tx neck_0 pose_0
LeftEyeYaw left_eye_pitch gaze_angle_x gaze_0_x qw head_tilt head_turn cam_t0 head_rotation_w""".split()
EXPRESSION = """jaw_0 eye_0 expr_00 eyelid_1 mouthRollLower mouth_roll jaw_yaw AU01_r smile frown mouth_open left_eyelid
brow tongueOut pca_00 _neutral neutral x y t0 angry_face mood head browDownLeft eyeLookUpLeft""".split()


@pytest.mark.parametrize("name", MOTION)
def test_head_motion_is_known_by_its_name(name):
    assert is_head_motion(name)


@pytest.mark.parametrize("name", EXPRESSION)
def test_what_moves_in_a_face_is_expression(name):
    assert not is_head_motion(name)


def test_a_recorder_with_the_heads_angles_in_degrees(tmp_path):
    (tmp_path / "a.csv").write_text(
        "timestamp,head_pitch,head_yaw,mouth_open,brow\n0,-12.5,30,0.25,0.5\n0.05,-40,28,0.75,0.5\n"
    )
    track = read_expression_track(tmp_path / "a.csv")
    assert track.names == ("mouth_open", "brow") and track.fps == 20
    np.testing.assert_allclose(track.values, [[0.25, 0.5], [0.75, 0.5]])
    assert track.notes == (
        "a.csv: left out as angles or positions of head or eyes, which are no expression: head_pitch, head_yaw.",
    )


def test_head_angles_beside_arkits_names_are_said_too(tmp_path):
    """But not the nine of every Live Link Face recording."""
    (tmp_path / "a.csv").write_text("time,jawOpen,head_pitch,HeadYaw,mood\n0,0.5,30,0.1,2\n0.1,0.25,-20,0.1,3\n")
    track = read_expression_track(tmp_path / "a.csv")
    assert track.names == ("jawOpen",)
    assert track.notes == (
        "a.csv: left out as angles or positions of head or eyes, which are no expression: head_pitch.",
        "a.csv: 1 column is no ARKit coefficient and is left out: mood.",
    )


@pytest.mark.parametrize("kind", ["npz", "npy", "json"])
def test_every_kind_of_file_with_names_is_rid_of_them(tmp_path, kind):
    """Also where the others are ARKit's: the basis is then still ARKit's."""
    names, values = ["JawOpen", "head_pitch", "EyeBlink_L"], np.array([[0.5, 20.0, 0.25], [0.25, -30.0, 0.5]])
    path = tmp_path / f"a.{kind}"
    if kind == "npz":
        np.savez(path, names=names, values=values)
    elif kind == "npy":
        np.save(path, values)
        (tmp_path / "a_names.txt").write_text("\n".join(names))
    else:
        path.write_text(json.dumps({"facsNames": names, "weightMat": values.tolist()}))
    track = read_expression_track(path)
    assert track.names == ("jawOpen", "eyeBlinkLeft") and track.basis_id == "arkit52"
    np.testing.assert_allclose(track.values, values[:, [0, 2]])
    assert "angles or positions of head or eyes, which are no expression: head_pitch." in track.notes[0]


def test_a_file_of_nothing_else(tmp_path):
    np.savez(tmp_path / "a.npz", names=["pitch", "yaw"], values=np.zeros((3, 2)))
    with pytest.raises(UserError, match="a.npz holds only angles and positions of the head; give a file with coeffic"):
        read_expression_track(tmp_path / "a.npz")


def test_a_column_in_another_unit_is_pointed_out(tmp_path):
    (tmp_path / "a.csv").write_text("time,nod,smile,brow\n0,-20,0.2,0.1\n0.04,25.5,0.8,0.3\n")
    track = read_expression_track(tmp_path / "a.csv")
    assert track.names == ("nod", "smile", "brow")
    assert track.notes == (
        "a.csv: far outside the range of the other coefficients: nod (-20 to 25.5); take angles, positions and pixels "
        "out of the file, and divide percent by 100.",
    )


def test_units_of_their_own_are_none_to_point_out(tmp_path):
    """Action units run to 5, FLAME's components further, and a file may be all in percent."""
    (tmp_path / "a.csv").write_text("time,AU01_r,AU45_r\n0,5,0\n0.04,0,1\n")
    np.savez(tmp_path / "flame.npz", exp=np.linspace(-9, 9, 150).reshape(3, 50), jaw=np.full((3, 3), 0.1))
    (tmp_path / "b.csv").write_text("time,smile,frown\n0,50,20\n0.04,0,90\n")
    for name in ("a.csv", "flame.npz", "b.csv"):
        assert read_expression_track(tmp_path / name).notes == ()


@pytest.mark.parametrize("kind", ["npz", "json"])
def test_percent_is_refused_in_every_kind_of_file(tmp_path, kind):
    names, values = ["jawOpen", "eyeBlinkLeft"], [[0, 1], [87, 3]]
    if kind == "npz":
        np.savez(tmp_path / "a.npz", names=names, values=np.array(values))
    else:
        (tmp_path / "a.json").write_text(json.dumps({"facsNames": names, "weightMat": values}))
    with pytest.raises(
        UserError, match="jawOpen is 87 in row 2, but ARKit coefficients run from 0 to 1; divide percent"
    ):
        read_expression_track(tmp_path / f"a.{kind}")
