"""nerfstudio's own tools on a run of the torso, whose head's run is gone by then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from nerfstudio.scripts import render
from nerfstudio.scripts.eval import ComputePSNR
from nerfstudio.utils.eval_utils import eval_setup
from tiny_runs import METHOD, NUM_TEST, SIZE, STEPS, TORSO_METHOD, checkpoint, tiny_config

from nerfblendshape_ns.models.load import load_model
from nerfblendshape_ns.recipes.datasets import write_synthetic
from nerfblendshape_ns.recipes.training import run_training
from nerfblendshape_ns.synthetic.dataset import ClipSettings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "clip"
    write_synthetic(ClipSettings(num_frames=24, width=SIZE, height=SIZE, fps=10), folder)
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    """``config.yml`` of a short torso run; the head's run has been deleted."""
    output = tmp_path_factory.mktemp("runs")
    head = tiny_config(data, output / "head", METHOD)
    run_training(head)
    head_run = {"pipeline.model.head_run": str(head.get_base_dir())}
    torso = tiny_config(data, output, TORSO_METHOD, vis="viewer", **head_run)
    run = run_training(torso)
    held = checkpoint(head.get_base_dir() / "config.yml")["pipeline"]
    kept = checkpoint(run)["pipeline"]
    for name, value in held.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(kept[name.replace("_model.", "_model.head.")], value), f"training changed {name}"
    shutil.rmtree(output / "head")
    return run


def test_eval_writes_the_three_rows_and_the_seam(trained, tmp_path):
    ComputePSNR(trained, tmp_path / "eval.json").main()
    results = json.loads((tmp_path / "eval.json").read_text())["results"]
    rows = ("psnr", "ssim", "l1", "psnr_head", "ssim_head", "psnr_seam", "true_torso_psnr", "head_only_psnr")
    assert all(np.isfinite(results[name]) for name in rows)
    assert results["psnr"] > 10  # How good it becomes is asked in scripts/test_recipe.py.


def test_resume_needs_no_head_run(trained, data, tmp_path):
    config = tiny_config(
        data, tmp_path, TORSO_METHOD, load_dir=str(trained.parent / "nerfstudio_models"), max_num_iterations=4
    )
    assert checkpoint(run_training(config))["step"] == STEPS + 3


def test_render_dataset_with_and_without_background(trained, tmp_path):
    names = ["rgb", "head_rgb", "torso_rgb", "torso_alpha", "rgba"]
    render.DatasetRender(trained, tmp_path, rendered_output_names=names, image_format="png").main()
    for name in names:
        assert len([path for path in (tmp_path / "test" / name).rglob("*") if path.is_file()]) == NUM_TEST, name
    picture = cv2.imread(str(next((tmp_path / "test" / "rgba").rglob("*.png"))), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (SIZE, SIZE, 4)
    assert picture[2, 2, 3] < 60 and picture[-3, SIZE // 2, 3] > 150, "sky is clear, the chest is not"


def test_the_run_renders_without_its_dataset(trained):
    _, pipeline, _, _ = eval_setup(trained)
    camera = pipeline.datamanager.train_dataset.cameras[0:1]
    expected = pipeline.model.get_outputs_for_camera(camera)
    alone = load_model(trained.parent).get_outputs_for_camera(camera)
    for name, value in expected.items():
        assert torch.equal(alone[name], value), name
