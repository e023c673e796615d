"""The layouts of other projects, each read from a small clip written the way that project's scripts write it."""

import json

import numpy as np
import pytest
from layout_clips import (
    FACE_RECT,
    LIP_RECT,
    gap_numbers,
    pose_angles,
    turning_clip,
    write_insta,
    write_official,
    write_radnerf,
    write_unofficial_with_traps,
)
from tiny_clips import FOCAL, HEAD_COLOUR, SIZE

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.data.frame_images import check_files, load_frame, load_labels
from nerfblendshape_ns.data.layouts import read_clip
from nerfblendshape_ns.data.layouts.numbered import follows_pose


@pytest.mark.parametrize(
    ("layout", "write"),
    [
        ("unofficial", write_unofficial_with_traps),
        ("radnerf", write_radnerf),
        ("official", write_official),
        ("insta", write_insta),
    ],
)
def test_a_layout_is_detected_and_read(tmp_path, layout, write):
    truth = write(tmp_path)
    clip = read_clip(tmp_path)
    assert clip.layout == layout
    numbers = list(range(1, 21)) if layout == "insta" else gap_numbers(len(truth.poses))
    assert [frame.img_id for frame in clip.frames] == numbers
    np.testing.assert_allclose(clip.camera_to_head, truth.poses, atol=1e-12)
    np.testing.assert_array_equal(clip.expressions, truth.expressions)
    assert (clip.width, clip.height, clip.fl_x, clip.fps) == (SIZE, SIZE, FOCAL, 25)
    for frame, labels in zip(clip.frames, truth.labels):
        check_files(frame.files, (SIZE, SIZE))
        np.testing.assert_array_equal(load_labels(frame.files), labels)
    # RGB, not BGR: the head has its own colour in the middle of the picture.
    colours = load_frame(clip.frames[3].files, (SIZE, SIZE), (SIZE, SIZE), "head").image
    np.testing.assert_allclose(colours[45, 48], HEAD_COLOUR, atol=2)
    outputs = NerfBlendshapeDataParserConfig(data=tmp_path).setup().get_dataparser_outputs("train")
    assert outputs.metadata["layout"] == layout and len(outputs.cameras) > 10


def test_unofficial_leading_one_and_pose_angles_are_left_out(tmp_path):
    truth = write_unofficial_with_traps(tmp_path)
    raw = np.load(tmp_path / "expr.npy")
    assert raw.shape[1] == 1 + 6 + 3
    clip = read_clip(tmp_path)
    assert clip.expression_names == tuple(f"expr_{index:02d}" for index in range(6))
    assert len(clip.notes) == 2 and "always 1" in clip.notes[0] and "pose angles" in clip.notes[1]
    np.testing.assert_array_equal(clip.expressions, truth.expressions)
    assert clip.frames[0].files.torso == tmp_path / "torso_imgs" / "3.png"
    # Rectangles are x, y, width, height; eyes are not in the file and come from the landmarks.
    assert clip.frames[0].face_rect == FACE_RECT and clip.frames[0].mouth_rect == LIP_RECT
    left, right = clip.frames[0].eye_rects
    assert left[0] > right[0] and left[1] == pytest.approx(36, abs=1)


@pytest.mark.parametrize(
    ("write", "columns"), [(write_unofficial_with_traps, 6), (write_unofficial_with_traps, 10), (write_radnerf, 6)]
)
def test_names_beside_the_coefficients_are_used(tmp_path, write, columns):
    """Names of the coefficients, or (unofficial) of all ten columns with the neutral and the pose angles."""
    write(tmp_path)
    names = ["jawOpen", "mouthPucker", "c", "d", "e", "f"]
    names = names if columns == 6 else ["neutral", *names, "yaw", "pitch", "roll"]
    (tmp_path / "expr_names.json").write_text(json.dumps({"basis": "mine", "names": names}))
    clip = read_clip(tmp_path)
    assert clip.expression_names == ("jawOpen", "mouthPucker", "c", "d", "e", "f") and clip.basis_id == "mine"
    (tmp_path / "expr_names.json").write_text(json.dumps({"names": ["a", "b"]}))
    with pytest.raises(UserError, match="expr_names.json has 2 names but .*expr.npy has 6 coefficients"):
        read_clip(tmp_path)


@pytest.mark.parametrize("unit", [1.0, 180 / np.pi, -1.0])
def test_pose_angles_are_known_in_any_order_sign_and_unit(unit):
    clip = turning_clip(30)
    angles = pose_angles(clip.poses) * unit
    random = np.random.default_rng(0)
    for order in ([0, 1, 2], [2, 0, 1]):
        noisy = angles[:, order] + 0.003 * abs(unit) * random.normal(size=angles.shape)
        assert follows_pose(np.concatenate([clip.expressions, noisy], 1), clip.poses)
    inverse = clip.poses.copy()
    inverse[:, :3, :3] = inverse[:, :3, :3].transpose(0, 2, 1)
    assert follows_pose(np.concatenate([clip.expressions, pose_angles(inverse)], 1), clip.poses)


def test_expressions_are_not_taken_for_pose_angles():
    clip = turning_clip(30)
    assert not follows_pose(clip.expressions, clip.poses)
    # One column that follows the head (a gaze does) is not enough.
    assert not follows_pose(np.concatenate([clip.expressions, pose_angles(clip.poses)[:, :1]], 1), clip.poses)
    assert not follows_pose(np.zeros((30, 8), np.float32), clip.poses)


def test_radnerf_takes_the_trackers_coefficients(tmp_path):
    truth = write_radnerf(tmp_path, tracked=True)
    clip = read_clip(tmp_path)
    assert clip.basis_id == "bfm79" and clip.expressions.shape == (22, 79)
    np.testing.assert_array_equal(clip.expressions, truth.expressions)
    assert "Basel Face Model" in clip.notes[0]
    # Rectangles come from the landmarks, which are x before y.
    assert clip.frames[0].face_rect == (33, 30, 30, 36)
    x, y, width, height = clip.frames[0].mouth_rect
    assert x < 42 and x + width > 54 and y < 54 and y + height > 62 and height < width
    assert clip.frames[0].files.image.parent.name == "ori_imgs"
    assert clip.frames[0].files.torso == tmp_path / "torso_imgs" / "3.png" and clip.landmarks is None
    assert clip.background == tmp_path / "bc.jpg"


def test_radnerf_without_validation_frames_on_disk(tmp_path):
    write_radnerf(tmp_path)
    (tmp_path / "transforms_val.json").unlink()
    assert len(read_clip(tmp_path).frames) == 20


@pytest.mark.parametrize("leading_one", [False, True])
def test_official_coefficients_are_46_without_the_neutral(tmp_path, leading_one):
    truth = write_official(tmp_path, leading_one=leading_one)
    clip = read_clip(tmp_path)
    assert clip.basis_id == "facewarehouse46" and len(clip.expression_names) == 46
    assert len(clip.notes) == int(leading_one)
    np.testing.assert_array_equal(clip.expressions, truth.expressions)
    assert (clip.fl_y, clip.cy) == (FOCAL + 1, SIZE / 2 + 1)
    assert clip.landmarks is not None and clip.landmarks.shape == (20, 478, 2)
    assert clip.frames[0].face_rect == (33, 30, 30, 36)


def test_official_heads_on_the_clean_plate_serve_without_frames(tmp_path):
    """``head_imgs`` has the head on ``bc.jpg``; the plate does not bleed into the head's soft edge."""
    write_official(tmp_path)
    for path in sorted((tmp_path / "ori_imgs").iterdir()):
        path.unlink()
    (tmp_path / "ori_imgs").rmdir()
    files = read_clip(tmp_path).frames[2].files
    assert files.head_only and files.image.parent.name == "head_imgs"
    frame = load_frame(files, (SIZE, SIZE), (SIZE // 2, SIZE // 2), "head")
    edge = (frame.alpha > 5) & (frame.alpha < 250)
    assert edge.any() and np.abs(frame.image[edge].astype(int) - HEAD_COLOUR).max() < 12


def test_official_test_frames_are_the_last_in_order_and_never_validate(tmp_path):
    write_official(tmp_path)
    parser = NerfBlendshapeDataParserConfig(data=tmp_path, test_frames=5).setup()
    ids = {split: parser.get_dataparser_outputs(split).metadata["img_ids"] for split in ("train", "val", "test")}
    assert ids["test"] == gap_numbers(20)[-5:]
    assert not set(ids["val"]) & set(ids["test"]) and max(ids["train"]) < min(ids["val"])


def _hold_out(root, img_ids) -> None:
    """Deal a clip's frames anew into RAD-NeRF's two files."""
    frames = [frame for part in ("train", "val") for frame in json.loads(_part(root, part).read_text())["frames"]]
    for part, inside in (("train", False), ("val", True)):
        document = json.loads(_part(root, part).read_text())
        document["frames"] = [frame for frame in frames if (frame["img_id"] in img_ids) == inside]
        _part(root, part).write_text(json.dumps(document))


def _part(root, part):
    return root / f"transforms_{part}.json"


@pytest.mark.parametrize("img_ids", [[22, 23, 24, 25], [5, 6, 20]])
def test_radnerf_tests_the_frames_of_its_validation_file(tmp_path, img_ids):
    write_radnerf(tmp_path)
    assert read_clip(tmp_path).held_out_ids == (24, 25)
    _hold_out(tmp_path, img_ids)
    splits = NerfBlendshapeDataParserConfig(data=tmp_path, protocol="radnerf").setup()._prepare().splits
    of_clip = gap_numbers(22)
    assert [of_clip[place] for place in splits.test] == img_ids
    rest = [number for number in of_clip if number not in img_ids]
    assert [of_clip[place] for place in splits.val] == rest[-2:]
    assert [of_clip[place] for place in splits.train] == rest[:-2]


def test_unofficial_tests_the_frames_of_its_validation_file_if_it_has_one(tmp_path):
    write_unofficial_with_traps(tmp_path)
    parser = NerfBlendshapeDataParserConfig(data=tmp_path, protocol="radnerf")
    splits = parser.setup().get_dataparser_outputs("train").metadata["splits"]
    assert splits["test"] == gap_numbers(20)[-2:]  # 20 x 10 // 11 = 18 others.
    frames = json.loads((tmp_path / "transforms_all.json").read_text())["frames"]
    _part(tmp_path, "val").write_text(json.dumps({"frames": [frame for frame in frames if frame["img_id"] < 6]}))
    splits = parser.setup().get_dataparser_outputs("train").metadata["splits"]
    assert splits["test"] == [3, 4, 5] and not set(splits["test"]) & {*splits["train"], *splits["val"]}
    _part(tmp_path, "val").write_text(json.dumps({"frames": []}))
    assert read_clip(tmp_path).held_out_ids == ()
    _part(tmp_path, "val").write_text("{}")
    with pytest.raises(UserError, match="transforms_val.json has no 'frames'"):
        read_clip(tmp_path)
