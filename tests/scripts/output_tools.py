"""Every console script that writes where the user says, called in this process on something small."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
import torch
from saved_run import save_run
from stand_in_tracker import NUM_FRAMES, SIZE, Tracker
from tiny_head import make, metadata
from tiny_runs import tiny_config, untrained_run
from video_files import write_video

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.output_paths import RECORD
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.recipes import run as recipe_run
from nerfblendshape_ns.scripts import (
    convert,
    drive,
    evaluate,
    export,
    process_data,
    recipe,
    sweep,
    synthetic,
)
from nerfblendshape_ns.scripts import torso_images as torso
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

SMALL = ["--num-frames", "3", "--size", "48", "48", "--samples", "1"]


@dataclass(frozen=True)
class Inputs:
    """What the tools read, made once and not to be changed."""

    root: Path

    @property
    def video(self) -> Path:
        """The video that the stand-in for the tracker knows."""
        return self.root / "talk.mp4"

    @property
    def dataset(self) -> Path:
        """Of three frames."""
        return self.root / "clip"

    @property
    def avatar(self) -> Path:
        """A run of an untrained head."""
        return self.root / "run"

    @property
    def measured(self) -> Path:
        """A run of an untrained head on the dataset."""
        return self.root / "runs" / "clip" / "nerfblendshape-head-small" / "run"

    @property
    def keyframes(self) -> Path:
        """A driver of three frames."""
        return self.root / "nod.yaml"

    @property
    def recipe(self) -> Path:
        """An experiment on a synthetic clip."""
        return self.root / "tiny.yaml"


def make_inputs(root: Path) -> Inputs:
    inputs = Inputs(root)
    write_video(inputs.video, NUM_FRAMES, (SIZE, SIZE))
    write_dataset(ClipSettings(num_frames=3, width=48, height=48, samples=1), inputs.dataset)
    torch.manual_seed(0)
    model = make(metadata() | {"intrinsics": {"fl_x": 24.0, "fl_y": 24.0, "cx": 8.0, "cy": 8.0}})
    save_run(inputs.avatar, model)
    few = {"test_frames": 1, "val_frames": 1, "basis": "all"}
    parser = {f"pipeline.datamanager.dataparser.{name}": value for name, value in few.items()}
    untrained_run(tiny_config(inputs.dataset, root / "runs", **parser))
    inputs.keyframes.write_text("keyframes:\n  - {time: 0}\n  - {time: 0.08, expression: {jawOpen: 50%}}\n")
    inputs.recipe.write_text(
        "name: tiny\ndescription: .\ndataset: {synthetic: {num_frames: 3, width: 48, height: 48, samples: 1}}\n"
        "protocol: {test_frames: 1}\n"
    )
    return inputs


@dataclass(frozen=True)
class Tool:
    """One console script, or one of the things that it writes."""

    name: str
    """As the record and messages state it."""
    main: Callable[[List[str]], Any]
    """Takes command-line words."""
    words: Callable[[Inputs, Path], List[Any]]
    """The command line for an output."""
    source: Callable[[Inputs], Path]
    """What it reads."""
    is_file: bool = False
    """Whether it writes a single file."""
    overwrites: bool = False
    """Whether it knows ``--overwrite``."""
    record: str = RECORD
    """Name of the record in its folder."""
    suffix: str = ""
    """Which the output's name must have."""
    hidden: Callable[[Path], Path] = lambda output: output
    """Where unfinished work is."""

    def run(self, inputs: Inputs, output: Path, *more: str) -> None:
        self.main([str(word) for word in (*self.words(inputs, output), *more)])

    def folder(self, output: Path) -> Path:
        """The folder that is written for an output."""
        return output / "tiny" if self.name == "nbs-recipe" else output


def drive_words(inputs: Inputs, output: Path) -> List[Any]:
    return [inputs.avatar, "--by", inputs.keyframes, "--output", output, "--size", "16"]


def frames_of(output: Path) -> Path:
    return output.with_name(f".{output.name}.frames")


TOOLS: Dict[str, Tool] = {
    "synthetic": Tool(
        "nbs-synthetic",
        synthetic.main,
        lambda inputs, output: ["--output", output, *SMALL],
        lambda inputs: inputs.dataset,
    ),
    "synthetic video": Tool(
        "nbs-synthetic",
        synthetic.main,
        lambda inputs, output: ["--video", output, *SMALL],
        lambda inputs: inputs.dataset,
        is_file=True,
        overwrites=True,
        suffix=".mp4",
    ),
    "process data": Tool(
        "nbs-process-data",
        process_data.main,
        lambda inputs, output: [*("--video", inputs.video, "--output", output, "--crop", "none")],
        lambda inputs: inputs.video,
        record=contract.PROCESS,
    ),
    "convert": Tool(
        "nbs-convert",
        convert.main,
        lambda inputs, output: [inputs.dataset, output],
        lambda inputs: inputs.dataset,
    ),
    "drive": Tool(
        "nbs-drive",
        drive.main,
        drive_words,
        lambda inputs: inputs.avatar,
        is_file=True,
        overwrites=True,
        suffix=".mp4",
        hidden=frames_of,
    ),
    "drive frames": Tool("nbs-drive", drive.main, drive_words, lambda inputs: inputs.avatar, overwrites=True),
    "evaluation": Tool(
        "nbs-eval",
        evaluate.main,
        lambda inputs, output: [inputs.measured, "--output", output, "--no-landmarks"],
        lambda inputs: inputs.dataset,
    ),
    "sweep": Tool(
        "nbs-sweep",
        sweep.main,
        lambda inputs, output: [inputs.avatar, "--output", output, "--seconds", "0.1"],
        lambda inputs: inputs.avatar,
    ),
    "export": Tool(
        "nbs-export",
        export.main,
        lambda inputs, output: [inputs.avatar, "--output", output],
        lambda inputs: inputs.avatar,
        is_file=True,
        overwrites=True,
        suffix=".avatar",
    ),
    "recipe": Tool(
        "nbs-recipe",
        recipe.main,
        lambda inputs, output: [inputs.recipe, "--output", output],
        lambda inputs: inputs.dataset,
    ),
    "torso images": Tool(
        "nbs-torso-images",
        torso.main,
        lambda inputs, output: [inputs.dataset, "--output", output],
        lambda inputs: inputs.dataset,
        overwrites=True,
    ),
}


def replace_slow_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracker that knows the video, and no training."""
    Tracker(monkeypatch)

    def no_training(stage: Any, *_: Any) -> None:
        file_io.save_json(stage.folder / "tiny.json", {"steps": 1})

    monkeypatch.setattr(recipe_run._Stage, "run", no_training)
