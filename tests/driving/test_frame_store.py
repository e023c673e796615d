"""Frames on disk: keys, half-written files, and where they are kept."""

from pathlib import Path

import cv2
import numpy as np

from nerfblendshape_ns.common.file_io import load_image
from nerfblendshape_ns.driving.frame_store import FrameStore, drive_key, frames_beside

RED = np.full((4, 6, 3), [200, 10, 20], np.uint8)


def test_keys_tell_settings_and_arrays_apart():
    one, two = np.arange(4.0), np.arange(4.0).reshape(2, 2)
    assert drive_key({"a": 1, "b": 2}, [one]) == drive_key({"b": 2, "a": 1}, [one.copy()])
    keys = {drive_key({"a": 1}, [one]), drive_key({"a": 2}, [one]), drive_key({"a": 1}, [two])}
    keys |= {drive_key({"a": 1}, [one.astype(np.float32)]), drive_key({"a": 1}, [one + 1])}
    assert len(keys) == 5


def test_frames_come_back(tmp_path):
    store = FrameStore(tmp_path, "k")
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
    store.discard_half_written()
    assert sorted(path.name for path in store.folder.iterdir()) == ["000003.png", "000004.png"]


def test_frames_of_another_key_are_left_alone(tmp_path):
    FrameStore(tmp_path, "other").write(0, RED)
    store = FrameStore(tmp_path, "now")
    assert not store.has(0)
    assert FrameStore(tmp_path, "other").has(0)


def test_every_video_has_a_folder_of_its_own():
    names = ("out.mp4", "out", "take[1]*?.mp4", "take1.mp4", "out.mp4.frames")
    assert len({frames_beside(Path("here") / name) for name in names}) == len(names)
    assert frames_beside(Path("here/out.mp4")) == Path("here/.out.mp4.frames")
