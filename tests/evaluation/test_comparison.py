"""Measures of a picture against torchmetrics, scikit-image and numbers worked out by hand."""

import math

import pytest
import skimage.metrics
import torch
import torchmetrics.functional
from made_pictures import blurred, square, texture, waves
from torch import nn

from nerfblendshape_ns.evaluation.comparison import Comparison
from nerfblendshape_ns.evaluation.flip import flip_map

NAMES = {"l1", "psnr", "ssim", "flip", "sharpness"}


class MeanDifference(nn.Module):
    """Like LPIPS in its layers: one as fine as the picture, one of a single cell that counts twice."""

    def layers(self, a, b):
        difference = (a - b).abs().mean(1, keepdim=True)
        return [difference, 2.0 * difference.mean((2, 3), keepdim=True)]


def test_whole_as_torchmetrics_and_scikit_image():
    prediction, truth = waves(96)
    found = Comparison(prediction, truth, {}).whole()
    assert set(found) == NAMES
    planes = [image.permute(2, 0, 1)[None] for image in (prediction, truth)]
    functional = torchmetrics.functional
    ssim = functional.image.structural_similarity_index_measure(*planes, data_range=1.0, return_full_image=True)[1]
    assert found["ssim"] == pytest.approx(float(ssim.mean()), abs=1e-6)
    psnr = functional.image.peak_signal_noise_ratio(*planes, data_range=1.0)
    assert found["psnr"] == pytest.approx(float(psnr), abs=1e-4)
    arrays = truth.numpy(), prediction.numpy()
    assert found["psnr"] == pytest.approx(skimage.metrics.peak_signal_noise_ratio(*arrays, data_range=1.0), abs=1e-4)
    l1 = functional.mean_absolute_error(prediction.contiguous(), truth.contiguous())
    assert found["l1"] == pytest.approx(float(l1), abs=1e-6)
    assert found["flip"] == pytest.approx(float(flip_map(prediction, truth).mean()), abs=1e-6)


def test_ssim_of_a_region_as_scikit_images_map():
    prediction, truth = waves(96)
    _, reference = skimage.metrics.structural_similarity(
        truth.numpy(),
        prediction.numpy(),
        data_range=1.0,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    mask = square(96, 20, 70)
    found = Comparison(prediction, truth, {}).inside(mask)
    assert found["ssim"] == pytest.approx(reference[mask.numpy()].mean(), abs=1e-4)


def test_inside_by_hand():
    truth = torch.full((32, 32, 3), 0.5)
    prediction = truth.clone()
    prediction[8:16, 8:16] += 0.1
    comparison = Comparison(prediction, truth, {})
    exact = comparison.inside(square(32, 8, 16))
    assert exact["l1"] == pytest.approx(0.1, abs=1e-6) and exact["psnr"] == pytest.approx(20.0, abs=1e-4)
    # A region four times as large holds the same error: mean squared error 0.0025.
    larger = comparison.inside(square(32, 4, 20))
    assert larger["l1"] == pytest.approx(0.025, abs=1e-6)
    assert larger["psnr"] == pytest.approx(-10 * math.log10(0.0025), abs=1e-4)
    assert larger["flip"] == pytest.approx(float(flip_map(prediction, truth)[4:20, 4:20].mean()), abs=1e-6)


def test_a_region_of_the_whole_image_is_the_whole():
    comparison = Comparison(*waves(64), {})
    everywhere = comparison.inside(torch.ones(64, 64, dtype=torch.bool))
    assert everywhere == pytest.approx(comparison.whole())


def test_an_error_elsewhere_does_not_count():
    truth = texture(64)
    prediction = truth.clone()
    prediction[:, 48:] = 1.0
    found = Comparison(prediction, truth, {}).inside(square(64, 8, 24))
    assert found["l1"] == 0.0 and found["flip"] == 0.0 and found["psnr"] == 100.0
    assert found["ssim"] == pytest.approx(1.0, abs=1e-5) and found["sharpness"] == pytest.approx(1.0, abs=1e-5)


def test_an_empty_region_has_no_measure():
    networks = {"lpips": MeanDifference()}
    found = Comparison(*waves(32), networks).inside(torch.zeros(32, 32, dtype=torch.bool))
    assert set(found) == NAMES | {"lpips"}
    assert all(math.isnan(value) for value in found.values())


def test_networks_measure_whole_images_and_regions():
    prediction, truth = waves(48)
    comparison = Comparison(prediction, truth, {"lpips": MeanDifference(), "lpips_vgg": MeanDifference()})
    whole = comparison.whole()
    assert set(whole) == NAMES | {"lpips", "lpips_vgg"}
    assert whole["lpips"] == pytest.approx(3.0 * whole["l1"], rel=1e-5)
    mask = square(48, 10, 30)
    inside = comparison.inside(mask)
    expected = float((prediction - truth)[mask].abs().mean()) + 2.0 * whole["l1"]
    assert inside["lpips_vgg"] == pytest.approx(expected, abs=1e-6)


def test_values_outside_the_display_are_clipped():
    truth = torch.ones(16, 16, 3)
    for pair in ((truth + 0.5, truth), (truth, truth + 0.5)):
        assert Comparison(*pair, {}).whole()["l1"] == 0.0


def test_equal_images():
    image = texture(48)
    found = Comparison(image, image, {}).whole()
    assert found == pytest.approx({"l1": 0.0, "psnr": 100.0, "ssim": 1.0, "flip": 0.0, "sharpness": 1.0}, abs=1e-5)


def test_sharpness_falls_with_blur():
    truth = waves(64)[1]
    values = [Comparison(blurred(truth, deviation), truth, {}).whole()["sharpness"] for deviation in (0.4, 0.7, 1, 2)]
    assert all(before > after for before, after in zip([1.0, *values], values))
    assert values[-1] < 0.3


def test_sharpness_by_hand_and_of_a_flat_truth():
    # A bright column of height 0.4 on grey: absolute Laplacians 0.4, 0.8 and 0.4; halved in the prediction.
    truth = torch.full((9, 9, 3), 0.3)
    prediction = truth.clone()
    truth[:, 4], prediction[:, 4] = 0.7, 0.5
    assert Comparison(prediction, truth, {}).whole()["sharpness"] == pytest.approx(0.5, abs=1e-3)
    flat = torch.full((9, 9, 3), 0.3)
    assert Comparison(flat, flat, {}).whole()["sharpness"] == pytest.approx(1.0)
    assert math.isfinite(Comparison(truth, flat, {}).whole()["sharpness"])


def test_error_map_is_where_the_error_is():
    prediction, truth = waves(40)
    comparison = Comparison(prediction, truth, {})
    assert torch.allclose(comparison.error_map(), (prediction - truth).abs().mean(-1))
    assert float(comparison.error_map().mean()) == pytest.approx(comparison.whole()["l1"], abs=1e-6)


def test_images_of_two_sizes_are_refused():
    message = r"two images \[height, width, 3\] of one size, not \[8, 8, 3\] and \[8, 9, 3\]"
    with pytest.raises(ValueError, match=message):
        Comparison(torch.zeros(8, 8, 3), torch.zeros(8, 9, 3), {})
