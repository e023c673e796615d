"""Retargeting: names, neutral, ranges, gain, by hand."""

import numpy as np
import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.retarget import (
    LARGEST_SCALE,
    CoefficientSpace,
    RangeCurve,
    match_names,
    neutral_face,
    plain_name,
    retargeting,
)


def ramp(*ranges, count=101):
    """Coefficients that rise evenly from low to high together, so the calmest frames are the first."""
    return np.stack([np.linspace(low, high, count) for low, high in ranges], axis=1)


def space(names, *ranges, basis_id="arkit52", **options):
    return CoefficientSpace(tuple(names), basis_id, ramp(*ranges), **options)


def test_names_match_in_any_order_and_spelling():
    driver = space(["MouthSmile_L", "jaw_open", "extra"], (0, 1), (0, 1), (0, 1))
    target = space(["jawOpen", "browInnerUp", "mouthSmileLeft"], (0, 1), (0, 1), (0, 1))
    assert match_names(driver, target).tolist() == [1, -1, 0]
    mapping = retargeting(driver, target, "none")
    assert mapping.missing == ("browInnerUp",) and mapping.unused == ("extra",)
    values = np.array([[0.25, 0.5, 0.9]])
    assert mapping.apply(values).tolist() == [[0.5, 0.0, 0.25]]


def test_plain_names():
    assert plain_name("eye_blink_l") == plain_name("EyeBlink_L") == plain_name("eyeBlinkLeft") == "eyeblinkleft"
    assert plain_name("mouth left") == plain_name("mouthLeft") and plain_name("tongueOut") == "tongueout"
    assert len({plain_name(name) for name in ("눈", "입", "Öffnen", "ffnen")}) == 4


def test_still_coefficients_that_are_not_used_are_not_worth_a_word():
    driver = space(["jawOpen", "_neutral", "tongueOut"], (0, 1), (0, 0.001), (0, 0.6))
    assert retargeting(driver, space(["jawOpen"], (0, 1)), "none").unused == ("tongueOut",)


def test_nothing_in_common_is_reported():
    with pytest.raises(UserError, match=r"2 coefficients \(a, b\) and this person's 1 \(c\) have no name in common"):
        match_names(space(["a", "b"], (0, 1), (0, 1)), space(["c"], (0, 1)))


def test_what_to_do_where_one_side_has_no_names():
    unnamed, named = space(["expr_00"], (0, 1), basis_id="custom"), space(["jawOpen"], (0, 1))
    with pytest.raises(
        UserError, match="the driver's columns have no names, so say what they are with --names arkit52"
    ):
        match_names(unnamed, named)
    with pytest.raises(
        UserError, match="the avatar's coefficients have no names, so give its dataset an expr_names.json"
    ):
        match_names(named, unnamed)
    with pytest.raises(UserError, match="use a driver with the same basis"):
        match_names(space(["expr_00"], (0, 1), basis_id="flame"), named)


def test_made_up_names_match_only_bases_of_one_size():
    target = space(["expr_00", "expr_01"], (0, 1), (0, 1), basis_id="custom")
    with pytest.raises(UserError, match="neither driver nor avatar names its coefficients"):
        match_names(space(["expr_00"], (0, 1), basis_id="custom"), target)
    assert match_names(space(["expr_00", "expr_01"], (0, 1), (0, 1)), target).tolist() == [0, 1]


def test_neutral_is_the_median_of_the_calmest_frames():
    # Twenty calm frames in the middle of a clip; the ten calmest of them decide, one bad value does not.
    frames = np.full((100, 2), 0.8)
    frames[40:60] = [0.1, 0.2]
    frames[50] = [0.12, 0.2]
    assert neutral_face(frames, "ab").tolist() == [0.1, 0.2]


def test_neutral_of_signed_coefficients_is_in_the_middle():
    frames = np.linspace(-1, 1, 201)[:, None]
    assert neutral_face(frames, "a")[0] == pytest.approx(0, abs=0.01)


def resting(low, high, rest, count=101):
    """A coefficient that rests for a third of the clip and then rises evenly."""
    return np.concatenate([np.full(count // 3, rest), np.linspace(low, high, count - count // 3)])[:, None]


def test_neutral_mode_moves_the_resting_face_only():
    driver = CoefficientSpace(("a",), "arkit52", resting(0.2, 1.2, 0.2))
    target = CoefficientSpace(("a",), "arkit52", resting(0.0, 1.0, 0.0))
    mapping = retargeting(driver, target, "neutral")
    assert (mapping.driver_neutral[0], mapping.neutral[0]) == (0.2, 0.0)
    assert mapping.apply(np.array([[0.2], [0.7], [1.4]]))[:, 0] == pytest.approx([0.0, 0.5, 1.0])
    assert mapping.apply(np.array([[1.4]]), clamp=False)[0, 0] == pytest.approx(1.2)


def test_range_mode_brings_peaks_to_peaks():
    driver = CoefficientSpace(("a",), "arkit52", resting(0.0, 1.0, 0.0))
    target = CoefficientSpace(("a",), "arkit52", resting(0.1, 0.6, 0.1))
    mapping = retargeting(driver, target, "range")
    # Each peak is the 98th percentile.
    peaks = [float(np.percentile(space.frames, 98)) for space in (driver, target)]
    mapped = mapping.apply(np.array([[0.0], [0.01], [peaks[0]], [5.0]]))[:, 0]
    assert mapped == pytest.approx([0.1, 0.11, peaks[1], 0.6], abs=1e-4)
    # Between them the curve rises ever more slowly.
    steps = np.diff(mapping.apply(np.linspace(0, 1, 21)[:, None])[:, 0])
    assert (steps > 0).all() and (np.diff(steps) < 0).all()


def test_small_ranges_are_enlarged_a_little_and_noise_not_at_all():
    names = ["jawOpen", "mouthFunnel", "mouthPucker"]  # ARKit's share a unit, in which 0.01 is noise.
    target = space(names, (0, 1.0), (0, 1.0), (0, 0.9))
    driver = space(names, (0, 0.4), (0, 0.01), (0, 0.8))
    mapping = retargeting(driver, target, "range")
    assert mapping.above.scale.tolist() == pytest.approx([LARGEST_SCALE, 1.0, 0.9 / 0.8])
    assert np.isinf(mapping.above.knee).all()


def test_left_and_right_share_a_scale_and_eyes_keep_looking_together():
    names = ["eyeBlinkLeft", "eyeBlinkRight", "eyeLookOutLeft", "eyeLookInRight", "eyeLookInLeft", "eyeLookOutRight"]
    driver = space(names, *[(0, 1.0)] * 6)
    target = space(names, (0, 0.9), (0, 0.4), (0, 0.8), (0, 0.5), (0, 1.0), (0, 1.0))
    mapped = retargeting(driver, target, "range").apply(np.full((1, 6), 0.5), clamp=False)[0]
    assert mapped[0] - mapped[1] == pytest.approx(0.0, abs=0.04)  # Their resting values differ a little.
    curve = retargeting(driver, target, "range").above
    assert curve.knee[0] == curve.knee[1] < np.inf and curve.knee[2] == curve.knee[3] < np.inf
    # The driver's 0.93 above neutral becomes sqrt(0.9 * 0.4) of that, the geometric mean of the person's two eyes.
    peak = 0.93
    assert float(RangeCurve(curve.scale[:1], curve.knee[:1])(np.array([[peak]]))[0, 0]) == pytest.approx(
        0.6 * peak, rel=0.01
    )
    assert np.isinf(curve.knee[4:]).all() and curve.scale[4:] == pytest.approx([1.0, 1.0])


def test_signed_coefficients_scale_each_side_by_itself():
    rest = np.zeros(40)
    both = np.concatenate([rest, np.linspace(0, 1, 30), np.linspace(0, -0.5, 30)])[:, None]
    own = np.concatenate([rest, np.linspace(0, 0.5, 30), np.linspace(0, -0.5, 30)])[:, None]
    mapping = retargeting(CoefficientSpace(("a",), "bfm79", both), CoefficientSpace(("a",), "bfm79", own), "range")
    high = [float(np.percentile(frames, 98)) for frames in (both, own)]
    assert mapping.apply(np.array([[high[0]], [0.0], [-0.4]]))[:, 0] == pytest.approx([high[1], 0.0, -0.4])


def test_gain_exaggerates_about_neutral_after_the_clamp():
    target = space(["a"], (0.2, 1.0))
    mapping = retargeting(target, target, "none")  # Rests at 0.2, the nearest to 0 that the range has.
    assert mapping.apply(np.array([[0.6], [3.0]]), gain=1.5)[:, 0] == pytest.approx([0.8, 1.4])
    assert mapping.apply(np.array([[0.6]]), gain=0.0)[0, 0] == pytest.approx(0.2)


def test_coefficients_of_unnamed_bases_have_units_of_their_own():
    """A jaw in radians beside expressions in standard deviations is as much an expression as they are."""
    names, factors = ["exp_00", "jaw"], np.array([1.0, 0.001])
    driver, target = space(names, (0, 3.0), (0, 3.0)), space(names, (0, 2.0), (0, 2.0))
    values = np.array([[1.0, 1.0]])
    small = [CoefficientSpace(one.names, "custom", one.frames * factors) for one in (driver, target)]
    expected = retargeting(driver, target, "range").apply(values)
    assert expected[0, 1] < 0.95  # Brought from the driver's larger peak to the person's.
    assert retargeting(*small, "range").apply(values * factors) == pytest.approx(expected * factors)
    assert retargeting(small[0], space(["exp_00"], (0, 2.0)), "range").unused == ("jaw",)


def test_missing_coefficients_rest():
    frames = np.concatenate([resting(0, 1, 0), resting(0.3, 0.9, 0.4)], axis=1)
    target = CoefficientSpace(("jawOpen", "mouthFunnel"), "arkit52", frames)
    for mode, rest in (("none", 0.3), ("neutral", 0.4), ("range", 0.4)):
        mapped = retargeting(space(["jawOpen"], (0, 1)), target, mode).apply(np.array([[0.5]]), gain=2.0)
        assert mapped[0, 1] == pytest.approx(rest), mode


def test_the_given_range_clamps():
    target = space(["a"], (0, 1), minimum=np.array([0.1]), maximum=np.array([0.5]))
    mapping = retargeting(space(["a"], (0, 1)), target, "none")
    assert mapping.apply(np.array([[0.0], [0.3], [0.8]]))[:, 0].tolist() == [0.1, 0.3, 0.5]


def test_a_driver_with_the_same_range_is_unchanged():
    frames = np.random.default_rng(3).uniform(0, 1, (300, 4))
    same = CoefficientSpace(("a", "b", "c", "d"), "arkit52", frames)
    assert np.allclose(
        retargeting(CoefficientSpace(same.names, "arkit52", frames.copy()), same, "range").apply(frames), frames
    )
