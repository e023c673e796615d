"""``nbs-recipe`` from a synthetic clip to figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from baselines import mean_picture
from nerfstudio.utils.eval_utils import eval_setup

from nerfblendshape_ns.recipes.options import RecipeOptions
from nerfblendshape_ns.scripts.recipe import main

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.slow
def test_a_recipe_ends_with_video_picture_and_figures(tmp_path):
    from nerfblendshape_ns.recipes.run import run_recipe

    outcome = run_recipe(RecipeOptions(CONFIGS / "ci.yaml", output=tmp_path))
    assert outcome.folder == tmp_path / "ci" and outcome.name == "ci-torso"
    assert outcome.config.exists()
    torso = json.loads(outcome.metrics.read_text())
    assert torso["steps"] == 200 and torso["method"] == "nerfblendshape-torso-small"
    for split in ("results", "train", "unseen_expressions", "unseen_views"):
        assert all(
            np.isfinite(torso[split][name]) for name in ("psnr", "psnr_seam", "true_torso_psnr", "head_only_psnr")
        )
    assert torso["temporal"]["true_change"] > 0
    figures = json.loads((outcome.folder / "ci.json").read_text())
    assert figures["steps"] == 300 and figures["method"] == "nerfblendshape-head-small"
    for split in ("results", "train", "unseen_expressions", "unseen_views"):
        assert all(np.isfinite(figures[split][name]) for name in ("psnr", "ssim", "l1", "psnr_head", "ssim_head"))
    (head_run,) = (outcome.folder / "runs" / "ci").rglob("config.yml")
    baseline = mean_picture(eval_setup(head_run, test_mode="test")[1])
    assert figures["results"]["psnr"] > baseline["psnr"] + 4.0, baseline
    assert figures["results"]["psnr_head"] > max(baseline["psnr_colour"], baseline["psnr_head"]) + 2.5, baseline
    baseline = mean_picture(eval_setup(head_run, test_mode="test")[1], "train")
    assert figures["train"]["psnr_head"] > max(baseline["psnr_colour"], baseline["psnr_head"]) + 5.0, baseline
    baseline = mean_picture(eval_setup(outcome.config, test_mode="test")[1])
    assert torso["results"]["psnr"] > baseline["psnr"] + 4.0, baseline
    # Unseen views and expressions show the same head: not much worse than unseen frames.
    for split in ("unseen_expressions", "unseen_views"):
        assert figures[split]["psnr_head"] > figures["results"]["psnr_head"] - 4.0, figures[split]
    assert all(cv2.imread(str(sheet)) is not None for sheet in outcome.sheets) and len(outcome.sheets) == 2
    # The torso is measured behind the very head that was trained before it.
    for split in ("results", "unseen_expressions", "unseen_views"):
        assert torso[split]["head_only_psnr"] == pytest.approx(figures[split]["psnr"], abs=1e-3)
    frames = [cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT) for video in outcome.videos]
    assert frames == [2, 2]

    stamp = (outcome.folder / "data" / "transforms.json").stat().st_mtime_ns
    again = run_recipe(RecipeOptions(CONFIGS / "ci.yaml", output=tmp_path, variant="concat", minutes=0.02))
    assert (again.folder / "data" / "transforms.json").stat().st_mtime_ns == stamp, "the dataset was made twice"
    assert again.metrics.name == "ci-concat-torso.json" and outcome.metrics.exists()
    assert json.loads((again.folder / "ci-concat.json").read_text())["max_minutes"] == 0.02

    stamp = again.metrics.stat().st_mtime_ns
    head = run_recipe(
        RecipeOptions(CONFIGS / "ci.yaml", output=tmp_path, variant="concat", minutes=0.02, head_only=True)
    )
    assert head.metrics.name == "ci-concat.json" and again.metrics.stat().st_mtime_ns == stamp


def test_bad_input_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    arguments = [str(CONFIGS / "demo_video.yaml"), "--output", str(tmp_path), "--video", "no-such.mp4"]
    monkeypatch.setattr(sys, "argv", ["nbs-recipe", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: no-such.mp4 does not exist; give the path of a video file.\n"
    assert list(tmp_path.iterdir()) == []
