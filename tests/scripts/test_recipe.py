"""``nbs-recipe`` from a synthetic clip to figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Dict

import cv2
import numpy as np
import pytest
from baselines import mean_picture
from nerfstudio.utils.eval_utils import eval_setup

from nerfblendshape_ns.recipes.options import RecipeOptions
from nerfblendshape_ns.scripts.recipe import main

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def mean(document: Dict[str, Any], split: str, row: str, metric: str = "psnr") -> float:
    return document["splits"][split]["rows"][row][metric]["mean"]


@pytest.mark.slow
def test_a_recipe_ends_with_video_picture_and_figures(tmp_path):
    from nerfblendshape_ns.recipes.run import run_recipe

    outcome = run_recipe(RecipeOptions(CONFIGS / "ci.yaml", output=tmp_path))
    assert outcome.folder == tmp_path / "ci" and outcome.name == "ci-torso"
    assert outcome.config.exists()
    torso = json.loads(outcome.metrics.read_text())
    assert (torso["recipe"], torso["variant"], torso["clip"]) == ("ci", None, None)
    assert torso["run"]["steps"] == 200 and torso["run"]["method"] == "nerfblendshape-torso-small"
    splits = ("test", "train", "unseen_expressions", "unseen_views")
    for split in splits:
        for row in ("whole", "mask", "seam", "head", "true_torso"):
            assert np.isfinite(mean(torso, split, row)), (split, row)
    assert torso["splits"]["test"]["rows"]["whole"]["temporal"]["frames"] == 1
    figures = json.loads((outcome.folder / "ci.json").read_text())
    assert figures["run"]["steps"] == 400 and figures["run"]["method"] == "nerfblendshape-head-small"
    assert figures["run"]["experiment"] == "ci" and figures["run"]["minutes"] > 0
    for split in splits:
        assert all(np.isfinite(mean(figures, split, "head", name)) for name in ("psnr", "ssim", "l1", "flip"))
    (head_run,) = (outcome.folder / "runs" / "ci").rglob("config.yml")
    baseline = mean_picture(eval_setup(head_run, test_mode="test")[1])
    assert mean(figures, "test", "head") > baseline["psnr"] + 4.0, baseline
    assert mean(figures, "test", "mask") > max(baseline["psnr_colour"], baseline["psnr_head"]) + 2.5, baseline
    baseline = mean_picture(eval_setup(head_run, test_mode="test")[1], "train")
    assert mean(figures, "train", "mask") > max(baseline["psnr_colour"], baseline["psnr_head"]) + 5.0, baseline
    baseline = mean_picture(eval_setup(outcome.config, test_mode="test")[1])
    assert mean(torso, "test", "whole") > baseline["psnr"] + 4.0, baseline
    # Unseen views and expressions show the same head: not much worse than unseen frames.
    for split in ("unseen_expressions", "unseen_views"):
        assert mean(figures, split, "mask") > mean(figures, "test", "mask") - 4.0, figures["splits"][split]
    # The torso is measured behind the very head that was trained before it.
    for split in ("test", "unseen_expressions", "unseen_views"):
        assert mean(torso, split, "head") == pytest.approx(mean(figures, split, "head"), abs=1e-3)
    assert (outcome.folder / "ci.html").is_file() and outcome.report.name == "ci-torso.html"
    assert all(cv2.imread(str(sheet)) is not None for sheet in outcome.sheets) and len(outcome.sheets) == 2
    frames = [cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT) for video in outcome.videos]
    assert frames == [2, 2]

    stamp = (outcome.folder / "data" / "transforms.json").stat().st_mtime_ns
    again = run_recipe(RecipeOptions(CONFIGS / "ci.yaml", output=tmp_path, variant="concat", minutes=0.02))
    assert (again.folder / "data" / "transforms.json").stat().st_mtime_ns == stamp, "the dataset was made twice"
    assert again.metrics.name == "ci-concat-torso.json" and outcome.metrics.exists()
    trained = json.loads((again.folder / "ci-concat.json").read_text())
    assert trained["variant"] == "concat" and trained["run"]["steps"] < 400, "the minutes ended it"

    # Neither training is done again; the torso's figures stay.
    stamp = again.metrics.stat().st_mtime_ns
    runs = sorted((outcome.folder / "runs").rglob("config.yml"))
    options = RecipeOptions(CONFIGS / "ci.yaml", output=tmp_path, variant="concat", minutes=0.02, head_only=True)
    head = run_recipe(options)
    assert head.metrics.name == "ci-concat.json" and again.metrics.stat().st_mtime_ns == stamp
    assert sorted((outcome.folder / "runs").rglob("config.yml")) == runs
    measured = json.loads(head.metrics.read_text())
    assert mean(measured, "test", "head") == pytest.approx(mean(trained, "test", "head"), abs=1e-4)


def test_bad_input_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    arguments = [str(CONFIGS / "demo_video.yaml"), "--output", str(tmp_path), "--video", "no-such.mp4"]
    monkeypatch.setattr(sys, "argv", ["nbs-recipe", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: no-such.mp4 does not exist; give the path of a video file.\n"
    assert list(tmp_path.iterdir()) == []
