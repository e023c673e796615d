"""The large and the medium methods, cut down to seconds: patches, appearance codes, two frames a batch.

The large ones' default patch loss fetches weights; ``dssim`` stands in for it, which takes the same way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from baselines import mean_picture
from nerfstudio.utils.eval_utils import eval_setup
from tiny_runs import measured, tiny_config

from nerfblendshape_ns.fields import head_field
from nerfblendshape_ns.recipes.datasets import write_synthetic
from nerfblendshape_ns.recipes.training import run_training
from nerfblendshape_ns.synthetic.dataset import ClipSettings

pytestmark = pytest.mark.slow
SMALLER = {
    "pipeline.datamanager.train_num_rays_per_batch": 2 * 16**2,
    "pipeline.datamanager.patch_size": 16,
    "pipeline.model.perceptual_loss": "dssim",
    "pipeline.model.log2_table_size": 10,
    "max_num_iterations": 120,
    # So few steps are no time for a warm-up of hundreds.
    **{f"optimizers.{group}.scheduler.warmup_steps": 20 for group in ("tables", "networks")},
}
SMALLER_HEAD = {
    "max_num_iterations": 240,
    "pipeline.model.num_levels": 8,
    "pipeline.model.occupancy_resolution": 32,
    "pipeline.model.samples_per_box": 64,
    "pipeline.model.occupancy_warmup": 16,
}


def run(data: Path, output: Path, method: str, **changes: Any) -> Path:
    return run_training(tiny_config(data, output, method, **{**SMALLER, **changes}))


@pytest.mark.parametrize("size", ["", "-medium"])
def test_head_and_torso_learn(size, tmp_path, monkeypatch):
    monkeypatch.setattr(head_field, "OPACITY_WARMUP", 100)
    data = tmp_path / "clip"
    write_synthetic(ClipSettings(num_frames=16, width=64, height=64, fps=10), data)
    head = run(data, tmp_path, f"nerfblendshape-head{size}", **SMALLER_HEAD)
    _, pipeline, _, _ = eval_setup(head, test_mode="test")
    model: Any = pipeline.model
    assert model.patch_loss.kind == "dssim" and pipeline.datamanager.config.num_patches == (2 if size else 1)
    codes = model.field.frame_codes
    assert codes is None if size else bool((codes.weight != 0).any()), "appearance codes are trained"
    figures = measured(head)
    baseline = mean_picture(pipeline)
    assert figures["head"]["psnr"] > baseline["psnr"] + 1.0, (figures, baseline)
    assert figures["mask"]["psnr"] > max(baseline["psnr_head"], baseline["psnr_colour"]) + 2.5, (figures, baseline)
    torso = run(data, tmp_path, f"nerfblendshape-torso{size}", **{"pipeline.model.head_run": str(head.parent)})
    _, pipeline, _, _ = eval_setup(torso, test_mode="test")
    whole, baseline = measured(torso), mean_picture(pipeline)
    assert whole["whole"]["psnr"] > baseline["psnr"] + 1.5, (whole, baseline)
    assert all(np.isfinite(row["psnr"]) for row in (*figures.values(), *whole.values()))
    assert torch.isfinite(next(iter(pipeline.model.parameters()))).all()
