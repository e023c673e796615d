"""Metrics against numbers worked out by hand and against torchmetrics."""

import math

import pytest
import torch
from stand_in_lpips import install
from torchmetrics.functional.image import structural_similarity_index_measure

from nerfblendshape_ns.model_components.metrics.image_metrics import head_metrics, image_metrics, psnr
from nerfblendshape_ns.model_components.metrics.lpips import cached_lpips


def test_psnr_by_hand():
    truth = torch.zeros(4, 4, 3)
    prediction = truth.clone()
    prediction[:2] = 0.1  # Mean squared error 0.01 inside the mask, 0.005 on the whole image.
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[:2] = True
    assert psnr(prediction, truth, mask) == pytest.approx(20.0, abs=1e-4)
    assert psnr(prediction, truth) == pytest.approx(-10 * math.log10(0.005), abs=1e-4)


def test_head_metrics_keys_and_whole_image_values():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(40, 48, 3, generator=generator)
    prediction = (truth + 0.05 * torch.randn(40, 48, 3, generator=generator)).clamp(0, 1)
    head = torch.zeros(40, 48, dtype=torch.bool)
    head[10:30, 12:36] = True
    metrics = head_metrics(prediction, truth, head)
    assert set(metrics) == {"psnr", "ssim", "l1", "psnr_head", "ssim_head"}
    planes = prediction.permute(2, 0, 1)[None], truth.permute(2, 0, 1)[None]
    assert metrics["ssim"] == pytest.approx(float(structural_similarity_index_measure(*planes, data_range=1.0)))
    assert metrics["l1"] == pytest.approx(float((prediction - truth).abs().mean()))
    assert metrics["psnr_head"] == pytest.approx(psnr(prediction[10:30, 12:36], truth[10:30, 12:36]), abs=1e-4)


def test_ssim_inside_the_mask_sees_only_the_mask():
    truth = torch.rand(48, 48, 3, generator=torch.Generator().manual_seed(1))
    prediction = truth.clone()
    prediction[:, 30:] = 0.5  # Wrong on the right, far from the mask on the left.
    head = torch.zeros(48, 48, dtype=torch.bool)
    head[10:38, 6:20] = True
    metrics = head_metrics(prediction, truth, head)
    assert metrics["ssim_head"] == pytest.approx(1.0, abs=1e-4)
    assert metrics["ssim"] < 0.9


def test_empty_mask_gives_finite_figures():
    truth = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(2))
    metrics = head_metrics(truth, truth, torch.zeros(32, 32, dtype=torch.bool))
    assert all(math.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize(("size", "expected"), [(40, ["lpips", "lpips_vgg"]), (30, ["lpips_vgg"]), (15, [])])
def test_lpips_of_the_networks_that_are_given_and_can_take_the_image(monkeypatch, tmp_path, size, expected):
    install(monkeypatch, tmp_path)
    networks, generator = cached_lpips("cpu"), torch.Generator().manual_seed(3)
    truth, prediction = (torch.rand(size, size + 8, 3, generator=generator) for _ in range(2))
    head = torch.zeros(size, size + 8, dtype=torch.bool)
    head[: size // 2] = True
    metrics = head_metrics(prediction + 0.5, truth, head, networks)
    assert [name for name in metrics if name.startswith("lpips")] == expected
    bright, planes = (prediction + 0.5).clamp(0, 1).permute(2, 0, 1)[None], truth.permute(2, 0, 1)[None]
    for name in expected:
        assert metrics[name] == pytest.approx(float(networks[name](bright, planes)), rel=1e-5)
    assert [name for name in image_metrics(prediction, truth, networks)[0] if name.startswith("lpips")] == expected
    assert set(image_metrics(prediction, truth)[0]) == {"psnr", "ssim", "l1"}
