"""Coefficients follow what landmarks show, as far as the prior lets them, and not where landmarks are not trusted."""

import numpy as np
import pytest
from linear_face import MISSED, clip

from nerfblendshape_ns.process_data.pose.coefficient_fit import fit_coefficients


def test_a_movement_that_the_tracker_misses_is_found():
    given, truth = clip()
    fitted, before, after = fit_coefficients(**given)
    missed = np.abs(given["coefficients"] - truth)[MISSED, 2].mean()
    assert missed > 0.25
    # What is missing makes the motion seem smaller elsewhere, so it is not found quite.
    assert np.abs(fitted - truth)[MISSED, 2].mean() < 0.4 * missed
    assert np.abs(fitted - truth)[:, [0, 1, 3]].mean() < 0.01
    assert before[MISSED].mean() > 2.0 and after.max() < 0.3


def test_a_gaze_that_irises_alone_show_is_found():
    """As neighbours of the others, whose errors are alike, two points of hundreds would weigh too little."""
    irises = 400, 401
    given, truth = clip(402, irises)
    missed = np.abs(given["coefficients"] - truth)[MISSED, 2].mean()
    followed, stayed = (
        np.abs(fit_coefficients(**given, alone=alone)[0] - truth)[MISSED, 2].mean() for alone in (irises, ())
    )
    assert followed < 0.6 * missed < 0.7 * missed < stayed


def test_distances_are_pixels():
    given, truth = clip()
    given["coefficients"] = truth
    shifted = given["observed"] + np.random.default_rng(1).normal(0, 3, given["observed"].shape)
    fitted, before, after = fit_coefficients(**{**given, "observed": shifted})
    # Two directions of three pixels each; a few unknowns take up a little of it.
    assert np.sqrt((before**2).mean()) == pytest.approx(3 * 2**0.5, rel=0.1)
    assert np.sqrt((after**2).mean()) == pytest.approx(3 * 2**0.5, rel=0.15)
    # Independent errors of 60 landmarks move the coefficients by less than they moved the landmarks.
    assert np.abs(fitted - truth).mean() < 0.05


def test_frames_whose_landmarks_are_not_trusted_stay_as_tracked():
    given, _ = clip()
    given["trust"][62:70] = 0.0
    expected, _, _ = fit_coefficients(**given)
    given["observed"][62:70] += 60  # A slip of the tracker.
    fitted, _, _ = fit_coefficients(**given)
    np.testing.assert_array_equal(fitted[62:70], given["coefficients"][62:70])
    assert np.abs(fitted - given["coefficients"])[75:80, 2].mean() > 0.2
    np.testing.assert_array_equal(fitted, expected)


def test_a_coefficient_that_never_moves_stays():
    given, _ = clip()
    given["coefficients"][:, 3] = 0.0
    fitted, _, _ = fit_coefficients(**given)
    assert (fitted[:, 3] == 0).all()
    given["coefficients"][:] = 0.0
    fitted, before, after = fit_coefficients(**given)
    assert (fitted == 0).all()
    np.testing.assert_array_equal(before, after)
    given["coefficients"][:] = 0.3
    given["coefficients"][::2] += 1e-16  # Smoothing leaves such.
    fitted, before, after = fit_coefficients(**given)
    np.testing.assert_array_equal(fitted, given["coefficients"])
    assert np.isfinite(before).all() and np.isfinite(after).all()
