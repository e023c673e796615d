import json
from typing import get_args

import numpy as np
import pytest
from tiny_clips import FOCAL, HEAD_COLOUR, SIZE

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.frame_images import load_frame, load_labels
from nerfblendshape_ns.data.layout_names import LayoutName
from nerfblendshape_ns.data.layouts import LAYOUTS, read_clip


def test_every_layout_may_be_asked_for_by_its_name():
    assert sorted(get_args(LayoutName)) == sorted(["auto", *LAYOUTS])


def test_own_layout(own_clip):
    root, truth = own_clip(12, mesh=True)
    clip = read_clip(root)
    assert clip.layout == "own" and len(clip.frames) == 12
    assert (clip.width, clip.height, clip.fl_x, clip.cx, clip.fps) == (SIZE, SIZE, FOCAL, SIZE / 2, 25.0)
    np.testing.assert_allclose(clip.camera_to_head, truth.poses)
    np.testing.assert_array_equal(clip.expressions, truth.expressions)
    assert clip.expression_names[0] == "jawOpen" and clip.basis_id == "custom"
    assert clip.face_mesh is not None and clip.face_mesh.shape == (468, 3)
    assert clip.frames[3].face_rect == truth.face_rect and len(clip.frames[3].eye_rects) == 2
    np.testing.assert_array_equal(load_labels(clip.frames[3].files), truth.labels[3])


def test_own_layout_written_by_the_contract(tmp_path):
    """What the contract's writers write is what the reader reads, landmarks and background included."""
    random = np.random.default_rng(0)
    landmarks = random.uniform(5, 25, (4, 478, 2)).astype(np.float32)
    frames = [contract.frame_entry(i, np.eye(4), landmarks[i]) for i in range(4)]
    contract.save_transforms(tmp_path, width=32, height=32, fl_x=40, fl_y=41, cx=16, cy=15, fps=30, frames=frames)
    contract.save_expressions(tmp_path, random.uniform(size=(4, 3)), ["a", "b", "c"], "arkit52")
    file_io.save_array(tmp_path / contract.LANDMARKS, landmarks)
    file_io.save_image(tmp_path / contract.BACKGROUND, np.zeros((32, 32, 3), np.uint8))
    clip = read_clip(tmp_path)
    assert clip.basis_id == "arkit52" and clip.fl_y == 41 and clip.cy == 15
    assert clip.background == tmp_path / contract.BACKGROUND
    np.testing.assert_array_equal(clip.landmarks, landmarks)


def test_own_layout_with_dropped_frames(own_clip):
    """Frames 5 and the last are dropped: their rows stay, and may hold anything."""
    root, truth = own_clip(10)
    document = json.loads((root / contract.TRANSFORMS).read_text())
    document["frames"] = [frame for frame in document["frames"] if frame["img_id"] not in (5, 9)]
    file_io.save_json(root / contract.TRANSFORMS, document)
    file_io.save_array(root / contract.LANDMARKS, np.zeros((10, 478, 2), np.float32))
    expressions = truth.expressions.copy()
    expressions[5] = np.nan
    file_io.save_array(root / contract.EXPRESSIONS, expressions)
    clip = read_clip(root)
    assert [frame.img_id for frame in clip.frames] == [0, 1, 2, 3, 4, 6, 7, 8]
    np.testing.assert_array_equal(clip.expressions, truth.expressions[[0, 1, 2, 3, 4, 6, 7, 8]])
    assert clip.landmarks is not None and len(clip.landmarks) == 8


def test_unofficial_layout(unofficial_clip):
    root, truth = unofficial_clip(12)
    clip = read_clip(root)
    assert clip.layout == "unofficial" and clip.fps == 25
    # Frames come in order of img_id though the file lists them backwards; frame 8 is missing.
    assert [frame.img_id for frame in clip.frames] == [3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15]
    np.testing.assert_allclose(clip.camera_to_head, truth.poses)
    np.testing.assert_array_equal(clip.expressions, truth.expressions)
    np.testing.assert_array_equal(load_labels(clip.frames[7].files), truth.labels[7])
    assert clip.frames[0].files.image == root / "ori_imgs" / "3.jpg"
    assert clip.background == root / "bc.jpg" and clip.expression_names[5] == "expr_05"


@pytest.mark.parametrize(("columns", "basis"), [(46, "facewarehouse46"), (79, "bfm79"), (55, "custom")])
def test_unofficial_basis_by_size(unofficial_clip, columns, basis):
    root, _ = unofficial_clip(6)
    for name in ("expr_min.npy", "expr_max.npy"):
        (root / name).unlink()
    np.save(root / "expr.npy", np.zeros((20, columns), np.float32))
    assert read_clip(root).basis_id == basis


def test_frames_on_white_have_no_plate(unofficial_clip):
    root, _ = unofficial_clip()
    (root / "ori_imgs").rename(root / "gt_imgs")
    clip = read_clip(root)
    assert clip.frames[0].files.image.parent.name == "gt_imgs" and clip.background is None


def test_head_images_and_masks_serve_without_parsing(unofficial_clip):
    root, truth = unofficial_clip(6, folders=("head_imgs", "head_masks"))
    clip = read_clip(root)
    files = clip.frames[2].files
    assert files.head_only and files.image.parent.name == "head_imgs"
    np.testing.assert_array_equal(load_labels(files) == Label.HEAD, truth.labels[2] == Label.HEAD)
    frame = load_frame(files, (SIZE, SIZE), (SIZE // 2, SIZE // 2), "head")
    # The white outside the mask does not bleed into the head's soft edge.
    edge = (frame.alpha > 5) & (frame.alpha < 250)
    assert edge.any()
    assert np.abs(frame.image[edge].astype(int) - HEAD_COLOUR).max() < 12


def test_unknown_layout_names_what_was_looked_for(tmp_path):
    with pytest.raises(UserError) as error:
        read_clip(tmp_path)
    for text in (str(tmp_path), "transforms.json", "transforms_all.json", "expr.npy", "nbs-process-data"):
        assert text in str(error.value)


def test_layout_can_be_chosen(own_clip):
    root, _ = own_clip(4)
    with pytest.raises(UserError, match="transforms_all.json does not exist"):
        read_clip(root, "unofficial")
    with pytest.raises(
        UserError,
        match="layout 'mine' is unknown; choose auto or one of official, insta, own, unofficial, nerface, radnerf",
    ):
        read_clip(root, "mine")
    assert read_clip(root, "own").layout == "own"


def test_no_such_directory(tmp_path):
    with pytest.raises(UserError, match="nothing is not a directory; give that of a dataset"):
        read_clip(tmp_path / "nothing")


@pytest.mark.parametrize("folders", [("parsing",), ("ori_imgs",)])
def test_unofficial_without_images_or_labels(unofficial_clip, folders):
    root, _ = unofficial_clip(4, folders=folders)
    missing = "ori_imgs/, gt_imgs/, head_imgs/" if folders == ("parsing",) else "parsing/, head_masks/"
    with pytest.raises(UserError, match=f"has none of {missing}; restore"):
        read_clip(root)
