"""Names, ranges and edits of the coefficients behind the sliders."""

import numpy as np
import pytest

from nerfblendshape_ns.viewer.actions import Actions
from nerfblendshape_ns.viewer.coefficients import CoefficientTable, slider_range

NAMES = ["jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp"]


@pytest.fixture
def table() -> CoefficientTable:
    track = np.array(
        [[0.0, 0.0, 0.0, 0.2], [0.1, 0.8, 0.6, 0.2], [0.4, 0.0, 0.0, 0.2], [9.0, 9.0, 9.0, 9.0]], np.float32
    )
    return CoefficientTable(
        NAMES, np.array([0.0, 0.0, 0.0, 0.2]), np.array([0.4, 0.8, 0.6, 0.2]), track, np.array([0, 1, 2])
    )


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0.0, 0.8, (0.0, 0.8, 0.001)),
        (0.0, float(np.float32(0.8)), (0.0, 0.8, 0.001)),
        (-3.0, 5.0, (-3.0, 5.0, 0.01)),
        (0.0, 1.0, (0.0, 1.0, 0.01)),
        (0.01234, 0.5, (0.012, 0.5, 0.001)),
        (-250.0, 250.0, (-250.0, 250.0, 1.0)),
    ],
)
def test_slider_range(low, high, expected):
    slider = slider_range(low, high)
    assert (slider.minimum, slider.maximum, slider.step) == pytest.approx(expected)
    assert slider.minimum <= slider.nearest(low) <= slider.maximum
    assert slider.nearest(1e9) == slider.maximum


def test_the_most_active_comes_first_and_what_never_moves_has_no_slider(table):
    # Standard deviations over the training frames: jaw 0.17, left 0.38, right 0.28, brow 0.
    assert table.by_activity() == [1, 2, 0]
    assert table.movable == [0, 1, 2]


def test_a_slider_may_go_half_a_range_beyond(table):
    slider = table.slider(0, beyond=True)
    assert (slider.minimum, slider.maximum) == pytest.approx((-0.2, 0.6))


def test_neutral_lies_in_the_training_range(table):
    np.testing.assert_allclose(table.neutral, [0.0, 0.0, 0.0, 0.2])


def test_the_gain_comes_after_the_clamp_and_about_neutral(table):
    values = np.array([1.0, 0.4, 0.0, 0.2], np.float32)
    np.testing.assert_allclose(table.effective(values, clamp=True, gain=1.5), [0.6, 0.6, 0.0, 0.2], atol=1e-6)
    np.testing.assert_allclose(table.effective(values, clamp=False, gain=1.5), [1.5, 0.6, 0.0, 0.2], atol=1e-6)
    np.testing.assert_allclose(table.effective(values, clamp=True, gain=0.0), table.neutral)


def test_a_symmetric_edit_sets_both_sides_and_leaves_the_original(table):
    before = np.zeros(4, np.float32)
    np.testing.assert_allclose(table.edited(before, 2, 0.5, symmetric=True), [0, 0.5, 0.5, 0])
    np.testing.assert_allclose(table.edited(before, 2, 0.5, symmetric=False), [0, 0, 0.5, 0])
    np.testing.assert_allclose(table.edited(before, 0, 0.3, symmetric=True), [0.3, 0, 0, 0])
    assert not before.any()


def test_a_random_face_is_made_of_training_values_and_nearly_symmetric(table):
    generator = np.random.default_rng(0)
    faces = np.array([table.random(generator) for _ in range(200)])
    for index in range(4):
        assert set(np.unique(faces[:, index])) <= set(table.track[:3, index])
    blinks = {tuple(face) for face in faces[:, 1:3].astype(float).round(3).tolist()}
    assert blinks == {(0.0, 0.0), (0.8, 0.6)}
    assert len({tuple(face) for face in faces.tolist()}) > 3, "whole training frames come back"


def test_without_a_clip_ranges_stand_in(table):
    bare = CoefficientTable(table.names, table.minimum, table.maximum, table.neutral[None], np.array([0]))
    assert bare.by_activity() == sorted(bare.movable, key=lambda index: -(bare.maximum - bare.minimum)[index])
    generator = np.random.default_rng(0)
    faces = np.array([bare.random(generator) for _ in range(200)])
    assert bool((faces >= bare.minimum).all() and (faces <= bare.maximum).all())
    assert len(np.unique(faces[:, 0])) > 10 and faces[:, 0].std() > 0.1 * (bare.maximum - bare.minimum)[0]
    assert Actions(bare).initial().source == "manual" and Actions(table).initial().source == "captured frame"


def test_coefficients_by_name(table):
    vector, unknown = table.from_names({"jawOpen": 0.3, "tongueOut": 1.0})
    np.testing.assert_allclose(vector, [0.3, 0, 0, 0.2])
    assert unknown == ["tongueOut"]
