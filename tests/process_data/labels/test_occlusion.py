"""What passes before a rendered face is found, and nothing where nothing does."""

import tracemalloc

import cv2
import numpy as np
import pytest

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.process_data.labels.face_layout import FACE_OVAL
from nerfblendshape_ns.process_data.labels.occlusion import Occlusion, largest_areas
from nerfblendshape_ns.process_data.video.frame_folders import ImageFolder
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

FRAMES, SIZE = 24, 96


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Images and landmarks of the synthetic person."""
    folder = tmp_path_factory.mktemp("occlusion") / "clip"
    write_dataset(ClipSettings(FRAMES, SIZE, SIZE, fps=12.0, samples=1), folder)
    return [np.array(image) for image in ImageFolder(folder, FRAMES)], np.load(folder / "landmarks.npy").astype(float)


def face_of(points) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(mask, [np.rint(points[list(FACE_OVAL)]).astype(np.int32)], (1,))
    return mask > 0


def labels_of(points) -> np.ndarray:
    return np.where(face_of(points), np.uint8(Label.HEAD), np.uint8(Label.BACKGROUND))


def test_a_hand_that_passes_is_found_in_its_frames(clip):
    images, landmarks = clip
    images, hidden = [image.copy() for image in images], {}
    for frame in range(8, 16):
        face = face_of(landmarks[frame])
        rows, columns = np.nonzero(face)
        height = np.ptp(rows)
        x, y = columns.mean() + (frame - 11.5) * 0.2 * height, rows.mean() + 0.2 * height
        hand = np.zeros((SIZE, SIZE), np.uint8)
        cv2.ellipse(
            hand, (round(float(x)), round(float(y))), (round(0.22 * height), round(0.33 * height)), 20, 0, 360, (1,), -1
        )
        images[frame][hand > 0] = np.median(images[frame][face], axis=0) * [0.85, 0.75, 0.7]  # A darker skin's colour.
        hidden[frame] = (hand > 0) & face
    occlusion = Occlusion(images, landmarks)
    found = [occlusion.mark(labels_of(points), frame) == Label.OCCLUDED for frame, points in enumerate(landmarks)]
    assert not any(found[frame].any() for frame in [*range(7), *range(17, FRAMES)])
    truth = np.stack([hidden[frame] for frame in range(9, 15)])
    mine = np.stack(found[9:15])
    assert (mine & truth).sum() / truth.sum() > 0.8
    assert (mine & ~truth).sum() < 0.6 * truth.sum(), "grown by a margin of a twentieth of the face"


def test_expressions_and_turns_hide_nothing(clip):
    images, landmarks = clip
    occlusion = Occlusion(images, landmarks)
    for frame, points in enumerate(landmarks):
        labels = labels_of(points)
        assert occlusion.mark(labels, frame) is labels


def test_a_hole_in_given_labels_is_something_before_the_face(clip):
    images, landmarks = clip
    labels = labels_of(landmarks[3])
    x, y = np.rint(landmarks[3].mean(0)).astype(int)
    labels[y - 4 : y + 4, x - 4 : x + 4] = Label.TORSO
    labels[:, :2] = Label.TORSO
    marked = Occlusion(images, landmarks).mark(labels, 3)
    hole = marked == Label.OCCLUDED
    assert hole[y - 4 : y + 4, x - 4 : x + 4].all() and 64 < hole.sum() < 4 * 64
    np.testing.assert_array_equal(marked[~hole], labels[~hole])


def test_the_largest_area_of_a_piece_is_that_of_one_frame():
    pieces = np.array([[[1, 1, 2]], [[1, 0, 2]], [[3, 3, 3]]])
    counted = np.array([[[True, True, True]], [[True, True, True]], [[True, False, True]]])
    assert largest_areas(pieces, counted, 4).tolist() == [1, 2, 1, 2, 0]


def test_areas_of_many_pieces_in_many_frames_take_little_memory():
    pieces = np.arange(1, 4001).reshape(2000, 2, 1)  # A clip of 20 minutes has ten times as many, in 36,000 frames.
    tracemalloc.start()
    areas = largest_areas(pieces, np.ones(pieces.shape, bool), 4000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert areas[1:].tolist() == [1] * 4000 and peak < 2**20
