"""``benchmarks/torso_training.py`` for two steps of a tiny torso."""

from __future__ import annotations

import json
import sys

import pytest
import torso_training
from tiny_runs import TORSO_METHOD, tiny_config, untrained_run

from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset


@pytest.mark.slow
def test_kept_and_anew_do_the_same_work(tmp_path, monkeypatch, capsys):
    clip = tmp_path / "clip"
    write_dataset(ClipSettings(num_frames=24, width=32, height=32, samples=1), clip)
    head = untrained_run(tiny_config(clip, tmp_path / "runs"))
    torso = untrained_run(tiny_config(clip, tmp_path / "runs", TORSO_METHOD, **{"pipeline.model.head_run": str(head)}))
    monkeypatch.setattr(sys, "argv", ["torso_training.py", str(torso), "--steps", "2", "--json"])
    torso_training.main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["steps"] == 2 and figures["psnr_difference"] < 0.01 and 0 < figures["pixels_rendered"] < 1
