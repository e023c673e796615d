"""A finished training is used again; the names of runs."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any, Dict

import pytest
from nerfstudio.scripts import train
from nerfstudio.utils import writer
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import TINY, untrained_run

from nerfblendshape_ns.common.file_io import save_json
from nerfblendshape_ns.engine.training_record import FILE
from nerfblendshape_ns.evaluation.trained_run import open_run
from nerfblendshape_ns.recipes import run as recipe_run
from nerfblendshape_ns.recipes.options import RecipeOptions
from nerfblendshape_ns.recipes.recipe import DatasetSource, Protocol, Recipe, TorsoStage
from nerfblendshape_ns.recipes.training import data_older_than, finished_run, run_training, trainer_config
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

OVERRIDES = {name: value for name, value in TINY.items() if "test_frames" not in name and "device" not in name}


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recipe") / "clip"
    write_dataset(ClipSettings(num_frames=8, width=24, height=24, samples=1), folder)
    return folder


def recipe(**values: Any) -> Recipe:
    return Recipe(**{"name": "tiny", "description": ".", "dataset": DatasetSource(), "overrides": OVERRIDES, **values})


def config_of(recipe: Recipe, clip: Path, folder: Path, minutes: float | None = None) -> Any:
    return trainer_config(recipe, clip, folder, minutes=minutes)


def train_stand_in(config: Any, **record: Any) -> Path:
    """What a training leaves behind; the run's folder."""
    config.set_timestamp()
    folder = untrained_run(config)
    save_json(folder / FILE, {"steps": config.max_num_iterations, "minutes": 0.5, **record})
    return folder


def test_the_curves_of_a_training_do_not_go_into_an_earlier_one_s_run(clip, tmp_path, monkeypatch):
    def train_stand_in(config: Any) -> None:
        writer.setup_event_writer(False, True, False, config.get_base_dir(), "experiment", "project")
        writer.put_scalar("loss", 1.0, step=0)
        writer.write_out_storage()

    monkeypatch.setattr(train, "main", train_stand_in)
    folders = []
    for name in ("head", "torso"):
        config = config_of(recipe(), clip, tmp_path)
        config.timestamp = name
        folders.append(run_training(config).parent)
    for folder in folders:
        curves = EventAccumulator(str(folder))
        curves.Reload()
        assert len(curves.Scalars("loss")) == 1


def test_a_finished_run_of_the_same_config_is_found(clip, tmp_path):
    assert finished_run(config_of(recipe(), clip, tmp_path)) is None
    folder = train_stand_in(config_of(recipe(), clip, tmp_path))
    assert finished_run(config_of(recipe(), clip, tmp_path)) == folder
    # What was recorded elsewhere or at another time is the same training.
    moved = config_of(recipe(), clip, tmp_path)
    moved.timestamp = "another"
    assert finished_run(moved) == folder


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 43},
        {"overrides": {**OVERRIDES, "max_num_iterations": 90}},
        {"overrides": {**OVERRIDES, "pipeline.model.hidden_dim": 32}},
        {"protocol": Protocol(test_frames=2)},
    ],
    ids=["seed", "steps", "model", "split"],
)
def test_a_run_of_another_config_is_not(changes, clip, tmp_path):
    train_stand_in(config_of(recipe(), clip, tmp_path))
    assert finished_run(config_of(recipe(**changes), clip, tmp_path)) is None


@pytest.mark.parametrize("text", ["", "data: a\npipeline:\n", "data: a\npipeline:\n  datamanager: 3\n"])
def test_a_run_whose_config_was_cut_off_is_not(text, clip, tmp_path):
    (train_stand_in(config_of(recipe(), clip, tmp_path)) / "config.yml").write_text(text)
    assert finished_run(config_of(recipe(), clip, tmp_path)) is None


def test_a_run_that_was_broken_off_is_not(clip, tmp_path):
    folder = train_stand_in(config_of(recipe(), clip, tmp_path), steps=79)
    assert finished_run(config_of(recipe(), clip, tmp_path)) is None
    (folder / FILE).write_text("{")
    assert finished_run(config_of(recipe(), clip, tmp_path)) is None
    (folder / FILE).unlink()
    assert finished_run(config_of(recipe(), clip, tmp_path)) is None
    save_json(folder / FILE, {"steps": 80, "minutes": 0.5})
    assert finished_run(config_of(recipe(), clip, tmp_path)) == folder
    (checkpoint,) = (folder / "nerfstudio_models").iterdir()
    checkpoint.unlink()
    assert finished_run(config_of(recipe(), clip, tmp_path)) is None
    (folder / "config.yml").write_text("pipeline: [")
    assert finished_run(config_of(recipe(), clip, tmp_path)) is None


def test_minutes_that_are_spent_end_a_training_too(clip, tmp_path):
    folder = train_stand_in(config_of(recipe(), clip, tmp_path, minutes=2.0), steps=20, minutes=1.9)
    assert finished_run(config_of(recipe(), clip, tmp_path, minutes=2.0)) is None
    save_json(folder / FILE, {"steps": 20, "minutes": 2.01})
    assert finished_run(config_of(recipe(), clip, tmp_path, minutes=2.0)) == folder
    assert finished_run(config_of(recipe(), clip, tmp_path, minutes=3.0)) is None


def test_new_pictures_ask_for_a_new_training(clip, tmp_path):
    run = open_run(train_stand_in(config_of(recipe(), clip, tmp_path)))
    assert data_older_than(run)
    image = run.datasets["test"].frame_files[0].image
    before = image.stat().st_mtime
    try:
        os.utime(image, (time.time() + 10, time.time() + 10))
        assert not data_older_than(run)
    finally:
        os.utime(image, (before, before))


def test_a_recipe_says_what_it_does_with_an_earlier_training(clip, tmp_path, monkeypatch):
    trained = []

    def training(config: Any) -> Path:
        trained.append(train_stand_in(config))
        return trained[-1] / "config.yml"

    monkeypatch.setattr(recipe_run, "run_training", training)
    console = Console(file=io.StringIO(), width=1000)
    options = RecipeOptions(tmp_path / "r.yaml")
    stage = recipe_run._Stage(recipe(), options, clip, tmp_path, console)
    first = stage._trained(recipe(), None)
    again = stage._trained(recipe(), None)
    assert [first.folder, again.folder] == [trained[0], trained[0]] and len(trained) == 1
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert said == f"{trained[0]} is used again, 80 steps are trained; delete it to train anew\n"
    stage._trained(recipe().with_seed(7), None)
    assert len(trained) == 2 and "tiny-seed7" in str(trained[1])


def test_another_dataset_in_the_same_place_asks_for_a_new_training(clip, tmp_path, monkeypatch):
    data = tmp_path / "data"
    write_dataset(ClipSettings(num_frames=8, width=24, height=24, samples=1, seed=3), data)
    folder = train_stand_in(config_of(recipe(), data, tmp_path / "runs"))
    write_dataset(ClipSettings(num_frames=8, width=24, height=24, samples=1, seed=4), data)
    monkeypatch.setattr(recipe_run, "run_training", lambda config: train_stand_in(config) / "config.yml")
    console = Console(file=io.StringIO(), width=1000)
    stage = recipe_run._Stage(recipe(), RecipeOptions(tmp_path / "r.yaml"), data, tmp_path, console)
    assert stage._trained(recipe(), None).folder != folder
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert said.startswith(f"{folder} is not used again: {folder} was trained on another dataset than {data} is now")


def test_names_of_runs(tmp_path):
    base = recipe(variants={"x": {}}, torso=TorsoStage())
    named: Dict[str, Recipe] = {
        "tiny": base.with_seed(42),
        "tiny-x": base.with_variant("x"),
        "tiny-x-seed7": base.with_variant("x").with_seed(7),
        "tiny-x-seed7-torso": base.with_variant("x").with_seed(7).torso_recipe(tmp_path),
    }
    assert {name: run.name for name, run in named.items()} == {name: name for name in named}
    assert named["tiny-x-seed7-torso"].seed == 7
