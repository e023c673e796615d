"""Every bad dataset gives one sentence that names the file or frame and says what to do."""

import json
import re

import cv2
import numpy as np
import pytest
from layout_clips import write_insta

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.datamanager import NerfBlendshapeDataManagerConfig
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.data.layouts import read_clip


def message(root, **options) -> str:
    """The error that reading a dataset gives; its one line."""
    with pytest.raises(UserError) as error:
        config = NerfBlendshapeDataParserConfig(**options)
        NerfBlendshapeDataManagerConfig(data=root, dataparser=config, train_num_rays_per_batch=64).setup(device="cpu")
    text = str(error.value)
    assert "\n" not in text and str(root) in text or "clip has" in text
    assert text[-1] in ".?"
    return text


def edit(root, change) -> None:
    path = root / contract.TRANSFORMS
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda a: a[:-2],
            "expr.npy has 10 rows but the clip needs 12 (the row is the img_id and the last frame is 11); extract the",
        ),
        (
            lambda a: np.concatenate([a, a]),
            "expr.npy has 24 rows but the clip needs 12 (the row is the img_id and the last frame is 11); cut off the "
            "rows of frames that were dropped, or extract the coefficients from the same frames.",
        ),
        (lambda a: a[0], "expr.npy has shape (6,) but must be [frames, coefficients]"),
        (lambda a: (a * 100).astype(np.int32), "expr.npy holds int32 values but must hold float32"),
        (lambda a: a.astype(str), "values but must hold float32; save it with .astype('float32')"),
        (lambda a: a + 0j, "expr.npy holds complex"),
        (lambda a: a[:, :5], "expr_names.json has 6 names but"),
    ],
)
def test_expressions(own_clip, change, expected):
    root, truth = own_clip(12)
    np.save(root / "expr.npy", change(truth.expressions))
    assert expected in message(root)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_expressions_that_are_not_finite_name_frame_and_coefficient(own_clip, value):
    root, truth = own_clip(12)
    expressions = truth.expressions.copy()
    expressions[7, 2] = expressions[9, 1] = value
    np.save(root / "expr.npy", expressions)
    text = message(root)
    assert "2 values that are not finite, the first at frame 7, coefficient 2 (mouthSmileLeft)" in text


def test_expressions_of_python_objects(own_clip):
    root, truth = own_clip(12)
    np.save(root / "expr.npy", truth.expressions.astype(object), allow_pickle=True)
    assert "expr.npy is not a plain numeric .npy file" in message(root)


def test_damaged_or_missing_expressions(own_clip):
    root, _ = own_clip(12)
    (root / "expr.npy").write_bytes(b"not an array")
    assert "expr.npy is not a plain numeric .npy file" in message(root)
    (root / "expr.npy").unlink()
    assert "expr.npy does not exist" in message(root)


def test_minimum_above_maximum(own_clip):
    root, truth = own_clip(12)
    low = truth.expressions.min(0)
    low[3] = 7
    np.save(root / "expr_min.npy", low)
    text = message(root)
    assert "expr_min.npy is above expr_max.npy for coefficient 3 (eyeBlinkLeft): 7 > " in text and "remove both" in text


def test_minimum_above_maximum_with_a_leading_neutral_one(unofficial_clip):
    root, truth = unofficial_clip(12)
    np.save(root / "expr_min.npy", np.concatenate([[1.0], truth.expressions.max(0) + 1]).astype(np.float32))
    assert "for coefficient 0 (expr_00)" in message(root)


def test_range_of_the_wrong_size(own_clip):
    root, _ = own_clip(12)
    np.save(root / "expr_max.npy", np.ones(9, np.float32))
    assert "expr_max.npy is float32 of shape (9,) but must hold 6 floats" in message(root)


@pytest.mark.parametrize(("folder", "name"), [("images", "000004.jpg"), ("parsing", "000011.png")])
def test_missing_file(own_clip, folder, name):
    """A training image, and a test frame's labels, which give the head box."""
    root, _ = own_clip(12)
    (root / folder / name).unlink()
    assert f"{root / folder / name} does not exist; restore the file or process the video again." == message(root)


@pytest.mark.parametrize("name", ["000004.jpg", "000010.jpg"])
def test_sizes_differ(own_clip, name):
    """In training and in validation: the error comes before training starts."""
    root, _ = own_clip(12)
    cv2.imwrite(str(root / "images" / name), np.zeros((50, 60, 3), np.uint8))
    text = message(root)
    assert f"{root / 'images' / name} is 60x50 pixels but the clip's frames are 96x96; all frames" in text


def test_label_sizes_differ(own_clip):
    root, _ = own_clip(12)
    cv2.imwrite(str(root / "parsing" / "000002.png"), np.ones((50, 60), np.uint8))
    assert "000002.png is 60x50 pixels but the clip's frames are 96x96" in message(root)


def test_broken_image(own_clip):
    root, _ = own_clip(12)
    (root / "images" / "000005.jpg").write_bytes(b"garbage")
    assert "000005.jpg cannot be decoded as an image" in message(root)


@pytest.mark.parametrize("name", ["parsing/000003.png", "images/000003.jpg", "images/000010.jpg"])
def test_an_image_that_is_cut_short(own_clip, name):
    """The header is whole, and of a JPEG OpenCV makes an image; in validation too the error comes before training."""
    root, _ = own_clip(12)
    path = root / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert message(root) == f"{path} is cut short; restore the file or process the video again."


def test_labels_of_other_values(own_clip):
    root, truth = own_clip(12)
    cv2.imwrite(str(root / "parsing" / "000003.png"), truth.labels[3] * 80)
    assert "000003.png is not an 8-bit single-channel image of the labels 0 to 4" in message(root)


def test_transforms_that_are_not_json(own_clip):
    root, _ = own_clip(12)
    path = root / "transforms.json"
    path.write_text(path.read_text()[:300])
    assert "transforms.json is not valid JSON" in message(root)


def _set(document, frame, key, value):
    document["frames"][frame][key] = value


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d.pop("frames"), "has no 'frames'"),
        (lambda d: d.update(frames=[]), "'frames' holds no frame"),
        (lambda d: d.pop("fl_x"), "has no 'fl_x'"),
        (lambda d: d.update(fl_x="long"), "'fl_x' is 'long', which is not a number"),
        (lambda d: d.update(w=0), "'w' is 0 but must be above 0"),
        (lambda d: d.update(fl_y=1e-320), "'fl_y' is 1e-320, which single precision does not hold"),
        (lambda d: d.update(cx=-1e20), "'cx' is -1e+20, which single precision does not hold"),
        (lambda d: d.update(k1=0.1), "has lens distortion"),
        (lambda d: d["frames"][3].pop("transform_matrix"), "frame 3 has no 'transform_matrix'"),
        (
            lambda d: _set(d, 3, "transform_matrix", [[1, 2], [3, 4]]),
            "frame 3 has a 'transform_matrix' that is not 4x4",
        ),
        (
            lambda d: _set(d, 3, "transform_matrix", (np.eye(4) + np.diag([1e300], 3)).tolist()),
            "frame 3 has a 'transform_matrix' that is not 4x4 numbers below 1e+18; correct it or drop the frame",
        ),
        (lambda d: _set(d, 3, "transform_matrix", (np.eye(4) * 2).tolist()), "frame 3 has .* is not a rotation"),
        (lambda d: _set(d, 3, "transform_matrix", np.diag([1, 1, -1, 1]).tolist()), "frame 3 has .* is not a rotation"),
        (lambda d: _set(d, 3, "img_id", 4), "two frames have the img_id 4"),
        (lambda d: _set(d, 3, "img_id", "x"), "frame 3 of the list has no whole-number 'img_id'"),
        (lambda d: d["frames"][3].pop("file_path"), "has no 'file_path'"),
        (lambda d: _set(d, 3, "face_rect", [1, 2]), "'face_rect' of frame 3 is not four numbers"),
    ],
)
def test_broken_transforms(own_clip, change, expected):
    root, _ = own_clip(12)
    edit(root, change)
    text = message(root)
    assert re.search(expected.replace("[", r"\[").replace("+", r"\+"), text), text
    assert "transforms.json" in text


def test_too_few_frames_for_the_test_split(own_clip):
    root, _ = own_clip(12)
    text = message(root, test_frames=500)
    assert "the clip has 12 frames, too few for the protocol last500: 500 for test, 2 for validation" in text


@pytest.mark.parametrize("document", ["[1, 2]", '{"basis": "x"}', '{"names": ["a", "a", "b", "c", "d", "e"]}'])
def test_broken_names(own_clip, document):
    root, _ = own_clip(12)
    (root / "expr_names.json").write_text(document)
    assert "expr_names.json" in message(root)


def test_nothing_is_written_on_errors(own_clip):
    root, _ = own_clip(12)
    (root / "images" / "000004.jpg").unlink()
    before = sorted(root.rglob("*"))
    message(root)
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "images/../../secret.png"])
def test_images_outside_the_dataset_are_not_opened(own_clip, name):
    root, _ = own_clip(12)
    cv2.imwrite(str(root.parent / "secret.png"), np.zeros((96, 96, 3), np.uint8))
    edit(root, lambda d: _set(d, 3, "file_path", name))
    wanted = f"names the file {name!r}, which lies outside the dataset; move it into {root} and correct the name."
    assert wanted in message(root)


@pytest.mark.parametrize("name", [7, "", ".", None, "a\0.png"])
def test_images_without_a_name(own_clip, name):
    root, _ = own_clip(12)
    edit(root, lambda d: _set(d, 3, "file_path", name))
    assert f"transforms.json names the file {name!r}, which is no file name" in message(root)


def test_images_behind_a_link_and_absolute_names_inside(own_clip):
    """Images are often kept on another disk."""
    root, _ = own_clip(12)
    (root / "images").rename(root.parent / "elsewhere")
    (root / "images").symlink_to(root.parent / "elsewhere")
    edit(root, lambda d: _set(d, 3, "file_path", str(root / "images" / "000003.jpg")))
    NerfBlendshapeDataManagerConfig(
        data=root, dataparser=NerfBlendshapeDataParserConfig(), train_num_rays_per_batch=64
    ).setup(device="cpu")


@pytest.mark.parametrize("key", ["file_path", "exp_path", "seg_mask_path"])
def test_no_file_of_an_insta_dataset_lies_outside(tmp_path, key):
    root = tmp_path / "insta"
    write_insta(root)
    edit(root, lambda d: _set(d, 0, key, "../other/00099.png"))
    with pytest.raises(UserError, match="names the file '../other/00099.png', which lies outside the dataset; move"):
        read_clip(root)
