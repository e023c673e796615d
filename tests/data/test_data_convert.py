"""Converting a dataset and parsing the result gives what parsing the original gives."""

import json

import cv2
import numpy as np
import pytest
import torch
from layout_clips import WRITERS, write_insta, write_radnerf
from tiny_clips import SIZE, write_own

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract, convert
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.data.frame_images import load_frame
from nerfblendshape_ns.data.layouts import read_clip
from nerfblendshape_ns.scripts import convert as script


def write_own_with_mesh(root):
    write_own(root, mesh=True)
    file_io.save_array(root / contract.LANDMARKS, np.full((20, 478, 2), 30.0, np.float32))
    file_io.save_image(root / contract.BACKGROUND, np.full((SIZE, SIZE, 3), 7, np.uint8))


@pytest.mark.parametrize("layout", [*WRITERS, "own"])
def test_parsing_the_converted_dataset_gives_the_same(tmp_path, layout):
    source, target = tmp_path / "source", tmp_path / "new" / "target"
    {**WRITERS, "own": write_own_with_mesh}[layout](source)
    before = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    clip = convert.convert(source, target)
    assert clip.layout == layout and read_clip(target).layout == "own"
    assert before == {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    for split in ("train", "val", "test"):
        old = NerfBlendshapeDataParserConfig(data=source, max_size=48).setup().get_dataparser_outputs(split)
        new = NerfBlendshapeDataParserConfig(data=target, max_size=48).setup().get_dataparser_outputs(split)
        assert old.cameras.metadata is not None and new.cameras.metadata is not None
        torch.testing.assert_close(new.cameras.camera_to_worlds, old.cameras.camera_to_worlds, rtol=0, atol=1e-6)
        for name in ("fx", "fy", "cx", "cy", "width", "height", "times"):
            torch.testing.assert_close(getattr(new.cameras, name), getattr(old.cameras, name), rtol=0, atol=0)
        for name in ("expression", "frame_index"):
            torch.testing.assert_close(new.cameras.metadata[name], old.cameras.metadata[name], rtol=0, atol=0)
        for name in ("expression_names", "basis_id", "image_size"):
            assert new.metadata[name] == old.metadata[name]
        for name in ("face", "mouth", "eyes"):
            torch.testing.assert_close(new.metadata["regions"][name], old.metadata["regions"][name], rtol=0, atol=0)
        for old_files, new_files in zip(old.metadata["frame_files"], new.metadata["frame_files"]):
            first = load_frame(old_files, (SIZE, SIZE), (48, 48), "head")
            second = load_frame(new_files, (SIZE, SIZE), (48, 48), "head")
            for name in ("image", "alpha", "labels"):
                np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
            assert (old_files.matte is None) == (new_files.matte is None)
            assert (old_files.torso is None) == (new_files.torso is None)
            if old_files.torso is not None:
                assert old_files.torso.read_bytes() == new_files.torso.read_bytes()
    assert not list(target.parent.glob(".*"))


def test_the_converted_files_follow_the_contract(tmp_path):
    write_radnerf(tmp_path / "source")
    convert.convert(tmp_path / "source", tmp_path / "target")
    document = json.loads((tmp_path / "target" / contract.TRANSFORMS).read_text())
    assert document["converted_from"] == "radnerf" and "head_only" not in document
    # Frame 8 was missing; the new numbers have no gap and the old ones are kept beside them.
    assert [entry["img_id"] for entry in document["frames"]] == list(range(22))
    assert [entry["source_id"] for entry in document["frames"]][4:7] == [7, 9, 10]
    assert file_io.load_array(tmp_path / "target" / contract.EXPRESSIONS).shape == (22, 6)
    labels = file_io.load_image(tmp_path / "target/parsing/000000.png", cv2.IMREAD_UNCHANGED)
    assert labels.shape == (SIZE, SIZE) and set(np.unique(labels)) <= {0, 1, 2, 3}
    assert (tmp_path / "target/images/000000.jpg").read_bytes() == (tmp_path / "source/ori_imgs/3.jpg").read_bytes()
    assert file_io.load_image(tmp_path / "target/background.png").shape == (SIZE, SIZE, 3)


def test_a_converted_dataset_still_says_which_frames_it_holds_out(tmp_path):
    write_radnerf(tmp_path / "source")
    parts = [tmp_path / "source" / f"transforms_{part}.json" for part in ("train", "val")]
    documents = [json.loads(path.read_text()) for path in parts]
    frames = documents[0]["frames"] + documents[1]["frames"]
    for path, document, chosen in zip(parts, documents, (frames[:3] + frames[6:], frames[3:6])):
        path.write_text(json.dumps({**document, "frames": chosen}))
    convert.convert(tmp_path / "source", tmp_path / "target")
    assert read_clip(tmp_path / "target").held_out == read_clip(tmp_path / "source").held_out == [3, 4, 5]
    parser = NerfBlendshapeDataParserConfig(data=tmp_path / "target", protocol="radnerf").setup()
    assert len(parser.get_dataparser_outputs("test").image_filenames) == 3


def test_a_clip_of_one_frame_is_converted(tmp_path):
    write_own(tmp_path / "source", 1)
    convert.convert(tmp_path / "source", tmp_path / "target")
    clip = read_clip(tmp_path / "target")
    np.testing.assert_array_equal(clip.expressions, read_clip(tmp_path / "source").expressions)


def test_an_existing_target_is_refused_and_left_alone(tmp_path):
    write_radnerf(tmp_path / "source")
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="target is not empty and no nbs-output.json in it says that nbs-convert"):
        convert.convert(tmp_path / "source", target)
    assert [path.name for path in target.iterdir()] == ["mine.txt"]


def _break_last_image(root):
    (root / "images/00020.png").write_bytes(b"garbage")


def _resize_last_mask(root):
    cv2.imwrite(str(root / "seg_mask/00020.png"), np.zeros((50, 60, 3), np.uint8))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_break_last_image, "00020.png cannot be decoded as an image"),
        (_resize_last_mask, "00020.png is 60x50 pixels but the clip's frames are 96x96"),
        (lambda root: (root / "seg_mask/00020.png").unlink(), "00020.png does not exist; restore the file"),
    ],
)
def test_nothing_is_left_after_an_error(tmp_path, spoil, expected):
    write_insta(tmp_path / "source")
    spoil(tmp_path / "source")
    with pytest.raises(UserError, match=expected):
        convert.convert(tmp_path / "source", tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_an_interruption_leaves_nothing(tmp_path):
    write_insta(tmp_path / "source")

    def interrupt(done, total):
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert.convert(tmp_path / "source", tmp_path / "target", progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_full_disk_is_reported(tmp_path, monkeypatch):
    write_insta(tmp_path / "source")

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert.shutil, "copyfile", no_space)
    with pytest.raises(UserError, match="target cannot be written .*No space left.*; give another place or make room"):
        convert.convert(tmp_path / "source", tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_the_command(tmp_path, capsys):
    write_insta(tmp_path / "source")
    script.main([str(tmp_path / "source"), str(tmp_path / "target")])
    said = capsys.readouterr().err
    assert "20 frames of 96x96 pixels, 106 coefficients (flame), from the layout insta" in said
    assert f"ns-train nerfblendshape-head-small --data {tmp_path / 'target'}" in said
    with pytest.raises(SystemExit) as stop:
        script.main([str(tmp_path / "source"), str(tmp_path / "source" / "target")])
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert "error: " in said and "lies inside" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere", "new"], "nowhere is not a directory"),
        (["empty", "new"], "is of no known dataset layout; looked for official"),
        (["empty", "new", "--layout", "insta"], "transforms.json does not exist"),
    ],
)
def test_the_command_on_bad_input(tmp_path, monkeypatch, capsys, words, expected):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        script.main(words)
    said = capsys.readouterr().err
    assert stop.value.code == 1 and expected in said and "Traceback" not in said
    assert not (tmp_path / "new").exists()
