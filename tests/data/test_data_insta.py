"""The layout of INSTA, read from a small clip written the way its scripts write it."""

import json
import shutil

import cv2
import numpy as np
import pytest
from layout_clips import (
    write_insta,
)
from tiny_clips import HEAD_COLOUR, SIZE

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.data.frame_images import load_frame, load_labels
from nerfblendshape_ns.data.labels import labels_from_face_parsing
from nerfblendshape_ns.data.layouts import read_clip


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


def test_insta_image_without_alpha_and_mask(tmp_path):
    write_insta(tmp_path)
    shutil.rmtree(tmp_path / "seg_mask")
    cv2.imwrite(str(tmp_path / "images/00002.png"), np.zeros((SIZE, SIZE, 3), np.uint8))
    with pytest.raises(UserError, match="00002.png has no alpha and there is no seg_mask"):
        load_labels(read_clip(tmp_path).frames[1].files)


def test_a_stray_part_of_insta_does_not_hide_what_a_dataset_is(tmp_path, own_clip):
    root, _ = own_clip(12)
    write_insta(tmp_path / "insta")
    (root / "transforms_train.json").write_text((tmp_path / "insta" / "transforms.json").read_text())
    assert read_clip(root).layout == "own"


def test_a_part_of_insta_whose_frames_are_no_list_is_reported(tmp_path):
    write_insta(tmp_path)
    document = json.loads((tmp_path / "transforms.json").read_text())
    for path in tmp_path.glob("transforms*.json"):
        path.unlink()
    (tmp_path / "transforms_train.json").write_text(json.dumps({**document, "frames": 5, "exp_path": ""}))
    with pytest.raises(UserError, match="transforms_train.json: 'frames' holds no frame"):
        read_clip(tmp_path)


def test_a_matte_of_16_bits_is_read_by_its_upper_eight(tmp_path):
    truth = write_insta(tmp_path)
    path = tmp_path / "images" / "00005.png"
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    pixels[..., 3] = np.maximum(pixels[..., 3], 40)  # What is hardly there is not the head.
    assert cv2.imwrite(str(path), pixels.astype(np.uint16) * 257)
    labels = load_labels(read_clip(tmp_path).frames[4].files)
    np.testing.assert_array_equal(labels == Label.HEAD, truth.labels[4] == Label.HEAD)
    shutil.rmtree(tmp_path / "seg_mask")
    labels = load_labels(read_clip(tmp_path).frames[4].files)
    np.testing.assert_array_equal(labels > 0, (truth.labels[4] == Label.HEAD) | (truth.labels[4] == Label.NECK))
