import numpy as np
import pytest

from nerfblendshape_ns.process_data.face.face_choice import bystanders, describe_bystanders, follow_people
from nerfblendshape_ns.process_data.face.face_finder import distinct, overlap


def box(centre_x, centre_y, height):
    return centre_x - height / 2, centre_y - height / 2, centre_x + height / 2, centre_y + height / 2


def test_boxes_of_the_same_face_are_one():
    assert overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 1, 1), (2, 2, 3, 3)) == 0
    assert distinct([box(50, 50, 40), box(52, 50, 44), box(150, 50, 30)]) == [box(52, 50, 44), box(150, 50, 30)]


def test_two_people_who_move_are_kept_apart():
    times = np.arange(20) * 0.5
    faces = [[box(100 + 5 * index, 100, 80), box(400 - 6 * index, 120, 60)] for index in range(20)]
    # The order in which they are reported changes.
    faces = [pair[::-1] if index % 3 else pair for index, pair in enumerate(faces)]
    people = follow_people(times, faces)
    assert len(people) == 2
    assert [person.boxes[0] for person in people] == [box(100, 100, 80), box(400, 120, 60)]
    assert all(len(person.times) == 20 for person in people)


def test_the_persistent_face_beats_the_larger_one_that_passes_by():
    times = np.arange(20) * 0.5
    faces = [[box(100, 100, 80)] + ([box(400, 100, 150)] if 8 <= index < 11 else []) for index in range(20)]
    people = follow_people(times, faces)
    assert people[0].boxes[0] == box(100, 100, 80)
    text = describe_bystanders(people, 20, 500)
    assert text is not None and text.startswith("2 faces are seen; the largest and most persistent one is used (left")
    assert "right, 150 pixels high" in text and "in 100% of the probed frames" in text


def test_a_face_unseen_for_long_is_the_same_person_again():
    times = [0.0, 0.5, 1.0, 9.0, 9.5]
    people = follow_people(times, [[box(100, 100, 80)]] * 5)
    assert len(people) == 1 and people[0].times == times


def test_a_face_seen_once_is_no_bystander():
    faces = [[box(100, 100, 80)]] * 30
    faces[4] = [box(100, 100, 80), box(300, 100, 70)]
    people = follow_people(np.arange(30) * 0.5, faces)
    assert len(people) == 2 and not bystanders(people, 30) and describe_bystanders(people, 30, 500) is None


def test_no_face_at_all():
    assert follow_people([0.0, 1.0], [[], []]) == []
