import cv2
import numpy as np
import pytest
from drawn_person import BACKGROUND, HEAD, NECK, TORSO

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.process_data.labels.given_labels import GivenLabels, find_masks, read_labels

# A 40 x 30 video of which the 20 x 20 window at (8, 4) became images of 10 x 10.
SHOT = {
    "width": 10,
    "height": 10,
    "source_width": 40,
    "source_height": 30,
    "window": {"left": 8, "top": 4, "width": 20, "height": 20, "out_width": 10, "out_height": 10},
}
RGB = {BACKGROUND: (255, 255, 255), HEAD: (0, 0, 255), NECK: (0, 255, 0), TORSO: (255, 0, 0)}


def source_mask(number):
    mask = np.zeros((30, 40), np.uint8)
    mask[4:14, 8:18] = HEAD
    mask[14:24, 8:28] = TORSO
    mask[20, 30] = number % 4
    return mask


def write(folder, numbers, mask=source_mask, name="{:06d}.png"):
    folder.mkdir()
    for number in numbers:
        file_io.save_image(folder / name.format(number), mask(number))
    return folder


def test_masks_of_the_video_are_cropped_like_its_frames(tmp_path):
    given = GivenLabels(write(tmp_path / "masks", range(6)), np.array([1, 3, 5]), SHOT)
    assert len(given) == 3
    labels = given[0]
    # The window's upper left quarter is head, its lower half torso.
    assert labels.shape == (10, 10) and (labels[:5, :5] == HEAD).all() and (labels[5:] == TORSO).all()
    assert (labels[:5, 5:] == BACKGROUND).all()
    with pytest.raises(IndexError):
        given[3]


def test_masks_follow_the_frames_that_were_kept(tmp_path):
    def mask(number):
        return np.full((10, 10), number % 4, np.uint8)

    given = GivenLabels(write(tmp_path / "masks", range(8), mask), np.array([2, 5, 7]), SHOT)
    assert [int(given[index][0, 0]) for index in range(3)] == [2, 1, 3]


def test_numbers_may_start_at_one_and_have_a_prefix(tmp_path):
    def mask(number):
        return np.full((10, 10), number % 4, np.uint8)

    given = GivenLabels(write(tmp_path / "masks", range(1, 7), mask, "clip2_{}.png"), np.array([0, 2, 5]), SHOT)
    assert [int(given[index][0, 0]) for index in range(3)] == [1, 3, 2]


@pytest.mark.parametrize("first", [0, 1])
def test_a_part_of_the_video_gets_the_masks_of_its_frames_whatever_the_first_number_is(tmp_path, first):
    def mask(number):
        return np.full((30, 40), (number - first) % 4, np.uint8)

    given = GivenLabels(write(tmp_path / "masks", range(first, 20 + first), mask), np.array([13, 14, 15]), SHOT)
    assert [int(given[index][0, 0]) for index in range(3)] == [1, 2, 3]


def test_as_many_masks_as_images_belong_to_the_images(tmp_path):
    def mask(number):
        return np.full((10, 10), number % 4, np.uint8)

    given = GivenLabels(write(tmp_path / "masks", range(3), mask), np.array([4, 6, 9]), SHOT)
    assert [int(given[index][0, 0]) for index in range(3)] == [0, 1, 2]


def test_both_codes_say_the_same(tmp_path):
    labels = np.repeat(np.arange(4, dtype=np.uint8), 25).reshape(10, 10)
    colours = np.array([RGB[label] for label in range(4)], np.uint8)[labels]
    file_io.save_image(tmp_path / "plain.png", labels)
    file_io.save_image(tmp_path / "code.png", colours)
    file_io.save_image(tmp_path / "grey.png", np.repeat(labels[..., None], 3, -1))
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([colours[..., ::-1], np.full((10, 10), 255, np.uint8)]))
    for name in ("plain", "code", "grey", "alpha"):
        np.testing.assert_array_equal(read_labels(tmp_path / f"{name}.png"), labels)


def test_wrong_masks_have_their_own_messages(tmp_path):
    good = write(tmp_path / "good", range(4))
    with pytest.raises(UserError, match=r"--parsing .*nowhere is not a folder; give the folder with one mask"):
        find_masks(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("0")
    with pytest.raises(UserError, match=r"holds no numbered image \(.png, .*such as 000000.png"):
        find_masks(tmp_path / "empty")
    file_io.save_image(good / "3.png", source_mask(3))
    with pytest.raises(UserError, match=r"two masks for number 3: 000003.png and 3.png; keep one"):
        find_masks(good)
    (good / "3.png").unlink()
    with pytest.raises(UserError, match=r"no mask for frame of the video 4 \(1 of 3 are missing\).*such as 000004.png"):
        GivenLabels(good, np.array([1, 3, 4]), SHOT)
    small = write(tmp_path / "small", range(4), lambda number: np.zeros((5, 7), np.uint8))
    with pytest.raises(UserError, match=r"000001.png is 7x5 pixels; .*the video's size \(40x30\).*images \(10x10\)"):
        GivenLabels(small, np.array([1, 3]), SHOT)[0]
    for name, mask, message in (
        ("deep", np.zeros((10, 10), np.uint16), "has 16 bits per channel; masks are 8-bit labels 0 to 4"),
        ("binary", np.full((10, 10), 255, np.uint8), "has the value 255; masks are 8-bit labels 0 to 4"),
        ("pink", np.full((10, 10, 3), (255, 0, 255), np.uint8), r"colours such as \(255, 0, 255\).*at x 0, y 0; masks"),
        ("photo", np.full((10, 10, 3), (120, 130, 110), np.uint8), r"colours such as \(120, 130, 110\)"),
    ):
        path = tmp_path / f"{name}.png"
        file_io.save_image(path, mask)
        with pytest.raises(UserError, match=message):
            read_labels(path)
    (tmp_path / "broken.png").write_text("no picture")
    with pytest.raises(UserError, match="broken.png cannot be decoded as an image"):
        read_labels(tmp_path / "broken.png")
