"""Frames on disk: keys, half-written files, and what may be replaced."""

import cv2
import numpy as np
import pytest

from nerfblendshape_ns.data.contract import load_image
from nerfblendshape_ns.driving.frame_store import FrameStore, check_output_folder, drive_key
from nerfblendshape_ns.errors import UserError

RED = np.full((4, 6, 3), [200, 10, 20], np.uint8)


def test_keys_tell_settings_and_arrays_apart():
    one, two = np.arange(4.0), np.arange(4.0).reshape(2, 2)
    assert drive_key({"a": 1, "b": 2}, [one]) == drive_key({"b": 2, "a": 1}, [one.copy()])
    keys = {drive_key({"a": 1}, [one]), drive_key({"a": 2}, [one]), drive_key({"a": 1}, [two])}
    keys |= {drive_key({"a": 1}, [one.astype(np.float32)]), drive_key({"a": 1}, [one + 1])}
    assert len(keys) == 5


def test_frames_come_back(tmp_path):
    store = FrameStore(tmp_path / "out.mp4", "k")
    assert not store.has(3)
    store.write(3, RED)
    assert store.has(3) and np.array_equal(load_image(store.path(3)), RED)
    transparent = np.concatenate([RED, np.full((4, 6, 1), 7, np.uint8)], axis=2)
    store.write(4, transparent)
    stored = cv2.imread(str(store.path(4)), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(stored[..., [2, 1, 0, 3]], transparent)
    # A killed write leaves another name, which is no frame.
    (store.folder / ".000005.1.tmp.png").write_bytes(b"half")
    assert not store.has(5)


def test_publishing_replaces_an_earlier_sequence_and_cleans_up(tmp_path):
    output = tmp_path / "frames"
    output.mkdir()
    (output / "000099.png").write_bytes(b"old")
    FrameStore(output, "killed").write(0, RED)
    store = FrameStore(output, "now")
    store.write(0, RED)
    store.publish_folder()
    store.clean()
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]
    assert [path.name for path in output.iterdir()] == ["000000.png"]


def test_other_peoples_folders_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds notes.txt, which is no frame of a drive"):
        check_output_folder(tmp_path)
    with pytest.raises(UserError, match="is a file; give --output a folder"):
        check_output_folder(tmp_path / "notes.txt")
    check_output_folder(tmp_path / "new")
