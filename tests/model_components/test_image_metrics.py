"""Metrics against numbers worked out by hand and against torchmetrics."""

import math

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from nerfblendshape_ns.model_components.image_metrics import head_metrics, psnr


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
