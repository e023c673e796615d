import numpy as np
import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.process_data.video.crop import FrameWindow, choose_window, face_window, fit_size
from nerfblendshape_ns.process_data.video.frames import apply_window


def test_fit_size_never_enlarges_and_keeps_sides_even():
    assert fit_size(720, 1280, 512) == (288, 512)
    assert fit_size(300, 200, 512) == (300, 200)
    assert fit_size(301, 201, 512) == (300, 200)
    assert fit_size(1000, 1000, 512) == (512, 512)


def test_an_odd_largest_side_is_not_exceeded():
    assert fit_size(1280, 720, 511) == (510, 286)
    assert choose_window([(300, 200, 440, 380)], (0, 0, 1280, 720), "face", 301).out_width == 300


def test_face_window_is_square_inside_the_frame_and_holds_every_face():
    boxes = [(300, 500, 440, 680), (340, 520, 480, 700)]
    window = face_window(boxes, 720, 1280, 512)
    # 2.7 face heights of 180 pixels are 486; the union is 180 wide and 200 high, which needs less.
    assert (window.width, window.height) == (486, 486)
    assert (window.out_width, window.out_height) == (486, 486)
    assert window.left == round((300 + 480) / 2 - 243)
    assert window.top <= 500 and window.top + window.height >= 700
    # Room above and below is shared equally.
    assert window.top == round(500 - (486 - 200) / 2)


def test_face_window_is_moved_the_least_that_keeps_it_inside():
    window = face_window([(0, 10, 100, 140)], 1920, 1080, 512)
    assert (window.left, window.top) == (0, 0)
    window = face_window([(1800, 900, 1920, 1080)], 1920, 1080, 512)
    assert window.left + window.width == 1920 and window.top + window.height == 1080


def test_a_face_that_fills_the_frame_keeps_the_shorter_side():
    window = face_window([(100, 300, 620, 980)], 720, 1280, 512)
    assert (window.width, window.height) == (720, 720)
    assert window.scale == (512 / 720, 512 / 720)


def test_a_square_frame_that_is_nearly_filled_is_left_whole():
    assert face_window([(150, 150, 330, 330)], 512, 512, 512) == FrameWindow(0, 0, 512, 512, 512, 512)


@pytest.mark.parametrize("size", [(301, 301), (511, 287), (480, 511)])
@pytest.mark.parametrize("crop", ["face", "none"])
def test_odd_sides_that_need_no_scaling_are_cut_not_scaled(size, crop):
    width, height = size
    frame = np.random.default_rng(0).integers(0, 255, (height + 8, width + 6, 3), dtype=np.uint8)
    window = choose_window([(110, 100, 190, 187)], (3, 5, width, height), crop, 512)
    image = apply_window(frame, window)
    assert image.shape[0] % 2 == image.shape[1] % 2 == 0 and window.scale == (1.0, 1.0)
    np.testing.assert_array_equal(image, frame[window.top :, window.left :][: image.shape[0], : image.shape[1]])
    assert crop == "face" or (width - image.shape[1], height - image.shape[0]) == (width % 2, height % 2)


def test_principal_point_follows_the_crop():
    window = face_window([(100, 300, 620, 980)], 720, 1280, 512)
    centre_x, centre_y = window.principal_point(360, 640)
    assert centre_x == pytest.approx(256.0)
    assert centre_y == pytest.approx((640 - window.top) * 512 / 720)


def test_a_tiny_face_is_refused_with_a_reason():
    with pytest.raises(UserError, match="only 20 pixels high, too small to track; record closer"):
        face_window(np.array([[10.0, 10.0, 26.0, 30.0]]), 640, 480, 512)


def test_the_window_lies_inside_the_image_without_bars():
    window = choose_window([(300, 400, 420, 540)], (0, 200, 720, 880), "none", 512)
    assert (window.left, window.top, window.width, window.height) == (0, 200, 720, 880)
    window = choose_window([(300, 210, 420, 350)], (0, 200, 720, 880), "face", 512)
    assert window.top == 200 and window.width == window.height == 378
    assert np.allclose(window.to_output(np.array([[window.left, window.top]])), 0)
