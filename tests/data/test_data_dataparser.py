import cv2
import numpy as np
import pytest
import torch
from nerfstudio.data.dataparsers.base_dataparser import transform_poses_to_original_space
from tiny_clips import CENTRE, FOCAL, SIZE

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig, nerfblendshape_dataparser


def parser(root, **options):
    return NerfBlendshapeDataParserConfig(data=root, **options).setup()


def test_splits_and_track(own_clip):
    root, truth = own_clip(20)
    parsed = {split: parser(root).get_dataparser_outputs(split) for split in ("train", "val", "test")}
    indices = {split: out.cameras.metadata["frame_index"][:, 0].tolist() for split, out in parsed.items()}
    assert indices == {"train": list(range(16)), "val": [16, 17], "test": [18, 19]}
    test = parsed["test"]
    active = truth.expressions[:, :4]
    assert test.metadata["expression_names"] == ["jawOpen", "mouthPucker", "mouthSmileLeft", "eyeBlinkLeft"]
    np.testing.assert_array_equal(test.cameras.metadata["expression"], active[18:])
    np.testing.assert_allclose(test.cameras.times[:, 0], [18 / 19, 1], rtol=1e-6)
    assert [path.name for path in test.image_filenames] == ["000018.jpg", "000019.jpg"]
    assert [files.labels.parent.name for files in test.metadata["frame_files"]] == ["parsing"] * 2
    for out in parsed.values():
        np.testing.assert_array_equal(out.metadata["expression_min"], active[:16].min(0))
        np.testing.assert_array_equal(out.metadata["expression_max"], active[:16].max(0))
        np.testing.assert_array_equal(out.metadata["track"]["expression"], active)
        assert out.metadata["track"]["head_pose"].shape == (20, 12) and out.metadata["track"]["fps"] == 25
        assert out.metadata["train_frame_index"].tolist() == list(range(16))
        torch.testing.assert_close(out.cameras.metadata["head_pose"], out.cameras.camera_to_worlds.flatten(1))


def test_times_are_those_of_the_frames_where_some_were_dropped(own_clip):
    root, _ = own_clip(20)
    np.save(root / "frame_times.npy", np.delete(np.arange(32) / 25, np.arange(5, 17)))  # Twelve after the fifth.
    track = parser(root).get_dataparser_outputs("test").metadata["track"]
    assert track["seconds"] == pytest.approx(31 / 25)
    np.testing.assert_allclose(track["times"][[0, 4, 5, 19]], np.array([0, 4, 17, 31]) / 31, rtol=1e-6)


def test_every_split_tells_the_protocol_and_its_frames(own_clip):
    root, _ = own_clip(20)
    whole = {"protocol": "tail10", "train": list(range(16)), "val": [16, 17], "test": [18, 19]}
    for split in ("train", "val", "test"):
        assert parser(root).get_dataparser_outputs(split).metadata["splits"] == whole
    asked = parser(root, protocol="last350", test_frames=9).get_dataparser_outputs("train").metadata["splits"]
    assert asked == {"protocol": "last9", "train": list(range(9)), "val": [9, 10], "test": list(range(11, 20))}
    with pytest.raises(UserError, match="the clip has 20 frames, too few for the protocol last350"):
        parser(root, protocol="last350").get_dataparser_outputs("train")


def test_ranges_follow_the_split_in_use(own_clip):
    root, truth = own_clip(20)
    outputs = parser(root, test_frames=9, val_frames=4, basis="all").get_dataparser_outputs("train")
    np.testing.assert_array_equal(outputs.metadata["expression_max"], truth.expressions[:7].max(0))
    assert len(outputs.cameras) == 7


def test_normalised_cameras_see_the_same_pixels(own_clip):
    root, truth = own_clip(20)
    outputs = parser(root, max_size=48).get_dataparser_outputs("train")
    cameras = outputs.cameras
    assert (int(cameras.height[0]), int(cameras.width[0])) == (48, 48) == outputs.metadata["image_size"]
    assert float(cameras.fx[0]) == FOCAL / 2 and float(cameras.cx[0]) == SIZE / 4
    points = torch.tensor(CENTRE + [[3.0, -4.0, 5.0], [0.0, 9.0, 1.0]], dtype=torch.float32)
    transform, scale = outputs.dataparser_transform, outputs.dataparser_scale
    moved = scale * (points @ transform[:, :3].T + transform[:, 3])
    assert (moved.abs() <= 1).all()
    for frame in (0, 7, 15):
        pose = torch.tensor(truth.poses[frame], dtype=torch.float32)
        pixels = []
        for position, matrix, focal, middle in (
            (points, pose, FOCAL, SIZE / 2),
            (moved, cameras.camera_to_worlds[frame], FOCAL / 2, SIZE / 4),
        ):
            local = (position - matrix[:3, 3]) @ matrix[:3, :3]
            pixels.append(
                torch.stack([middle - focal * local[:, 0] / local[:, 2], middle + focal * local[:, 1] / local[:, 2]])
            )
        torch.testing.assert_close(pixels[1] * 2, pixels[0], atol=1e-3, rtol=1e-5)
    back = transform_poses_to_original_space(cameras.camera_to_worlds.clone(), transform, scale, "opengl")
    torch.testing.assert_close(back, torch.tensor(truth.poses[:16, :3], dtype=torch.float32), atol=1e-4, rtol=1e-5)


def test_scene_box_is_the_head_box(own_clip):
    root, _ = own_clip(20, mesh=True)
    outputs = parser(root).get_dataparser_outputs("train")
    box = outputs.scene_box.aabb
    torch.testing.assert_close(box[0], -box[1])
    assert float(box.max()) == pytest.approx(1)
    mesh = outputs.metadata["face_mesh"]
    assert mesh.shape == (468, 3) and mesh.dtype == torch.float32
    # The face looks along -y, so the mesh is in the front half of the box and inside it.
    assert (mesh[:, 1] < 0).all() and (mesh[:, 1] > box[0, 1]).all()


def test_landmarks_come_as_tangents_of_the_training_frames(own_clip):
    root, _ = own_clip(20)
    assert parser(root).get_dataparser_outputs("train").metadata["landmark_tangents"] is None
    landmarks = np.zeros((20, 478, 3), np.float32)
    landmarks[:, :, 0], landmarks[:, :, 1] = np.arange(20)[:, None], 48.0
    landmarks[2] = np.nan
    np.save(root / "landmarks.npy", landmarks)
    outputs = parser(root, max_size=48).get_dataparser_outputs("test")
    tangents, train = outputs.metadata["landmark_tangents"], outputs.metadata["train_frame_index"]
    assert tangents.shape == (len(train), 478, 2)
    # Pixels of the files, whatever size the images have in training.
    intrinsics = outputs.metadata["intrinsics"]
    row = int((train == 5).nonzero()[0, 0])
    expected = [(5 / 2 - intrinsics["cx"]) / intrinsics["fl_x"], (48 / 2 - intrinsics["cy"]) / intrinsics["fl_y"]]
    torch.testing.assert_close(tangents[row, 0], torch.tensor(expected, dtype=torch.float32))


def test_regions_follow_the_image_size(own_clip):
    root, truth = own_clip(20)
    regions = parser(root, max_size=48).get_dataparser_outputs("val").metadata["regions"]
    np.testing.assert_allclose(regions["face"], np.tile(np.array(truth.face_rect) / 2, (2, 1)))
    np.testing.assert_allclose(regions["mouth"], np.tile(np.array(truth.lip_rect) / 2, (2, 1)))
    assert regions["eyes"].shape == (2, 2, 4)


def test_width_and_height_have_scales_of_their_own(own_clip):
    """96 x 64 pixels become 40 x 27, since there are no parts of pixels: by 0.4167 across and by 0.4219 downwards."""
    root, truth = own_clip(12)
    for folder in ("images", "parsing"):
        for path in (root / folder).iterdir():
            file_io.save_image(path, file_io.load_image(path, cv2.IMREAD_UNCHANGED)[:64])
    document = file_io.load_json(root / contract.TRANSFORMS)
    file_io.save_json(root / contract.TRANSFORMS, {**document, "h": 64})
    outputs = parser(root, max_size=40).get_dataparser_outputs("train")
    cameras, across, down = outputs.cameras, 40 / 96, 27 / 64
    assert outputs.metadata["image_size"] == (27, 40)
    expected = {"fl_x": FOCAL * across, "fl_y": FOCAL * down, "cx": SIZE / 2 * across, "cy": SIZE / 2 * down}
    assert outputs.metadata["intrinsics"] == pytest.approx(expected)
    for name, value in zip(("fx", "fy", "cx", "cy"), expected.values()):
        assert getattr(cameras, name)[0].item() == pytest.approx(value), name
    rect = np.array(truth.face_rect) * [across, down, across, down]
    np.testing.assert_allclose(outputs.metadata["regions"]["face"][0], rect, rtol=1e-6)


def test_unofficial_layout_has_no_eye_rects(unofficial_clip):
    root, _ = unofficial_clip(12)
    outputs = parser(root).get_dataparser_outputs("train")
    assert outputs.metadata["layout"] == "unofficial"
    assert (outputs.metadata["regions"]["eyes"] == 0).all() and outputs.metadata["face_mesh"] is None
    assert outputs.metadata["img_ids"] == [3, 4, 5, 6, 7, 9, 10, 11, 12]


def test_image_size_options(own_clip):
    root, _ = own_clip(12)
    for options, size, undivided in (
        ({}, 96, 96),
        ({"max_size": 200}, 96, 96),
        ({"downscale_factor": 2.0}, 48, 96),
        ({"max_size": 40}, 40, 40),
        ({"max_size": 40, "downscale_factor": 2.0}, 20, 40),
    ):
        metadata = parser(root, **options).get_dataparser_outputs("test").metadata
        assert metadata["image_size"] == (size, size) and metadata["undivided_size"] == (undivided, undivided)
    for option, value in (("max_size", -1), ("downscale_factor", 0.0), ("downscale_factor", float("nan"))):
        with pytest.raises(UserError, match=f"--{option.replace('_', '-')} is {value} but must be above 0"):
            parser(root, **{option: value}).get_dataparser_outputs("test")


@pytest.mark.parametrize("margin", [-0.6, float("nan"), float("inf")])
def test_a_margin_that_is_none_is_refused(own_clip, margin):
    """Below a half the box would be turned inside out, and with it the head."""
    root, _ = own_clip(12)
    with pytest.raises(UserError, match=f"--margin is {margin} but must be 0 or more"):
        parser(root, margin=margin).get_dataparser_outputs("train")


def test_the_models_coefficients_are_the_clips_of_the_same_names(own_clip):
    root, truth = own_clip(20)
    for basis, count in (("active", 4), ("all", 6)):
        metadata = parser(root, basis=basis).get_dataparser_outputs("train").metadata
        names, source_names = metadata["expression_names"], metadata["expression_source_names"]
        assert (len(names), len(source_names), metadata["basis_id"]) == (count, 6, "custom")
        columns = [source_names.index(name) for name in names]
        assert np.array_equal(metadata["track"]["expression"].numpy(), truth.expressions[:, columns])


def test_dropped_coefficients_are_named_once(own_clip, capsys):
    root, _ = own_clip(20)
    dataparser = parser(root)
    dataparser.get_dataparser_outputs("train")
    dataparser.get_dataparser_outputs("val")
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("4 of 6 expression coefficients move in training; left out: _neutral, cheekPuff") == 1


def test_the_parser_writes_nothing(own_clip):
    root, _ = own_clip(12)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    parser(root).get_dataparser_outputs("train")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_frame_target_needs_whole_frames(unofficial_clip):
    root, _ = unofficial_clip(12, folders=("head_imgs", "head_masks"))
    with pytest.raises(UserError, match="has only images of the head, not the whole frames"):
        parser(root, target="frame").get_dataparser_outputs("train")


def test_unknown_split(own_clip):
    root, _ = own_clip(12)
    with pytest.raises(UserError, match="split 'all' is unknown; choose train, val or test"):
        parser(root).get_dataparser_outputs("all")


def test_entry_point_object():
    assert isinstance(nerfblendshape_dataparser.config, NerfBlendshapeDataParserConfig)
