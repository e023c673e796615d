import numpy as np
import pytest

from nerfblendshape_ns.common.frame_numbers import name_frames, runs
from nerfblendshape_ns.common.smoothing import fill_gaps, jitter, whittaker


def test_smoothing_is_zero_phase():
    values = np.random.default_rng(0).normal(size=(80, 2))
    assert np.allclose(whittaker(values[::-1], 1.3)[::-1], whittaker(values, 1.3))
    # A pulse stays centred where it was.
    pulse = np.zeros((81, 1))
    pulse[40] = 1
    smooth = whittaker(pulse, 2.0)[:, 0]
    assert smooth.argmax() == 40 and np.allclose(smooth, smooth[::-1])
    assert (smooth * np.arange(81)).sum() / smooth.sum() == pytest.approx(40)


def test_straight_lines_pass_and_zero_changes_nothing():
    line = np.linspace(-3, 5, 50)[:, None]
    assert np.allclose(whittaker(line, 4.0), line)
    noise = np.random.default_rng(1).normal(size=(30, 3))
    assert np.array_equal(whittaker(noise, 0.0), noise)


@pytest.mark.parametrize("smoothness", [1.0, 3.0])
def test_a_period_of_two_pi_times_the_smoothness_is_halved(smoothness):
    frames = np.arange(400)
    wave = np.sin(frames / smoothness)[:, None]
    gain = whittaker(wave, smoothness)[150:250].std() / wave[150:250].std()
    # Exact for slow waves: 1 / (1 + s^4 (2 - 2 cos(1/s))^2).
    assert gain == pytest.approx(1 / (1 + smoothness**4 * (2 - 2 * np.cos(1 / smoothness)) ** 2), abs=0.01)
    assert gain == pytest.approx(0.5, abs=0.05)


def test_jitter_ignores_parabolas_and_sees_noise():
    frames = np.arange(100.0)
    assert np.allclose(jitter((0.01 * frames**2 - frames)[:, None]), 0, atol=1e-9)
    assert jitter(np.random.default_rng(0).normal(size=(4000, 1)))[0] == pytest.approx(0.87, abs=0.05)


def test_gaps_are_filled_between_neighbours_and_held_at_the_ends():
    values = np.array([np.nan, 1.0, np.nan, np.nan, 4.0, np.nan])[:, None] * np.ones((1, 2))
    assert fill_gaps(values)[:, 0].tolist() == [1, 1, 2, 3, 4, 4]
    assert fill_gaps(values.reshape(6, 1, 2)).shape == (6, 1, 2)


def test_frames_are_named_in_runs():
    assert runs(np.array([3, 4, 5, 9])) == [(3, 5), (9, 9)]
    assert name_frames(np.array([7])) == "frame 7"
    assert name_frames(np.array([3, 4, 5, 9])) == "frames 3-5, 9"
    assert name_frames(np.arange(0, 40, 2), most=2) == "frames 0, 2, and 18 more stretches"
