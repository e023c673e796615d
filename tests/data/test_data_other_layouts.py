"""The layouts of other projects, each read from a small clip written the way that project's scripts write it."""

import json

import cv2
import numpy as np
import pytest
import torch
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
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.data.frame_images import check_files, load_frame, load_labels
from nerfblendshape_ns.data.labels import labels_from_face_parsing
from nerfblendshape_ns.data.layouts import LAYOUTS, read_clip
from nerfblendshape_ns.data.layouts.numbered import follows_pose
from nerfblendshape_ns.scripts.convert import ConvertOptions


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


def test_layouts_can_be_named_on_the_command_line():
    """The choices of the dataparser and of nbs-convert are the readers that exist."""
    for config in (NerfBlendshapeDataParserConfig, ConvertOptions):
        for layout in ("auto", *LAYOUTS):
            assert f"'{layout}'" in str(config.__annotations__["layout"]) or f'"{layout}"' in str(
                config.__annotations__["layout"]
            )


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


def test_insta_frames_cameras_and_matte(tmp_path):
    truth = write_insta(tmp_path)
    clip = read_clip(tmp_path)
    assert clip.basis_id == "flame" and clip.expressions.min() < -1
    assert clip.expression_names[0] == "expr_00" and clip.expression_names[100:102] == ("jaw_0", "jaw_1")
    # A closed jaw is 0, though its file holds the identity rotation.
    assert np.abs(clip.expressions[0, 100:106]).max() < 1e-6
    # The camera looks along -z at the head in OpenGL axes.
    forward = -clip.camera_to_head[:, :3, 2]
    assert ((forward * -clip.camera_to_head[:, :3, 3]).sum(1) > 0).all()
    assert all(frame.files.head_only for frame in clip.frames)
    np.testing.assert_array_equal(load_labels(clip.frames[0].files), truth.labels[0])
    # The black behind the matte does not reach the head's outline.
    frame = load_frame(clip.frames[2].files, (SIZE, SIZE), (SIZE // 2, SIZE // 2), "head")
    edge = (frame.alpha > 5) & (frame.alpha < 250)
    assert edge.any() and np.abs(frame.image[edge].astype(int) - HEAD_COLOUR).max() < 12
    with pytest.raises(UserError, match="only images of the head"):
        NerfBlendshapeDataParserConfig(data=tmp_path, target="frame").setup().get_dataparser_outputs("train")


def test_insta_parts_are_merged_where_the_whole_is_missing(tmp_path):
    truth = write_insta(tmp_path, jaw=False)
    (tmp_path / "transforms.json").unlink()
    clip = read_clip(tmp_path)
    assert clip.layout == "insta" and len(clip.frames) == 20
    np.testing.assert_array_equal(clip.expressions, truth.expressions)
    assert any("no flame/jaw" in note for note in clip.notes)


def test_insta_cameras_in_opengl_axes_are_kept(tmp_path):
    truth = write_insta(tmp_path)
    path = tmp_path / "transforms.json"
    document = json.loads(path.read_text())
    for entry in document["frames"]:
        flipped = np.array(entry["transform_matrix"]) @ np.diag([1.0, -1.0, -1.0, 1.0])
        entry["transform_matrix"] = flipped.tolist()
    path.write_text(json.dumps(document))
    clip = read_clip(tmp_path)
    np.testing.assert_allclose(clip.camera_to_head, truth.poses, atol=1e-12)
    assert "OpenGL" in clip.notes[0]


def test_insta_without_seg_mask_takes_the_matte(tmp_path):
    truth = write_insta(tmp_path)
    for path in sorted((tmp_path / "seg_mask").iterdir()):
        path.unlink()
    (tmp_path / "seg_mask").rmdir()
    clip = read_clip(tmp_path)
    assert any("neck counts as head" in note for note in clip.notes)
    expected = (truth.labels[4] == Label.HEAD) | (truth.labels[4] == Label.NECK)
    np.testing.assert_array_equal(load_labels(clip.frames[4].files) == Label.HEAD, expected)


def test_face_parsing_classes():
    """Skin, lip, neck, necklace, cloth, hair, hat, nothing, by hand; then a matte that sees more and less."""
    classes = np.array([[250, 120, 110, 100, 90, 80, 70, 0]], np.uint8)
    np.testing.assert_array_equal(labels_from_face_parsing(classes), [[1, 1, 2, 2, 3, 1, 1, 0]])
    alpha = np.array([[255, 0, 255, 255, 0, 255, 255, 255]], np.uint8)
    np.testing.assert_array_equal(labels_from_face_parsing(classes, alpha), [[1, 0, 2, 2, 3, 1, 1, 1]])


def _json(root, name, change):
    document = json.loads((root / name).read_text())
    change(document)
    (root / name).write_text(json.dumps(document))


def _first(key, value):
    """Sets a key of the frame that comes first in the clip."""

    def change(document):
        frames = sorted(document["frames"], key=lambda entry: entry.get("img_id", entry.get("file_path")))
        frames[0].pop(key) if value is None else frames[0].update({key: value})

    return change


WRONG_INPUT = [
    (
        "official",
        lambda r: _json(r, "transforms.json", _first("exp_ori", [float("nan")] * 46)),
        "frame 3 has numbers in 'exp_ori' that are not finite",
    ),
    ("official", lambda r: _json(r, "transforms.json", _first("exp_ori", None)), "frame 3 has no 'exp_ori'"),
    (
        "official",
        lambda r: _json(r, "transforms.json", _first("exp_ori", [1, 2])),
        "not 2 numbers as the first frame's",
    ),
    (
        "official",
        lambda r: _json(r, "transforms.json", _first("exp_ori", "x")),
        "'exp_ori' that is not a list of numbers",
    ),
    ("official", lambda r: _json(r, "transforms.json", lambda d: d.pop("fx")), "has no 'fx'"),
    ("official", lambda r: (r / "max_46.txt").write_text("1 2 x"), "max_46.txt does not hold one number a coefficient"),
    ("official", lambda r: np.savetxt(r / "max_46.txt", np.ones(40)), "max_46.txt is float64 of shape (40,) but must"),
    ("official", lambda r: np.savetxt(r / "min_46.txt", 2 * np.ones(46)), "min_46.txt is above max_46.txt"),
    ("official", lambda r: (r / "ori_imgs" / "5.lms").write_text("1 2 3"), "5.lms does not hold two numbers x and y"),
    (
        "official",
        lambda r: (r / "bc.jpg").rename(r / "x") and _empty(r, "head_imgs", "ori_imgs"),
        "has the video id1.mp4",
    ),
    ("radnerf", lambda r: (r / "expr.npy").unlink(), "has neither expr.npy"),
    (
        "radnerf",
        lambda r: _json(r, "transforms_val.json", lambda d: d.update(cx=3)),
        "all frames of a clip have one camera",
    ),
    ("radnerf", lambda r: _json(r, "transforms_val.json", _first("img_id", 3)), "two frames have the img_id 3"),
    ("radnerf", lambda r: np.save(r / "expr.npy", np.zeros((9, 6), "f4")), "expr.npy has 9 rows but the clip needs 26"),
    ("radnerf", lambda r: (_track(r), (r / "expr.npy").unlink()), "track_params.pt has no tensor 'exp'"),
    ("radnerf", lambda r: _empty(r, "parsing"), "has none of parsing/, head_masks/"),
    ("unofficial", lambda r: np.save(r / "expr_max.npy", np.ones(4)), "expr_max.npy is float64 of shape (4,)"),
    (
        "unofficial",
        lambda r: _json(r, "transforms_all.json", _first("lip_rect", [1, 2])),
        "'lip_rect' of frame 3 is not",
    ),
    ("insta", lambda r: _json(r, "transforms.json", _first("exp_path", None)), "has no 'exp_path'"),
    ("insta", lambda r: _json(r, "transforms.json", _first("file_path", "images/face.png")), "no number in its name"),
    ("insta", lambda r: (r / "flame/exp/00007.txt").unlink(), "00007.txt does not exist; every frame needs"),
    ("insta", lambda r: (r / "flame/exp/00007.txt").write_text("a b"), "00007.txt does not hold numbers alone"),
    ("insta", lambda r: (r / "flame/jaw/00007.txt").write_text("1 2"), "00007.txt holds 2 numbers, not 6 as 00001.txt"),
    (
        "insta",
        lambda r: (r / "flame/exp/00007.txt").write_text("nan " * 100),
        "00007.txt holds numbers that are not finite",
    ),
    ("insta", lambda r: _json(r, "transforms.json", lambda d: d.update(frames=[])), "'frames' holds no frame"),
    ("insta", lambda r: _json(r, "transforms.json", lambda d: d.pop("w")), "has no 'w'"),
]


def _empty(root, *folders):
    for folder in folders:
        for path in (root / folder).iterdir():
            path.unlink()
        (root / folder).rmdir()
    (root / "id1.mp4").touch()


def _track(root):
    torch.save({"expression": torch.zeros(4, 79)}, root / "track_params.pt")


@pytest.mark.parametrize(("layout", "spoil", "expected"), WRONG_INPUT)
def test_wrong_input_has_its_own_message(tmp_path, layout, spoil, expected):
    from layout_clips import WRITERS

    WRITERS[layout](tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError) as error:
        read_clip(tmp_path)
    text = str(error.value)
    assert expected in text and str(tmp_path) in text and "\n" not in text and text.endswith(".")


def test_insta_image_without_alpha_and_mask(tmp_path):
    write_insta(tmp_path)
    _empty(tmp_path, "seg_mask")
    cv2.imwrite(str(tmp_path / "images/00002.png"), np.zeros((SIZE, SIZE, 3), np.uint8))
    with pytest.raises(UserError, match="00002.png has no alpha and there is no seg_mask"):
        load_labels(read_clip(tmp_path).frames[1].files)
