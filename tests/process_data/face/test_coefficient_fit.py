"""Coefficients follow what landmarks show, as far as the prior lets them, and not where landmarks are not trusted."""

from typing import Any, Dict, Tuple

import numpy as np
import pytest

from nerfblendshape_ns.process_data.face.coefficient_fit import fit_coefficients

FRAMES, POINTS, BASIS = 90, 60, 4
PIXEL = 1.0 / 800
MISSED = slice(60, 80)
"""Frames in which the tracker does not see the third coefficient."""


def clip() -> Tuple[Dict[str, Any], np.ndarray]:
    """What a tracker says of a face that moves linearly, and the true coefficients."""
    random = np.random.default_rng(0)
    mesh = random.uniform(-1, 1, (POINTS, 3)) * (7.0, 9.0, 3.0)
    motion = random.normal(0, 0.6, (BASIS, POINTS, 3))
    phase = np.arange(FRAMES)[:, None] * (0.31, 0.17, 0.23, 0.11)
    truth = 0.5 + 0.5 * np.sin(phase)
    yaw = 0.4 * np.sin(0.2 * np.arange(FRAMES))
    axes = np.zeros((FRAMES, 3, 3))  # Columns: right, up, back.
    axes[:, :, 0] = np.stack([np.cos(yaw), 0 * yaw, -np.sin(yaw)], 1)
    axes[:, 1, 1] = 1.0
    axes[:, :, 2] = np.stack([np.sin(yaw), 0 * yaw, np.cos(yaw)], 1)
    poses = np.concatenate([axes, 60.0 * axes[:, :, 2:]], axis=2)
    points = mesh + np.einsum("fk,kpa->fpa", truth, motion)
    local = np.einsum("fpa,fab->fpb", points - poses[:, None, :, 3], axes)
    tangents = np.stack([local[..., 0], -local[..., 1]], -1) / -local[..., 2:]
    tracked = truth.copy()
    tracked[MISSED, 2] = 0.5
    shared = {"tangents": tangents, "coefficients": tracked, "poses": poses.reshape(FRAMES, 12), "mesh": mesh}
    return {**shared, "pixel": PIXEL, "trust": np.ones(FRAMES)}, truth


def test_a_movement_that_the_tracker_misses_is_found():
    given, truth = clip()
    fitted, before, after = fit_coefficients(**given)
    missed = np.abs(given["coefficients"] - truth)[MISSED, 2].mean()
    assert missed > 0.25
    # What is missing makes the motion seem smaller elsewhere, so it is not found quite.
    assert np.abs(fitted - truth)[MISSED, 2].mean() < 0.4 * missed
    assert np.abs(fitted - truth)[:, [0, 1, 3]].mean() < 0.01
    assert before[MISSED].mean() > 2.0 and after.max() < 0.3


def test_distances_are_pixels_of_512():
    given, truth = clip()
    given["coefficients"] = truth
    shifted = given["tangents"] + np.random.default_rng(1).normal(0, 3 * PIXEL, given["tangents"].shape)
    fitted, before, after = fit_coefficients(**{**given, "tangents": shifted})
    # Two directions of three pixels each; a few unknowns take up a little of it.
    assert np.sqrt((before**2).mean()) == pytest.approx(3 * 2**0.5, rel=0.1)
    assert np.sqrt((after**2).mean()) == pytest.approx(3 * 2**0.5, rel=0.15)
    # Independent errors of 60 landmarks move the coefficients by less than they moved the landmarks.
    assert np.abs(fitted - truth).mean() < 0.05


def test_frames_whose_landmarks_are_not_trusted_stay_as_tracked():
    given, _ = clip()
    given["trust"][62:70] = 0.0
    expected, _, _ = fit_coefficients(**given)
    given["tangents"][62:70] += 60 * PIXEL  # A slip of the tracker.
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
