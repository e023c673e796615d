"""FLAME parameters as SMIRK, DECA, EMOCA, IMavatar and VHAP save them."""

import json

import numpy as np
import pytest
import torch

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.layouts import read_clip
from nerfblendshape_ns.expressions.tracks import read_expression_track

FRAMES = 7
RANDOM = np.random.default_rng(0)
EXP = RANDOM.normal(size=(FRAMES, 50)).astype(np.float32)
JAW = RANDOM.uniform(0, 0.3, (FRAMES, 3)).astype(np.float32)
LIDS = RANDOM.uniform(0, 1, (FRAMES, 2)).astype(np.float32)
HEAD = RANDOM.uniform(-0.5, 0.5, (FRAMES, 3)).astype(np.float32)
EYES = RANDOM.uniform(-0.2, 0.2, (FRAMES, 6)).astype(np.float32)

TRACKERS = {
    "smirk": (
        {"expression_params": EXP, "pose_params": HEAD, "jaw_params": JAW, "eyelid_params": LIDS},
        [EXP, JAW, LIDS],
    ),
    "deca": ({"exp": EXP, "shape": EXP, "pose": np.concatenate([HEAD, JAW], 1)}, [EXP, JAW]),
    "emoca": ({"expcode": EXP, "shapecode": EXP, "posecode": np.concatenate([HEAD, JAW], 1)}, [EXP, JAW]),
    "imavatar": ({"expression": EXP, "pose": np.concatenate([HEAD, HEAD, JAW, EYES], 1)}, [EXP, JAW, EYES]),
    "vhap": ({"expr": EXP, "jaw_pose": JAW, "eyes_pose": EYES, "neck_pose": HEAD}, [EXP, JAW, EYES]),
}


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize("batch", ["none", "in front", "inside"])
@pytest.mark.parametrize("kind", ["npz", "pt"])
def test_the_jaw_comes_with_the_expression(tmp_path, tracker, batch, kind):
    content, expected = TRACKERS[tracker]
    axis = {"none": None, "in front": 0, "inside": 1}[batch]
    arrays = {key: array if axis is None else np.expand_dims(array, axis) for key, array in content.items()}
    path = tmp_path / f"{tracker}.{kind}"
    if kind == "npz":
        np.savez(path, **arrays)
    else:
        torch.save({key: torch.from_numpy(array) for key, array in arrays.items()}, path)
    track = read_expression_track(path, fps=25)
    assert track.basis_id == "flame" and track.names[50:53] == ("jaw_0", "jaw_1", "jaw_2") and track.notes == ()
    np.testing.assert_array_equal(track.values, np.concatenate(expected, 1))


def test_one_frame(tmp_path):
    np.savez(tmp_path / "a.npz", exp=EXP[0], pose=np.concatenate([HEAD, JAW], 1)[0])
    np.testing.assert_array_equal(read_expression_track(tmp_path / "a.npz").values, np.concatenate([EXP, JAW], 1)[:1])


@pytest.mark.parametrize(
    "others", [{"pose": HEAD}, {"pose": 40 * np.concatenate([HEAD, HEAD], 1)}, {"mouth_rotation": JAW}]
)
def test_a_jaw_that_is_not_found_is_reported(tmp_path, others):
    """A head's rotation alone, angles in degrees, an unknown key."""
    np.savez(tmp_path / "a.npz", exp=EXP, **others)
    track = read_expression_track(tmp_path / "a.npz")
    assert len(track.names) == 50
    assert (
        f"a.npz: no jaw is found in it (jaw, jaw_pose, jaw_params, or a pose of 6 columns) but {next(iter(others))}"
        in (track.notes[0])
    )


def test_a_pose_beside_a_jaw_is_not_read_twice(tmp_path):
    np.savez(tmp_path / "a.npz", exp=EXP, jaw=JAW, pose=np.concatenate([HEAD, HEAD], 1))
    np.testing.assert_array_equal(read_expression_track(tmp_path / "a.npz").values[:, 50:], JAW)


def test_the_basel_model_has_no_jaw_in_its_pose(tmp_path):
    np.savez(tmp_path / "a.npz", exp=np.zeros((FRAMES, 64)), pose=np.concatenate([HEAD, JAW], 1))
    assert read_expression_track(tmp_path / "a.npz").basis_id == "bfm64"


def test_other_lengths_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", exp=EXP, jaw_params=JAW[:1])
    with pytest.raises(UserError, match="different numbers of frames"):
        read_expression_track(tmp_path / "a.npz")


def test_pickled_dictionaries_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array({"exp": EXP}, dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="is not a plain numeric .npy file .*a dictionary of arrays with numpy.savez"):
        read_expression_track(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", codes=np.array({"exp": EXP}, dtype=object))
    with pytest.raises(UserError, match="cannot be read as plain arrays"):
        read_expression_track(tmp_path / "a.npz")


def write_vhap(folder):
    """VHAP's FLAME parameters per frame, each with a batch axis, and a transforms file."""
    (folder / "flame_param").mkdir(parents=True)
    for frame in range(FRAMES):
        arrays = {key: array[frame : frame + 1] for key, array in TRACKERS["vhap"][0].items()}
        np.savez(folder / "flame_param" / f"{frame:05d}.npz", shape=np.zeros(300), **arrays)
    frames = [{"timestep_index": 0, "flame_param_path": "flame_param/00000.npz", "file_path": "images/00000_00.png"}]
    (folder / "transforms.json").write_text(json.dumps({"w": 8, "h": 8, "frames": frames}))


@pytest.mark.parametrize("inside", ["", "flame_param"])
def test_vhaps_folder(tmp_path, inside):
    write_vhap(tmp_path / "data")
    track = read_expression_track(tmp_path / "data" / inside, fps=25)
    np.testing.assert_array_equal(track.values, np.concatenate([EXP, JAW, EYES], 1))
    assert track.basis_id == "flame" and track.fps == 25


def test_vhaps_folder_with_something_else(tmp_path):
    (tmp_path / "flame_param").mkdir()
    np.savez(tmp_path / "flame_param" / "00000.npz", shape=np.zeros(3))
    with pytest.raises(UserError, match="00000.npz has no 'expr', so it holds no FLAME parameters of VHAP"):
        read_expression_track(tmp_path)
    np.savez(tmp_path / "flame_param" / "00000.npz", expr=np.zeros((1, 3)))
    np.savez(tmp_path / "flame_param" / "00001.npz", expr=np.zeros((1, 4)))
    with pytest.raises(UserError, match=r"expr has \[3, 4\] numbers in different frames"):
        read_expression_track(tmp_path)


def write_imavatar(folder):
    """The file of one video of an IMavatar dataset."""
    folder.mkdir(parents=True)
    pose = np.concatenate([HEAD, HEAD, JAW, EYES], 1)
    frames = [
        {"file_path": f"./image/{frame + 1}", "world_mat": np.eye(4)[:3].tolist(), "expression": row, "pose": turn}
        for frame, (row, turn) in enumerate(zip(EXP.tolist(), pose.tolist()))
    ]
    document = {"frames": frames, "intrinsics": [-3.0, 3.0, 0.5, 0.5], "shape_params": [0.0] * 100}
    (folder / "flame_params.json").write_text(json.dumps(document))


@pytest.mark.parametrize("given", ["", "flame_params.json"])
def test_imavatars_file_and_folder(tmp_path, given):
    write_imavatar(tmp_path / "MVI_1810")
    track = read_expression_track(tmp_path / "MVI_1810" / given, fps=25)
    np.testing.assert_allclose(track.values, np.concatenate([EXP, JAW, EYES], 1), rtol=1e-6)
    assert track.basis_id == "flame" and track.names[50:53] == ("jaw_0", "jaw_1", "jaw_2") and track.fps == 25
    message = "is a dataset of IMavatar or PointAvatar, which is not read as it is .* with --expressions .*MVI_1810 for"
    with pytest.raises(UserError, match=message):
        read_clip(tmp_path / "MVI_1810")


@pytest.mark.parametrize("frames", [None, [], [3], {}])
def test_imavatars_file_without_frames(tmp_path, frames):
    (tmp_path / "flame_params.json").write_text(json.dumps({"frames": frames, "world_mat": 0}))
    with pytest.raises(UserError, match="flame_params.json has no list of 'frames'; restore the file"):
        read_expression_track(tmp_path)
