import numpy as np
import pytest

from nerfblendshape_ns.process_data.face.one_euro_filter import OneEuroFilter


def points(x):
    """Three points of a face 20 wide and 10 high."""
    return np.array([[x, 0.0, 0.0], [x + 20.0, 0.0, 0.0], [x + 20.0, 10.0, 0.0]])


def test_the_second_frame_by_hand():
    smooth = OneEuroFilter()
    assert np.array_equal(smooth(points(100.0), 1.0), points(100.0))
    second = smooth(points(101.0), 1.1)
    # Speed in face sizes: 1 / 15 per 0.1 s. Weight of a cutoff f at a rate r: 1 / (1 + r / (2 pi f)).
    speed = (1 / 15 * 10) / (1 + 10 / (2 * np.pi))
    weight = 1 / (1 + 10 / (2 * np.pi * (0.05 + 80 * speed)))
    assert second[0, 0] == pytest.approx(100 + weight)
    assert second[2, 1] == 10.0


def test_noise_of_a_still_face_is_smoothed_and_a_fast_one_is_followed():
    random, smooth = np.random.default_rng(0), OneEuroFilter()
    still = np.stack([smooth(points(0.0) + random.normal(0, 0.01, (3, 3)), 1 + step / 30) for step in range(200)])
    assert still[50:].std(0).max() < 0.004
    fast = OneEuroFilter()
    moving = [fast(points(10.0 * step), 1 + step / 30) for step in range(30)]
    assert abs(moving[-1][0, 0] - 290.0) < 1.0
