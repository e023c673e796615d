"""Images on disk."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import load_image, save_image


@pytest.mark.parametrize(
    "name, settings", [("a.png", []), ("a.jpg", [cv2.IMWRITE_JPEG_QUALITY, 80]), ("a.JPG", [1, 80])]
)
def test_the_quality_is_given_for_jpeg_alone(name, settings, tmp_path, monkeypatch):
    """OpenCV 5 warns of a setting that the format does not have, once per image."""
    given, imwrite = [], cv2.imwrite
    monkeypatch.setattr(cv2, "imwrite", lambda path, image, words: given.append(words) or imwrite(path, image, words))
    image = np.full((4, 6, 3), (200, 100, 0), np.uint8)
    save_image(tmp_path / name, image, jpeg_quality=80)
    assert given == [settings]
    assert np.abs(load_image(tmp_path / name).astype(int) - image).max() <= 4


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize("content", ["npz", "cut", "header"])
def test_what_is_no_npy_file_is_reported(tmp_path, content):
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.savez(file, one=np.eye(3)) if content == "npz" else np.save(file, np.eye(3))
    if content != "npz":
        whole = path.read_bytes()
        path.write_bytes(whole[:-9] if content == "cut" else whole.replace(b"{'descr'", b"{'descr\\"))
    with pytest.raises(UserError, match=r"a\.npy is not a plain numeric \.npy file"):
        file_io.load_array(path)
