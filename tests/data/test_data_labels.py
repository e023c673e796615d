import numpy as np
import pytest

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.labels import (
    area_resize,
    describe_occlusion,
    extend_colours,
    labels_from_colours,
    occluded_fraction,
    resize_labels,
    soft_alpha,
)


def test_soft_alpha_is_the_blurred_head_only():
    labels = np.full((512, 512), Label.TORSO, np.uint8)
    labels[:, 256:] = Label.HEAD
    alpha = soft_alpha(labels)
    assert alpha[256, 100] == 0 and alpha[256, 400] == pytest.approx(1)
    # Across a straight edge a blur by 1.5 pixels gives the normal distribution's value half a pixel inside: 0.6306.
    assert alpha[256, 256] == pytest.approx(0.6306, abs=0.01)
    assert alpha[256, 255] == pytest.approx(1 - 0.6306, abs=0.01)


def test_soft_alpha_blur_follows_the_image_size():
    labels = np.zeros((128, 128), np.uint8)
    labels[:, 64:] = Label.HEAD
    # 1.5 pixels of 512 are 0.375 of 128; the neighbour's weight is exp(-1 / (2 * 0.375**2)) = 0.0286 of the middle's,
    # so the side beyond the edge has 0.0286 / (1 + 2 * 0.0286) = 0.0270 of the kernel.
    assert soft_alpha(labels)[64, 64] == pytest.approx(1 - 0.0270, abs=1e-3)


def test_resize_labels_takes_the_majority():
    labels = np.array([[1, 1, 2, 2], [1, 0, 2, 3], [3, 3, 0, 0], [3, 1, 0, 1]], np.uint8)
    np.testing.assert_array_equal(resize_labels(labels, (2, 2)), [[1, 2], [3, 0]])
    assert resize_labels(labels, (4, 4)) is labels


def test_labels_from_colours_reads_the_rad_nerf_code():
    colours = np.array([[[0, 0, 255], [0, 255, 0], [255, 0, 0], [255, 255, 255], [0, 0, 0], [30, 20, 220]]], np.uint8)
    expected = [[Label.HEAD, Label.NECK, Label.TORSO, Label.BACKGROUND, Label.BACKGROUND, Label.HEAD]]
    np.testing.assert_array_equal(labels_from_colours(colours), expected)


def test_area_resize_averages():
    image = np.arange(16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_allclose(area_resize(image, (2, 2)), [[2.5, 4.5], [10.5, 12.5]])


def test_extend_colours_reaches_as_far_as_asked():
    image = np.full((9, 9, 3), 255, np.uint8)
    image[:, :3] = (10, 20, 30)
    mask = np.zeros((9, 9), bool)
    mask[:, :3] = True
    extended = extend_colours(image, mask, distance=2.5)
    assert (extended[:, :5] == (10, 20, 30)).all()
    assert (extended[:, 5:] == 255).all()
    assert (extend_colours(image, np.zeros((9, 9), bool), 3) == image).all()


def test_the_head_goes_on_behind_what_is_before_it():
    labels = np.zeros((32, 32), np.uint8)
    labels[8:24, 8:24] = Label.HEAD
    whole = soft_alpha(labels)
    labels[12:16, 12:20] = Label.OCCLUDED
    np.testing.assert_array_equal(soft_alpha(labels), whole)
    assert occluded_fraction(labels) == 32 / 256 and occluded_fraction(np.zeros((4, 4), np.uint8)) == 0.0
    assert describe_occlusion([0.0, 0.125, 0.25, 0.0], [5, 6, 7, 8]) == "frames 6-7 (25.0% of the head at most)"
    assert describe_occlusion([0.0, 0.0], [0, 1]) is None
