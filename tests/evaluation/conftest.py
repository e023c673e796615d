"""Untrained runs on a tiny clip."""

from __future__ import annotations

from pathlib import Path
from typing import Dict

import pytest
from tiny_runs import TORSO_METHOD, tiny_config, untrained_run

from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    """Of 24 frames: 19 train, two validate, three are tested."""
    folder = tmp_path_factory.mktemp("evaluation") / "clip"
    write_dataset(ClipSettings(num_frames=24, width=32, height=32, samples=1), folder)
    return folder


@pytest.fixture(scope="session")
def runs(clip, tmp_path_factory) -> Dict[str, Path]:
    """The folder of a head's and of a torso's run."""
    output = tmp_path_factory.mktemp("runs")
    head = untrained_run(tiny_config(clip, output))
    torso = untrained_run(tiny_config(clip, output, TORSO_METHOD, **{"pipeline.model.head_run": str(head)}))
    return {"head": head, "torso": torso}
