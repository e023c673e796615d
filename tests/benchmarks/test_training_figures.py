"""``benchmarks/training.py figures``: what it measures are the frames that the run's protocol tests."""

from __future__ import annotations

from argparse import Namespace

import pytest
import torch
import training
from tiny_runs import tiny_config, untrained_run

from nerfblendshape_ns.evaluation.trained_run import open_run
from nerfblendshape_ns.model_components.metrics.image_metrics import psnr
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset


def test_figures_are_those_of_the_test_frames(tmp_path):
    write_dataset(ClipSettings(num_frames=24, width=32, height=32, samples=1), tmp_path / "clip")
    folder = untrained_run(tiny_config(tmp_path / "clip", tmp_path / "runs"))
    figures = training.figures(Namespace(run=folder / "config.yml", frames=8))
    assert figures["frames"] == 3, "of the 24 frames two validate and three are tested"
    run, wanted = open_run(folder), []
    for frame in run.frames("test"):
        rgb = run.model.get_outputs_for_camera(frame.camera)["rgb"]
        wanted.append(psnr(rgb, frame.dataset[frame.index]["image"]))
    assert figures["psnr"] == pytest.approx(torch.tensor(wanted).mean().item(), abs=1e-3)
