import cv2
import numpy as np
import pytest
from drawn_person import HEAD, NECK, TORSO

from nerfblendshape_ns.process_data.labels.label_statistics import LabelStatistics


def test_statistics_by_hand():
    statistics = LabelStatistics()
    first, second = np.zeros((2, 4), np.uint8), np.zeros((2, 4), np.uint8)
    first[0, :2] = HEAD
    second[0, 1:3] = HEAD
    second[1] = TORSO
    still = np.full((2, 4, 3), 90, np.uint8)
    statistics.add(first, still)
    statistics.add(second, still)
    # One pixel in common of three in either.
    assert statistics.ious["head"] == [pytest.approx(1 / 3)]
    assert statistics.ious["torso"] == [0] and np.isnan(statistics.ious["neck"]).all()
    assert statistics.mean_areas == {"background": 0.5, "head": 0.25, "neck": 0.0, "torso": 0.25, "occluded": 0.0}
    summary = statistics.summary()
    assert summary["iou"] == {"head": [0.3333, 0.3333], "neck": None, "torso": [0.0, 0.0]}
    # Nothing moves in the images, so that is all flicker.
    assert summary["iou_without_motion"] == summary["iou"]
    per_frame = statistics.per_frame()
    assert per_frame["head_change"] == [0.0, 0.6667]
    assert per_frame["areas_by_frame"]["torso"] == [0.0, 0.5]


def test_motion_is_no_flicker():
    texture = cv2.GaussianBlur(np.random.default_rng(5).integers(0, 255, (96, 128, 3)).astype(np.uint8), (0, 0), 2)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    statistics = LabelStatistics()
    for shift in (0, 4, 8):
        labels = np.zeros((96, 128), np.uint8)
        labels[20:60, 30 + shift : 70 + shift] = HEAD
        labels[60:70, 40 + shift : 60 + shift] = NECK
        statistics.add(labels, np.ascontiguousarray(np.roll(texture, shift, axis=1)))
    # 36 of 44 columns in common, whereas along the motion everything agrees.
    assert statistics.ious["head"] == [pytest.approx(36 / 44)] * 2
    assert min(statistics.moved_ious["head"]) > 0.96
    assert max(statistics.per_frame()["head_change"]) < 0.04


def test_a_strip_is_measured_too():
    statistics = LabelStatistics()
    for shift in (0, 4):
        labels = np.zeros((24, 400), np.uint8)
        labels[:, 100 + shift : 150 + shift] = HEAD
        statistics.add(labels, np.repeat(labels[..., None] * np.uint8(120), 3, 2))
    assert statistics.ious["head"] == [pytest.approx(46 / 54)] and statistics.moved_ious["head"][0] > 0.8
