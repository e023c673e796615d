"""Images on disk."""

from __future__ import annotations

import os
import threading
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import save_arrays
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import (
    load_image,
    remove_temporaries,
    save_array,
    save_image,
    save_text,
    write_atomically,
)
from nerfblendshape_ns.common.parallel import ordered_map


@pytest.mark.parametrize(
    "name, settings", [("a.png", []), ("a.jpg", [cv2.IMWRITE_JPEG_QUALITY, 95]), ("a.JPG", [1, 95])]
)
def test_the_quality_is_given_for_jpeg_alone(name, settings, tmp_path, monkeypatch):
    """OpenCV 5 warns of a setting that the format does not have, once per image."""
    given, imencode = [], cv2.imencode
    monkeypatch.setattr(cv2, "imencode", lambda kind, image, words: given.append(words) or imencode(kind, image, words))
    image = np.full((4, 6, 3), (200, 100, 0), np.uint8)
    save_image(tmp_path / name, image)
    assert given == [settings]
    assert np.abs(load_image(tmp_path / name).astype(int) - image).max() <= 4


def test_an_image_whose_name_is_no_utf_8_is_read(tmp_path):
    """OpenCV's own reader ends the process there."""
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system has no such names")
    save_image(path, np.full((4, 6, 3), 9, np.uint8))
    assert load_image(path).shape == (4, 6, 3)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize(("orientation", "size"), [(1, (6, 4)), (3, (6, 4)), (6, (4, 6)), (8, (4, 6))])
def test_the_size_is_that_of_the_image_as_it_is_read(name, orientation, size, tmp_path):
    """Cameras that are held upright store the image lying and say so."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (6, 4)).save(tmp_path / name, exif=exif)
    assert load_image(tmp_path / name).shape[1::-1] == size == file_io.image_size(tmp_path / name)


def test_damaged_exif_does_not_hide_an_image(tmp_path):
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert file_io.image_size(tmp_path / "a.jpg") == (6, 4)


@pytest.mark.parametrize("ending", [-2, -300])
def test_a_jpeg_that_is_cut_short_is_refused(ending, tmp_path):
    path = tmp_path / "a.jpg"
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    save_image(path, image)
    whole = path.read_bytes()
    path.write_bytes(whole[:ending])
    with pytest.raises(UserError, match=r"a\.jpg is cut short; restore the file"):
        load_image(path)
    path.write_bytes(whole + bytes(10_000))  # As phones append a film to a photograph.
    assert load_image(path).shape == (64, 64, 3)


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


def test_whole_numbers_of_64_bits_stay_whole(tmp_path):
    largest, beyond = 2**63 - 1, 2**63
    (tmp_path / "a.json").write_text(f"[1764468062123456789, {largest}, {-largest}, {beyond}]")
    (tmp_path / "a.yaml").write_text(f"[1764468062123456789, {largest}, {-largest}, {beyond}, 0x{beyond:x}]")
    for numbers in (file_io.load_json(tmp_path / "a.json"), file_io.load_yaml(tmp_path / "a.yaml")):
        assert numbers[:3] == [1764468062123456789, largest, -largest]
        assert all(isinstance(number, float) and number == 2.0**63 for number in numbers[3:])


def test_messages_keep_the_names_of_files_and_no_escape_sequence():
    name = "Screenshot 3.00\u202fPM \u7530\u4e2d\u3000\u0645\u06cc\u200c\u0631\u0648\u0645.mp4"
    assert str(UserError(f"{name}\t\n\x1b[2J\u2028")) == f"{name}\t\n\ufffd[2J\ufffd"


@pytest.mark.skipif(os.name == "nt", reason="needs fork and limits of processes")
@pytest.mark.parametrize(
    "name, save",
    [
        ("a.png", lambda path, noise: save_image(path, noise)),
        ("a.jpg", lambda path, noise: save_image(path, noise)),
        ("a.npy", lambda path, noise: save_array(path, noise)),
        ("a.npz", lambda path, noise: save_arrays(path, noise=noise)),
        ("a.txt", lambda path, noise: save_text(path, str(noise.tolist()))),
    ],
)
def test_a_file_for_which_there_is_no_room_is_told_and_not_left(name, save, tmp_path):
    import resource

    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    save(tmp_path / name, noise)
    size = (tmp_path / name).stat().st_size
    (tmp_path / name).unlink()
    said, child = tmp_path / "said", os.fork()
    if child == 0:
        said.touch()
        message = "written"
        try:  # The last bytes are those that libraries write when they close a file.
            resource.setrlimit(resource.RLIMIT_FSIZE, (size - 100, size))
            save(tmp_path / name, noise)
        except BaseException as error:
            message = f"{type(error).__name__}: {error}"
        said.write_text(message)
        os._exit(0)
    os.waitpid(child, 0)
    assert said.read_text().startswith(f"UserError: {tmp_path / name} cannot be written (")
    assert os.listdir(tmp_path) == ["said"]


def test_two_threads_may_write_one_file(tmp_path):
    written = threading.Barrier(2)

    def write(text):
        write_atomically(tmp_path / "a.txt", lambda temporary: (temporary.write_text(text), written.wait(60)))

    list(ordered_map(write, ("one", "two"), 2))
    assert (tmp_path / "a.txt").read_text() in ("one", "two") and os.listdir(tmp_path) == ["a.txt"]


def test_temporary_files_go_by_their_name_and_age(tmp_path):
    for name in (".a.12.tmp.mp4", ".a.13.tmp.mp4", ".b.12.tmp.mp4", ".a.tmp.mp4", ".a.12.tmp.png"):
        (tmp_path / name).touch()
    os.utime(tmp_path / ".a.12.tmp.mp4", (0, time.time() - 100))
    remove_temporaries(tmp_path, "a.mp4", 50)
    assert sorted(os.listdir(tmp_path)) == [".a.12.tmp.png", ".a.13.tmp.mp4", ".a.tmp.mp4", ".b.12.tmp.mp4"]
    remove_temporaries(tmp_path)
    assert os.listdir(tmp_path) == [".a.tmp.mp4"]
