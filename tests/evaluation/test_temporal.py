"""The temporal difference, worked out by hand."""

import math

import pytest
import torch
from made_pictures import square

from nerfblendshape_ns.evaluation.comparison import temporal_difference


def plain(value: float) -> torch.Tensor:
    return torch.full((8, 8, 3), value)


def test_changes_are_compared_and_constant_errors_are_not():
    # The truth brightens by 0.2, the prediction, always 0.1 too dark, with it.
    assert temporal_difference((plain(0.2), plain(0.3)), (plain(0.4), plain(0.5))) == pytest.approx(0.0, abs=1e-7)
    # A truth that stands still under a prediction that flickers by 0.05.
    assert temporal_difference((plain(0.5), plain(0.3)), (plain(0.45), plain(0.3))) == pytest.approx(0.05, abs=1e-6)
    # Movement the wrong way: -0.1 in place of 0.1.
    assert temporal_difference((plain(0.5), plain(0.5)), (plain(0.4), plain(0.6))) == pytest.approx(0.2, abs=1e-6)


def test_only_inside_the_mask():
    after = plain(0.5)
    after[:2] = 0.9  # A quarter of the picture.
    before = plain(0.5), plain(0.5)
    assert temporal_difference(before, (after, plain(0.5))) == pytest.approx(0.1, abs=1e-6)
    assert temporal_difference(before, (after, plain(0.5)), square(8, 4, 8)) == 0.0
    assert math.isnan(temporal_difference(before, (after, plain(0.5)), torch.zeros(8, 8, dtype=torch.bool)))


def test_a_constant_error_that_comes_to_light_is_no_change():
    """Something is before the face in the upper half of the first frame, where its truth holds the render."""
    prediction, truth, seen = plain(0.6), plain(0.5), square(8, 4, 8)
    hidden_before = torch.where(seen[..., None], truth, prediction)
    before, after = (prediction, hidden_before), (prediction, truth)
    assert temporal_difference(before, after) > 0.0
    assert temporal_difference(before, after, seen=seen) == pytest.approx(0.0, abs=1e-7)
    # The render alone changes, by 0.1: on the whole image hidden pixels have no difference, a part leaves them out.
    flickers = plain(0.7), truth
    whole, everywhere = seen.float().mean(), torch.ones(8, 8, dtype=torch.bool)
    assert temporal_difference(before, flickers, seen=seen) == pytest.approx(0.1 * float(whole), abs=1e-6)
    assert temporal_difference(before, flickers, everywhere, seen) == pytest.approx(0.1, abs=1e-6)
    assert math.isnan(temporal_difference(before, flickers, ~seen, seen))
