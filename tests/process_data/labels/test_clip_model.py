import numpy as np
import pytest
from drawn_person import DrawnPersonMask, drawn_landmarks

from nerfblendshape_ns.process_data.labels.clip_model import ClipModel, SampleFrame
from nerfblendshape_ns.process_data.labels.colour_models import colour_bins
from nerfblendshape_ns.process_data.labels.face_layout import HeadFrame, face_geometry
from nerfblendshape_ns.process_data.labels.material_priors import (
    hanging_support,
    standing_support,
)


def test_hair_needs_hair_above_it():
    landmarks = drawn_landmarks()
    layout = face_geometry(HeadFrame(landmarks[None]), 0, landmarks, 128, 128, 1.0)
    hair = np.zeros((128, 128), np.float32)
    hair[20:110, 30:40] = 1  # long hair on the left
    hair[20:50, 88:98] = 1  # short hair on the right,
    hair[75:110, 88:98] = 1  # and below a gap a collar of the same colour
    support = hanging_support(hair, layout)
    assert support[105, 35] > 0.9
    assert support[80, 93] < 0.05
    assert (support[layout.y < layout.lobes] == 1).all()


def test_clothes_need_clothes_below_them():
    cloth = np.zeros((320, 256), np.float32)
    cloth[200:, 40:120] = 1
    support = standing_support(cloth, 64)
    assert support[250, 80] == 1
    # Half after 0.25 units (16 rows) without clothes; the unknown below the map counts half.
    assert support[184, 80] == pytest.approx(0.5, abs=1e-3)
    assert support[304, 200] == pytest.approx(0.25, abs=1e-3)


def test_clip_model_probabilities_sum_to_one(drawn_clip):
    frames, landmarks, _ = drawn_clip
    head_frame = HeadFrame(landmarks)
    samples = [
        SampleFrame(
            colour_bins(frame),
            DrawnPersonMask()(frame),
            face_geometry(head_frame, index, landmarks[index], 128, 128, 1.0),
        )
        for index, frame in enumerate(frames[:3])
    ]
    probabilities = ClipModel(samples).label_probabilities(samples[0])
    assert probabilities.shape == (4, 128, 128)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
