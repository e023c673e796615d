"""The common unit of a clip's coefficients, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nerfblendshape_ns.data.expression_basis import choose_basis
from nerfblendshape_ns.data.expression_scale import LEAST, coefficient_scale, expression_scale
from nerfblendshape_ns.data.layouts import read_clip
from nerfblendshape_ns.recipes.datasets import write_synthetic
from nerfblendshape_ns.synthetic.dataset import ClipSettings

RAMP = np.linspace(0.0, 1.0, 11)[:, None]


def test_names_that_tell_the_unit_share_one_factor():
    values = RAMP * [0.5, 0.02, 0.25]
    names = ["jawOpen", "MouthSmile_L", "_neutral"]  # Another spelling, and MediaPipe's neutral.
    assert coefficient_scale(values, names).tolist() == [2.0, 2.0, 2.0]
    assert coefficient_scale(values * 2.0**-10, names).tolist() == [2048.0] * 3


def test_other_coefficients_have_each_its_own():
    values = RAMP * [0.5, 0.02, -4.0] - [0.0, 0.01, 1.0]
    assert coefficient_scale(values, ["a", "b", "c"]) == pytest.approx([2.0, 50.0, 0.25])
    mixed = coefficient_scale(RAMP * [0.5, 0.25, 8.0], ["jawOpen", "cheekPuff", "headYaw"])
    assert mixed.tolist() == [2.0, 2.0, 0.125]


def test_what_does_not_move_has_one():
    assert coefficient_scale(RAMP * [0.0, 0.0] + [3.0, 1e6], ["a", "jawOpen"]).tolist() == [1.0, 1.0]
    assert np.isfinite(coefficient_scale(RAMP * [1e-44, 1.0], ["a", "b"])).all()


def test_own_factors_follow_how_far_the_landmarks_move():
    values = RAMP * [1.0, 100.0, 1.0]
    seen = []

    def reach(unit_range):
        seen.append(unit_range)
        return np.array([0.5, 1.0, 0.001])

    scale = coefficient_scale(values, ["a", "b", "c"], reach)
    np.testing.assert_allclose(np.ptp(seen[0], axis=0), 1.0)
    np.testing.assert_allclose(np.ptp(values * scale, axis=0), [0.5, 1.0, LEAST], rtol=1e-6)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "clip"
    write_synthetic(ClipSettings(num_frames=60, width=48, height=48, fps=10), folder)
    return read_clip(folder)


def test_the_jaw_moves_its_landmarks_further_than_a_column_of_noise(clip):
    names = clip.expression_names
    noise = np.random.default_rng(0).normal(size=(60, 1)).astype(np.float32)
    values = np.concatenate([clip.expressions, noise], axis=1)
    unnamed = tuple(f"expr_{index:02d}" for index in range(values.shape[1]))
    train = np.arange(54)
    scale = expression_scale(replace(clip, expressions=values, expression_names=unnamed), train)
    ranges = dict(zip((*names, "noise"), np.ptp(values[train], axis=0) * scale))
    assert max(ranges.values()) == pytest.approx(1.0)
    assert ranges["jawOpen"] > 0.5 and ranges["noise"] < 0.3 * ranges["jawOpen"]
    assert min(value for value in ranges.values() if value > 0) > 0.09  # Nothing that moves is given up.


@pytest.mark.parametrize("choice", ["active", "all"])
def test_powers_of_two_change_no_bit_of_the_scaled_coefficients(clip, choice):
    train = np.arange(54)
    random = np.random.default_rng(1)
    turned = clip.expressions @ np.linalg.qr(random.normal(size=(21, 21)))[0].astype(np.float32)  # Signed, unnamed.
    unnamed = tuple(f"expr_{index:02d}" for index in range(21))
    each = (2.0 ** random.integers(-10, 11, 21)).astype(np.float32)
    cases = (
        (clip, clip.expression_names, np.float32(2.0**-10)),
        (clip, clip.expression_names, np.float32(2.0**10)),
        (replace(clip, expressions=turned), unnamed, each),
        (replace(clip, expressions=turned, landmarks=None), unnamed, each),
    )
    for plain, names, factors in cases:
        scaled = []
        for expressions in (plain.expressions, plain.expressions * factors):
            one = replace(plain, expressions=expressions, expression_names=names)
            scale = expression_scale(one, train)
            basis = choose_basis(expressions[train], names, choice, scale)
            scaled.append((basis.names, basis.apply(expressions) * basis.scale))
            spread = np.ptp(scaled[-1][1][train], axis=0)
            assert spread.max() == pytest.approx(1.0, rel=1e-5)
        assert scaled[0][0] == scaled[1][0]
        np.testing.assert_array_equal(scaled[0][1], scaled[1][1])
