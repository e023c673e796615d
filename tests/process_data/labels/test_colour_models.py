import numpy as np
import pytest

from nerfblendshape_ns.process_data.labels.colour_models import BINS, ColourModel, colour_bins


def test_colour_model_knows_what_it_saw():
    red, blue = np.full((4, 4, 3), (200, 30, 30), np.uint8), np.full((4, 4, 3), (30, 30, 200), np.uint8)
    model = ColourModel()
    assert (model.log_density() == 0).all()
    model.add(colour_bins(red), np.ones((4, 4)))
    density = model.log_density()
    assert density.shape == (BINS**3,)
    assert density[colour_bins(red)[0, 0]] > 5
    assert density[colour_bins(blue)[0, 0]] == pytest.approx(np.log(0.02), abs=1e-3)
    # With the uniform density mixed in it is a density: its mean over all bins is 1.
    assert np.exp(density.astype(np.float64)).mean() == pytest.approx(1.0, rel=1e-3)


def test_shades_of_skin_are_the_neck_but_a_white_collar_is_not():
    def pixel(colour):
        return np.full((1, 1, 3), colour, np.uint8)

    model = ColourModel()
    generator = np.random.default_rng(4)
    skin = np.clip(generator.normal((205, 150, 130), 6, (40, 40, 3)), 0, 255).astype(np.uint8)
    model.add(colour_bins(skin), np.ones((40, 40)))
    shades = model.shades()
    assert shades[colour_bins(pixel((205, 150, 130)))[0, 0]] > 0.7
    assert shades[colour_bins(pixel((144, 105, 91)))[0, 0]] > 0.5  # the same skin in the shadow of the chin
    assert shades[colour_bins(pixel((230, 230, 230)))[0, 0]] < 0.2
    assert shades[colour_bins(pixel((40, 60, 140)))[0, 0]] < 0.01
    assert shades[colour_bins(pixel((62, 44, 38)))[0, 0]] == 0  # the skin's hue, but as dark as a T-shirt
    assert (ColourModel().shades() == 1).all()
