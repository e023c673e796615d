"""FLIP against what the authors' own flip-evaluator 1.7 gave for the same pictures."""

import pytest
import torch
from made_pictures import waves

from nerfblendshape_ns.evaluation.flip import flip_map

REFERENCE = {
    128: (0.4674161, {(42, 64): 0.4107859, (64, 32): 0.8489094, (96, 85): 0.5353713, (2, 3): 0.2885552}),
    512: (0.3692713, {(170, 256): 0.2419723, (256, 128): 0.6844900, (384, 341): 0.4501840, (2, 3): 0.3124182}),
}
"""By size: the mean of the map, and some of its pixels, the last one within the filters' reach of the border."""


@pytest.mark.parametrize("size", REFERENCE)
def test_as_the_reference_implementation(size):
    mean, pixels = REFERENCE[size]
    found = flip_map(*waves(size))
    assert found.shape == (size, size)
    assert float(found.double().mean()) == pytest.approx(mean, abs=2e-6)
    for place, value in pixels.items():
        assert float(found[place]) == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize(
    "one, other, reference",
    [
        ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), 1.0),  # Green and blue: the two colours furthest apart.
        ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), 0.967386),
        ((0.5, 0.5, 0.5), (0.6, 0.5, 0.5), 0.249638),
    ],
)
def test_plain_colours(one, other, reference):
    pictures = [torch.tensor(color).expand(16, 20, 3) for color in (one, other)]
    assert flip_map(*pictures).flatten().tolist() == pytest.approx([reference] * 320, abs=2e-6)


def test_nothing_for_equal_pictures_and_symmetric():
    prediction, truth = waves(48)
    assert float(flip_map(truth, truth).max()) == 0.0
    assert torch.allclose(flip_map(prediction, truth), flip_map(truth, prediction), atol=1e-6)
