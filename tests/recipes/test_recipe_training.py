"""A finished training is used again; the names of runs."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest
from nerfstudio.scripts import train
from nerfstudio.utils import writer
from result_documents import figures, result
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import TINY, untrained_run

from nerfblendshape_ns.common import video_writing
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import load_json, save_json
from nerfblendshape_ns.common.memory import peak_memory_mb
from nerfblendshape_ns.engine.training_record import FILE
from nerfblendshape_ns.evaluation.trained_run import open_run
from nerfblendshape_ns.recipes import run as recipe_run
from nerfblendshape_ns.recipes.options import RecipeOptions
from nerfblendshape_ns.recipes.recipe import DatasetSource, Protocol, Recipe, TorsoStage, load_recipe
from nerfblendshape_ns.recipes.results import load_results
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
    assert said == f"{trained[0]} is used again, 10 steps are trained; delete it to train anew\n"
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


def test_a_picture_that_is_gone_is_left_to_the_training(tmp_path, monkeypatch):
    data = tmp_path / "data"
    write_dataset(ClipSettings(num_frames=8, width=24, height=24, samples=1), data)
    folder = train_stand_in(config_of(recipe(), data, tmp_path / "runs"))
    image = next(iter(open_run(folder).datasets["train"].frame_files)).image
    image.unlink()

    def training(config: Any) -> Path:
        raise UserError("a picture is gone")

    monkeypatch.setattr(recipe_run, "run_training", training)
    console = Console(file=io.StringIO(), width=1000)
    stage = recipe_run._Stage(recipe(), RecipeOptions(tmp_path / "r.yaml"), data, tmp_path, console)
    with pytest.raises(UserError, match="^a picture is gone$"):
        stage._trained(recipe(), None)
    assert f"not used again: [Errno 2] No such file or directory: '{image}'" in console.file.getvalue()  # type: ignore[attr-defined]


def test_what_is_recorded_is_the_recipe_that_was_run(tmp_path, monkeypatch):
    """A training takes hours, in which users edit the file for their next experiment."""
    path = tmp_path / "configs" / "tiny.yaml"
    path.parent.mkdir()
    text = "name: tiny\ndescription: .\ndataset: {synthetic: {num_frames: 20}}\noverrides: {max_num_iterations: 80}\n"
    path.write_text(text)
    document = asdict(result("tiny", rows={"head": figures(psnr=30.0)}))

    def full_disk(*_):
        raise UserError("the disk is full")

    monkeypatch.setattr(recipe_run._Stage, "_trained", lambda *_: None)
    monkeypatch.setattr(recipe_run, "measure", lambda *_: ({}, document))
    monkeypatch.setattr(recipe_run, "draw", full_disk)
    base, console = load_recipe(path), Console(file=io.StringIO())
    stage = recipe_run._Stage(base, RecipeOptions(path, record=True), tmp_path, tmp_path, console)
    path.write_text(text.replace("80", "9000"))
    with pytest.raises(UserError, match="^the disk is full$"):
        stage.run(base, None, None)
    assert load_json(tmp_path / "tiny.json")["splits"] == document["splits"], (
        "figures are kept before pictures are drawn"
    )
    (recorded,) = load_results(tmp_path / "results")
    assert recorded.overrides == {"max_num_iterations": 80}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone forgets a peak")
def test_the_memory_on_record_is_that_of_the_training(clip, tmp_path, monkeypatch):
    held = []
    monkeypatch.setattr(train, "main", lambda _: held.append(peak_memory_mb()))
    before = np.ones(2**25)  # 256 MiB, such as another training's.
    peak = peak_memory_mb()
    del before
    run_training(config_of(recipe(), clip, tmp_path))
    assert peak is not None and held[0] < peak - 200


def test_a_recorded_dataset_may_take_the_place_of_a_synthetic_one(clip, tmp_path):
    synthetic = recipe(dataset=DatasetSource(synthetic=ClipSettings()))
    assert recipe_run._truth(synthetic, clip, tmp_path) is not None
    recorded = tmp_path / "recorded"
    recorded.mkdir()
    save_json(recorded / "process.json", {"tool": "nbs-process-data"})
    assert recipe_run._truth(synthetic, recorded, tmp_path) is None
    with pytest.raises(UserError, match="so the head cannot be rendered again; give a synthetic dataset"):
        recipe_run._truth(replace(synthetic, protocol=Protocol(unseen_views=1)), recorded, tmp_path)


def test_more_unseen_views_than_there_are_are_told_before_the_training(clip, tmp_path):
    few = recipe(protocol=Protocol(test_frames=2, unseen_views=50))
    with pytest.raises(UserError, match=r"only \d+ of 50 unseen views lie .*; ask for fewer or take a longer clip\."):
        recipe_run._truth(few, clip, tmp_path)


def test_what_comes_after_the_head_is_refused_before_it_is_trained(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe_run._Stage, "run", lambda *_: pytest.fail("trained"))
    heads = tmp_path / "heads"
    shutil.copytree(clip, heads)
    document = json.loads((heads / "transforms.json").read_text()) | {"head_only": True}
    save_json(heads / "transforms.json", document)
    path = tmp_path / "r.yaml"
    path.write_text(f"name: r\ndescription: .\ndataset: {{path: {heads}}}\nprotocol: {{test_frames: 2}}\ntorso: {{}}\n")
    with pytest.raises(UserError, match="has only images of the head, .* a torso .* needs; train the head alone"):
        recipe_run.run_recipe(RecipeOptions(path, output=tmp_path / "out"))
    monkeypatch.setattr(video_writing.av, "codecs_available", {"h264", "aac"})
    with pytest.raises(UserError, match="this build of PyAV lacks the encoder libx264"):
        recipe_run.run_recipe(RecipeOptions(path, output=tmp_path / "out"))


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
