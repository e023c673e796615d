"""NeRFace's layout, and datasets that are recognised but not read."""

import json

import numpy as np
import pytest
from layout_clips import FACE_RECT, write_nerface
from tiny_clips import FOCAL, SIZE

from nerfblendshape_ns.check.run import CheckOptions, check_dataset
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.data.frame_images import check_files, load_labels
from nerfblendshape_ns.data.layouts import LAYOUTS, is_dataset, read_clip
from nerfblendshape_ns.data.layouts.nerface import PARTS
from nerfblendshape_ns.expressions.tracks import read_expression_track

VHAP_FRAME = {"timestep_index": 0, "camera_index": 0, "file_path": "images/00000_00.png", "transform_matrix": []}


@pytest.mark.parametrize("mirrored", [False, True])
def test_nerface_is_detected_and_read(tmp_path, mirrored):
    truth = write_nerface(tmp_path, mirrored=mirrored)
    clip = read_clip(tmp_path)
    assert clip.layout == "nerface" and clip.basis_id == "face2face76" and len(clip.expression_names) == 76
    assert [frame.img_id for frame in clip.frames] == list(range(20)) and clip.notes == ()
    np.testing.assert_allclose(clip.camera_to_head, truth.poses, atol=1e-12)
    np.testing.assert_array_equal(clip.expressions, truth.expressions)
    assert (clip.width, clip.height, clip.fl_x, clip.fl_y, clip.cx, clip.cy) == (SIZE, SIZE, FOCAL, FOCAL, 48, 48)
    assert clip.frames[15].files.image == tmp_path / "val" / "f_0000.png"
    np.testing.assert_allclose(clip.frames[0].face_rect, FACE_RECT)
    for frame, labels in zip(clip.frames, truth.labels):
        check_files(frame.files, (SIZE, SIZE))
        np.testing.assert_array_equal(load_labels(frame.files) == Label.HEAD, labels == Label.HEAD)
    outputs = NerfBlendshapeDataParserConfig(data=tmp_path).setup().get_dataparser_outputs("train")
    assert outputs.metadata["layout"] == "nerface" and len(outputs.cameras) > 10
    assert check_dataset(CheckOptions(tmp_path, estimate=False)).exit_status() != 2


def test_a_negative_focal_length_by_hand(tmp_path):
    """Pixel (0, 48) with fx = -150, cx = 48: NeRFace's ray is (+0.32, 0, -1) in its camera, into the mirrored head.

    The camera is turned by 90 degrees about y, so its x axis is the world's -z and its z axis the world's x.
    """
    write_nerface(tmp_path)
    turn = [[0, 0, 1, 7], [0, 1, 0, 2], [-1, 0, 0, 5], [0, 0, 0, 1]]
    for name in PARTS:
        document = json.loads((tmp_path / name).read_text())
        document["intrinsics"] = [-150.0, 150.0, 0.5, 0.5]
        for frame in document["frames"]:
            frame["transform_matrix"] = turn
        (tmp_path / name).write_text(json.dumps(document))
    clip = read_clip(tmp_path)
    pose = clip.camera_to_head[0]
    theirs = np.array(turn)[:3, :3] @ [(0 - 48) / -150, 0, -1]
    ours = pose[:3, :3] @ [(0 - clip.cx) / clip.fl_x, 0, -1]
    np.testing.assert_allclose(theirs, [-1, 0, -0.32])
    # The same ray in the mirrored world, from the mirrored place.
    np.testing.assert_allclose(ours, [1, 0, -0.32], atol=1e-12)
    np.testing.assert_allclose(pose[:3, 3], [-7, 2, 5])
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)


def test_numbers_of_their_own_are_kept(tmp_path):
    """Frames drawn into the parts at random have numbers that say their order."""
    truth = write_nerface(tmp_path)
    for part, offset in (("train", 0), ("val", 15), ("test", 17)):
        document = json.loads((tmp_path / f"transforms_{part}.json").read_text())
        for number, frame in enumerate(document["frames"]):
            name = f"./{part}/f_{19 - number - offset:04d}"
            for folder in (".", "head_masks"):
                (tmp_path / folder / f"{frame['file_path']}.png").rename(tmp_path / folder / f"{name}.new")
            frame["file_path"] = name
        for new in tmp_path.rglob("*.new"):
            new.rename(new.with_suffix(".png"))
        (tmp_path / f"transforms_{part}.json").write_text(json.dumps(document))
    np.testing.assert_array_equal(read_clip(tmp_path).expressions, truth.expressions[::-1])


def test_nerface_without_masks(tmp_path):
    """Its coefficients and poses are there; training says what is missing."""
    truth = write_nerface(tmp_path, masks=False)
    clip = read_clip(tmp_path)
    assert clip.notes[0].endswith("have no masks; to train, add a head mask per image: head_masks/train/f_0000.png.")
    track = read_expression_track(tmp_path)
    np.testing.assert_array_equal(track.values, truth.expressions)
    assert track.fps == 25 and read_expression_track(tmp_path, fps=50).fps == 50
    with pytest.raises(UserError, match="there are neither labels nor a head mask for .*f_0000.png; process the video"):
        check_files(clip.frames[0].files, (SIZE, SIZE))
    report = check_dataset(CheckOptions(tmp_path, estimate=False))
    assert report.exit_status() == 2


def test_nerface_without_intrinsics(tmp_path):
    write_nerface(tmp_path)
    document = json.loads((tmp_path / PARTS[0]).read_text())
    del document["intrinsics"]
    (tmp_path / PARTS[0]).write_text(json.dumps(document))
    assert read_clip(tmp_path).fl_x == pytest.approx(FOCAL)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda frame: frame.pop("file_path"), "transforms_train.json: frame 0 of the list has no 'file_path'"),
        (lambda frame: frame.update(expression=[]), "frame 0 of the list has no 'expression' of finite numbers"),
        (
            lambda frame: frame.update(expression=[0.0]),
            "frames have [1, 76] numbers in 'expression'; give all the same",
        ),
        (lambda frame: frame.update(bbox=[1]), "'bbox' of ./train/f_0000 is not four numbers; correct it"),
        (lambda frame: frame.update(bbox=[0, 1, 0, np.inf]), "'bbox' of ./train/f_0000 is not four numbers"),
        (lambda frame: frame.pop("transform_matrix"), "frame 0 has no 'transform_matrix'"),
    ],
)
def test_a_wrong_frame_is_reported(tmp_path, change, expected):
    write_nerface(tmp_path)
    document = json.loads((tmp_path / PARTS[0]).read_text())
    change(document["frames"][0])
    (tmp_path / PARTS[0]).write_text(json.dumps(document))
    with pytest.raises(UserError) as error:
        read_clip(tmp_path)
    assert expected in str(error.value)


def test_wrong_intrinsics_and_missing_images_are_reported(tmp_path):
    write_nerface(tmp_path)
    document = json.loads((tmp_path / PARTS[0]).read_text())
    (tmp_path / PARTS[0]).write_text(json.dumps({**document, "intrinsics": [0, 1, 2]}))
    with pytest.raises(UserError, match="'intrinsics' is not four numbers fx, fy, cx, cy; correct it"):
        read_clip(tmp_path)
    (tmp_path / "train" / "f_0000.png").unlink()
    with pytest.raises(UserError, match="is a dataset of NeRFace, but its image .*f_0000.png does not exist; restore"):
        read_clip(tmp_path)


@pytest.mark.parametrize("name", ["transforms.json", "transforms_train.json"])
def test_a_dataset_of_vhap_is_named_once(tmp_path, name):
    (tmp_path / name).write_text(json.dumps({"w": 8, "h": 8, "frames": [VHAP_FRAME, VHAP_FRAME]}))
    expected = (
        f"{tmp_path} is a dataset of VHAP (as GaussianAvatars uses it), which is not read as it is; run "
        f"nbs-process-data on the video it was made from, with --expressions {tmp_path}, once {tmp_path}/flame_param "
        "is restored, for its FLAME coefficients."
    )
    for read in (read_clip, read_expression_track):
        with pytest.raises(UserError) as error:
            read(tmp_path)
        assert str(error.value) == expected
    assert is_dataset(tmp_path)
    report = check_dataset(CheckOptions(tmp_path, estimate=False))
    (finding,) = report.findings
    assert expected.startswith(finding.message) and "is a dataset of VHAP" in finding.message
    (tmp_path / "flame_param").mkdir()
    np.savez(tmp_path / "flame_param" / "00000.npz", expr=np.zeros((1, 100)))
    with pytest.raises(UserError, match=f"with --expressions {tmp_path} for its FLAME coefficients."):
        read_clip(tmp_path)


def test_transforms_of_no_known_project_are_reported_once(tmp_path):
    """Such as nerfstudio's own: no frame has a number."""
    frames = [{"file_path": f"images/{index}.png", "transform_matrix": np.eye(4).tolist()} for index in range(3)]
    (tmp_path / "transforms.json").write_text(json.dumps({"w": 8, "h": 8, "frames": frames}))
    with pytest.raises(
        UserError, match="no frame has an 'img_id', so this is no dataset of nbs-process-data or of a pro"
    ):
        read_clip(tmp_path)
    report = check_dataset(CheckOptions(tmp_path, estimate=False))
    assert len(report.findings) == 1
    frames[1]["img_id"] = 4
    (tmp_path / "transforms.json").write_text(json.dumps({"w": 8, "h": 8, "frames": frames}))
    with pytest.raises(UserError, match="frame 0 of the list has no whole-number 'img_id'; add it"):
        read_clip(tmp_path)


def test_nerface_comes_before_radnerf_in_detection():
    """Both have transforms_train.json."""
    assert list(LAYOUTS).index("nerface") < list(LAYOUTS).index("radnerf")
