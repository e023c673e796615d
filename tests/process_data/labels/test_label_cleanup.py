import numpy as np
from drawn_person import BACKGROUND, HEAD, NECK, TORSO

from nerfblendshape_ns.process_data.labels.label_cleanup import absorb_islands, cut_slivers, tidy_labels


def labels_of(size=60):
    labels = np.zeros((size, size), np.uint8)
    labels[10:35, 20:40] = HEAD
    labels[35:45, 25:35] = NECK
    labels[45:, 10:50] = TORSO
    return labels


def test_islands_and_holes_go():
    clean = labels_of()
    dirty = clean.copy()
    dirty[50:53, 20:23] = HEAD  # a piece of head in the clothes
    dirty[20, 28:30] = BACKGROUND  # a hole in the face
    dirty[28:30, 30:32] = TORSO  # clothes in the face
    dirty[2:4, 2:4] = HEAD  # a piece of head on the wall
    dirty[38, 28] = TORSO  # a speck on the neck
    np.testing.assert_array_equal(tidy_labels(dirty, (30.0, 20.0), face_height=20.0), clean)


def test_head_piece_is_the_one_with_the_face():
    labels = np.zeros((40, 40), np.uint8)
    labels[2:10, 2:10] = HEAD
    labels[15:38, 15:38] = HEAD
    kept = absorb_islands(labels, HEAD, keep_point=(5.0, 5.0))
    assert (kept[2:10, 2:10] == HEAD).all() and (kept[15:] == BACKGROUND).all()
    largest = absorb_islands(labels, HEAD)
    assert (largest[15:38, 15:38] == HEAD).all() and (largest[:12] == BACKGROUND).all()


def test_two_halves_of_a_neck_beside_the_chin_both_stay():
    labels = np.zeros((40, 40), np.uint8)
    labels[:, 5:35] = HEAD
    labels[34:, 8:14] = NECK
    labels[34:, 26:32] = NECK
    np.testing.assert_array_equal(tidy_labels(labels, (20.0, 10.0), face_height=30.0), labels)


def test_spikes_towards_the_clothes_go_but_hair_against_the_wall_stays():
    labels = labels_of()
    labels[35:44, 25:26] = HEAD  # a sliver down the side of the neck
    labels[35:44, 24:25] = NECK
    labels[4:10, 30] = HEAD  # a wisp of hair
    cut = cut_slivers(labels, radius=2)
    assert (cut[37:43, 25] == NECK).all() and (cut[37:45] != HEAD).all()
    assert (cut[5:10, 30] == HEAD).all()
