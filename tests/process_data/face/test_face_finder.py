import numpy as np
import pytest
from faces import SIDE, face_image, placed

from nerfblendshape_ns.process_data.face import face_finder
from nerfblendshape_ns.process_data.face.face_finder import FaceFinder, bounding_box, distinct, overlap


@pytest.fixture(scope="module")
def face():
    return face_image()


@pytest.fixture(scope="module")
def find(landmarker_path):
    return FaceFinder(landmarker_path)


def test_overlaps_and_repetitions():
    assert overlap((0, 0, 4, 4), (2, 0, 6, 4)) == pytest.approx(8 / 24)
    assert overlap((0, 0, 1, 1), (2, 2, 3, 3)) == 0
    large, again, part, beside = (0, 0, 10, 10), (1, 0, 11, 10), (3, 5, 6, 8), (20, 0, 25, 5)
    assert distinct([part, beside, large, again]) == [large, beside]
    assert bounding_box(np.array([[3.0, 1.0, 9.0], [2.0, 5.0, 9.0]])) == (2.0, 1.0, 3.0, 5.0)


@pytest.mark.parametrize("height, width, side", [(100, 100, 100), (90, 160, 90), (90, 160, 45), (720, 1280, 360)])
def test_squares_cover_the_image_and_overlap_by_half(height, width, side):
    covered = np.zeros((height, width), int)
    for left, top in face_finder._squares(height, width, side):
        assert 0 <= left <= width - side and 0 <= top <= height - side
        covered[top : top + side, left : left + side] += 1
    assert covered.min() >= 1
    middle = covered[height // 2 - side // 8 : height // 2 + side // 8, width // 2 - side // 8 : width // 2 + side // 8]
    assert side == height == width or middle.min() >= 2


def test_one_box_of_a_face_that_fills_the_image(face, find):
    (box,) = find(face)
    assert box[0] < SIDE / 2 < box[2] and box[3] - box[1] > 0.4 * SIDE


@pytest.mark.parametrize("side", [110, 200, 420])
def test_faces_far_away_and_near(face, find, side):
    (whole,) = find(face)
    left, top = 700, 260
    (box,) = find(placed(face, left, top, side, 720, 1280))
    expected = np.array(whole) * side / SIDE + [left, top, left, top]
    assert np.abs(np.array(box) - expected).max() < 0.08 * side


def test_two_people_largest_first(face, find):
    image = placed(face, 100, 300, 110, 720, 1280)
    image[100:600, 600:1100] = placed(face, 0, 0, 500, 500, 500)
    large, small = find(image)
    assert large[0] > 600 and small[2] < 300


def test_no_face_no_box(find):
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    assert find(noise) == [] and find(np.zeros((64, 64, 3), np.uint8)) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (480, 16), (2, 64)])
def test_tiny_and_long_images_show_no_face(find, shape):
    assert find(np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)) == []
