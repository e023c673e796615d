"""The whole frame's metrics: three rows and the seam, the same finite keys for every frame."""

import math
from types import SimpleNamespace
from typing import Any

import torch
from stand_in_lpips import install
from torch.utils._python_dispatch import TorchDispatchMode

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.model_components.metrics.lpips import cached_lpips
from nerfblendshape_ns.model_components.torso.torso_metrics import (
    _coverage_message,
    person_alpha,
    torso_coverage,
    torso_metrics,
)

SIZE = 32


def scene(with_neck: bool = True):
    """A head on a torso, and outputs that are the truth itself."""
    labels = torch.zeros(SIZE, SIZE, 1, dtype=torch.uint8)
    labels[4:16, 8:24] = int(Label.HEAD)
    if with_neck:
        labels[16:, 8:24] = int(Label.TORSO)
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(SIZE, SIZE, 3, generator=generator)
    alpha = (labels == Label.HEAD).float()
    torso_alpha = (labels == Label.TORSO).float()
    batch = {
        "image": image,
        "alpha": alpha,
        "labels": labels,
        "torso": torch.cat([image, torso_alpha], -1),
        "head_image": image * alpha + 1 - alpha,
    }
    outputs = {
        "rgb": image.clone(),
        "head_rgb": batch["head_image"].clone(),
        "head_accumulation": alpha,
        "background": image,
    }
    return outputs, batch


def test_truth_is_perfect_in_every_row():
    outputs, batch = scene()
    metrics = torso_metrics(outputs, batch, batch["image"], {})
    for name in ("psnr", "psnr_head", "psnr_seam", "true_torso_psnr", "head_only_psnr"):
        assert metrics[name] == 100.0, name
    assert metrics["ssim"] > 0.999 and metrics["true_torso_l1"] < 1e-6


def test_rows_tell_where_an_error_is():
    outputs, batch = scene()
    outputs["rgb"][14:18] += 0.1  # At the seam only.
    metrics = torso_metrics(outputs, batch, batch["image"], {})
    assert metrics["psnr_seam"] < metrics["psnr"] < 40 and metrics["true_torso_psnr"] == 100.0
    outputs, batch = scene()
    outputs["head_rgb"][6:10, 10:20] -= 0.2  # In the head, whatever is behind it.
    metrics = torso_metrics(outputs, batch, batch["image"], {})
    assert metrics["head_only_psnr"] < 40 and metrics["true_torso_psnr"] < 40 and metrics["psnr"] == 100.0


def test_keys_are_the_same_without_a_seam():
    keys = []
    for with_neck in (True, False):
        outputs, batch = scene(with_neck)
        outputs["rgb"] = outputs["rgb"] + 0.01
        metrics = torso_metrics(outputs, batch, batch["image"], {})
        assert all(math.isfinite(value) for value in metrics.values())
        keys.append(list(metrics))
    assert keys[0] == keys[1]


def test_lpips_is_part_of_every_row(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path)
    outputs, batch = scene()
    outputs["rgb"][:4] += 0.2  # Nothing of the head or of the true torso.
    metrics = torso_metrics(outputs, batch, batch["image"], cached_lpips("cpu"))
    for name in ("lpips", "lpips_vgg"):
        assert metrics[name] > 1e-4 and metrics[f"true_torso_{name}"] < 1e-6 and metrics[f"head_only_{name}"] == 0.0


def test_person_is_head_over_torso():
    assert person_alpha(torch.tensor(0.5), torch.tensor(0.5)).item() == 0.75


def test_what_a_clip_cannot_teach_is_said():
    assert _coverage_message(0.03, 0.2) is None
    assert "shows a neck (3% of the image) but hardly any torso (0.1%)" in _coverage_message(0.03, 0.001)
    assert "neither neck (0.1% of the image) nor torso (0.0%)" in _coverage_message(0.001, 0.0)


class LargestTensor(TorchDispatchMode):
    """How many bytes the largest of the tensors has that operations make."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        result = operation(*arguments, **(keywords or {}))
        if isinstance(result, torch.Tensor) and "view" not in str(operation):
            self.bytes = max(self.bytes, result.numel() * result.element_size())
        return result


def clip_of(frames: int) -> Any:
    """Torso in the lower left quarter of frames of 16 x 24 pixels, a row of neck above it in every second one,
    which four rows of head hide in all but the last."""
    labels = torch.zeros(frames, 16, 24, dtype=torch.uint8)
    labels[:, 8:, :12] = int(Label.TORSO)
    labels[::2, 7, :12] = int(Label.NECK)
    torso = torch.zeros(frames, 16, 24, 4, dtype=torch.uint8)
    torso[..., 3] = 255 * (labels > 0)
    alpha = torch.zeros(frames, 16, 24, dtype=torch.uint8)
    alpha[:-1, 4:8] = 255
    return SimpleNamespace(torso=torso, labels=labels, alpha=alpha)


def test_coverage_is_where_any_frame_has_torso():
    coverage = torso_coverage(clip_of(4), 8, margin=0.0)
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[3:, :4] = True  # A cell is two rows and three columns.
    assert torch.equal(coverage.mask, expected) and coverage.message is None
    # Of the last frame, which has no neck, the fourth row of cells has no head; of all frames the others.
    shown = torch.zeros(8, 8)
    shown[4:, :4] = 1.0
    assert torch.equal(coverage.shown, shown)
    without = clip_of(4)
    without.alpha[:, 4:8] = 255
    shown[2:4] = 1.0  # No frame tells.
    assert torch.equal(torso_coverage(without, 8).shown, shown)
    hardly = clip_of(4)
    hardly.labels[hardly.labels == Label.TORSO] = 0
    message = torso_coverage(hardly, 8).message
    assert message is not None and message.startswith("The clip shows a neck (2% of the image) but hardly any torso")


def test_coverage_of_a_long_clip_needs_no_memory_of_its_size():
    """7,500 frames of 512 pixels would need 8 GB beside the images."""
    largest = []
    for frames in (4, 400):
        clip = clip_of(frames)
        with LargestTensor() as mode:
            torso_coverage(clip, 8)
        largest.append(mode.bytes)
    assert largest[0] == largest[1]
