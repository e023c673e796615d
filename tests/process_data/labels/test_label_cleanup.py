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


def test_spikes_between_neck_and_clothes_go_but_strands_of_hair_stay():
    labels = labels_of()
    labels[35:60, 25:26] = HEAD  # a sliver between the neck and the clothes beside it
    labels[35:60, 15:25] = TORSO
    labels[4:10, 30] = HEAD  # a wisp of hair against the wall
    labels[35:60, 18] = HEAD  # a strand on the clothes
    labels[35:44, 30] = HEAD  # and one on the neck
    cut = cut_slivers(labels, radius=2)
    assert (cut[37:44, 25] != HEAD).all()
    assert (cut[5:10, 30] == HEAD).all() and (cut[37:58, 18] == HEAD).all() and (cut[36:39, 30] == HEAD).all()


def test_what_hangs_beside_the_head_belongs_to_it():
    labels = labels_of(80)
    labels[30:60, 43:47] = HEAD  # a pigtail 3 pixels beside the head, above the clothes and on them
    labels[70:76, 20:24] = HEAD  # a print on the clothes
    tidied = tidy_labels(labels, (30.0, 20.0), face_height=40.0)
    assert (tidied[30:60, 43:47] == HEAD).all()
    assert (tidied[70:76, 20:24] == TORSO).all()
