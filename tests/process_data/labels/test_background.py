import numpy as np
import pytest

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.process_data.labels import background
from nerfblendshape_ns.process_data.labels.background import choose_frames, clean_plate, inpaint


def moving_person(num_frames=20, height=48, width=80, travel=30):
    """A striped wall, and a block of a person that walks across part of it."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    wall = np.stack([columns * 3, rows * 5, (columns + rows) % 200], -1).astype(np.uint8)
    frames, labels = [], np.zeros((num_frames, height, width), np.uint8)
    for index in range(num_frames):
        left = 10 + round(travel * index / max(1, num_frames - 1))
        frame = wall.copy()
        frame[10:, left : left + 12] = 255
        labels[index, 10:, left : left + 12] = Label.HEAD
        labels[index, 30:, left : left + 12] = Label.TORSO
        frames.append(frame)
    return wall, frames, labels


def test_background_that_is_seen_is_recovered_exactly():
    wall, frames, labels = moving_person()
    plate = clean_plate(frames, labels)
    assert plate.never_seen == 0
    np.testing.assert_array_equal(plate.colours, wall)


def test_contaminated_rim_is_avoided_where_other_views_exist(monkeypatch):
    wall, frames, labels = moving_person()
    for frame, label in zip(frames, labels):
        person = np.flatnonzero((label > 0).any(0))
        frame[10:, person[0] - 1] = 255  # the mask misses a column of the person
    monkeypatch.setattr(background, "MARGIN", 0.03)
    plate = clean_plate(frames, labels)
    np.testing.assert_array_equal(plate.colours, wall)


def test_never_seen_area_is_reported_and_filled_from_its_rim(monkeypatch):
    height, width = 40, 60
    frame = np.full((height, width, 3), (100, 150, 200), np.uint8)
    frame[10:30, 20:40] = 0
    labels = np.zeros((5, height, width), np.uint8)
    labels[:, 10:30, 20:40] = Label.HEAD
    monkeypatch.setattr(background, "MARGIN", 0.01)
    plate = clean_plate([frame] * 5, labels)
    # The person covers 20 x 20 of 2400 pixels in every frame; half the margin is less than a pixel.
    assert plate.never_seen == pytest.approx(400 / 2400)
    np.testing.assert_allclose(plate.colours.astype(int), np.broadcast_to((100, 150, 200), frame.shape), atol=2)


def test_labels_may_be_read_one_by_one():
    wall, frames, labels = moving_person(num_frames=6)

    class Lazy:
        def __len__(self):
            return len(labels)

        def __getitem__(self, index):
            return labels[index]

    plate = clean_plate(frames, Lazy())
    np.testing.assert_array_equal(plate.colours, clean_plate(frames, labels).colours)
    assert plate.colours.shape == wall.shape


def test_inpainting_leaves_the_rest_alone_and_is_smooth():
    columns = np.linspace(0, 255, 64)
    image = np.repeat(np.broadcast_to(columns, (48, 64))[..., None], 3, -1).astype(np.uint8)
    hole = np.zeros((48, 64), bool)
    hole[16:32, 24:40] = True
    broken = image.copy()
    broken[hole] = 7
    filled = inpaint(broken, hole)
    np.testing.assert_array_equal(filled[~hole], image[~hole])
    assert np.abs(filled[hole].astype(int) - image[hole]).mean() < 15
    assert np.abs(np.diff(filled[24, 20:44, 0].astype(int))).max() < 40


def test_inpainting_without_any_known_pixel_is_grey():
    image = np.zeros((8, 8, 3), np.uint8)
    assert (inpaint(image, np.ones((8, 8), bool)) == 128).all()
    np.testing.assert_array_equal(inpaint(image, np.zeros((8, 8), bool)), image)


def test_a_moment_that_uncovers_most_is_not_missed():
    height, width, num_frames = 64, 64, 400
    labels = np.zeros((num_frames, height, width), np.uint8)
    labels[:, 10:, 20:44] = Label.HEAD
    labels[203:206] = 0  # the person leaves for three frames, between those that are spread over the clip
    spread = np.linspace(0, num_frames - 1, 6).round().astype(int)
    assert not set(spread) & {203, 204, 205}
    chosen = choose_frames(labels, 12)
    assert {203, 204, 205} <= set(chosen.tolist()) and len(chosen) == 12
    assert set(spread) <= set(chosen.tolist())
    assert choose_frames(labels[:8], 12).tolist() == list(range(8))
