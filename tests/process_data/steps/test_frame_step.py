import numpy as np
import pytest

from nerfblendshape_ns.process_data.face.face_choice import FaceSequence
from nerfblendshape_ns.process_data.steps.frame_step import Shot, break_flags


def test_a_shot_counts_as_long_as_its_subject_is_seen():
    times = np.arange(100) / 25
    subject = FaceSequence([0.0, 1.0], [(0, 0, 1, 1)] * 2)
    # 70 frames last 2.76 seconds; the subject is in two of twenty probed frames.
    assert Shot(np.arange(70), [subject], 20).seconds_with_face(times) == pytest.approx(0.276)
    assert Shot(np.arange(70, 100), [subject], 2).seconds_with_face(times) == pytest.approx(29 / 25)
    assert Shot(np.arange(70), [], 20).seconds_with_face(times) == 0


def test_motion_is_interrupted_by_a_jump_even_where_its_frame_is_left_out():
    positions = np.array([4, 6, 8, 10, 12])
    assert np.flatnonzero(break_flags(positions, np.array([2, 7, 12]))).tolist() == [2, 4]
    # A jump before the first frame, or at it, interrupts nothing.
    assert not break_flags(positions, np.array([3, 4])).any()
