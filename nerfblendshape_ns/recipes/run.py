"""Runs a recipe from its dataset to pictures and figures."""

from __future__ import annotations

import datetime
import os
import platform
import re
import resource
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch
from nerfstudio.utils.eval_utils import eval_setup
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

import nerfblendshape_ns
from nerfblendshape_ns.console import say
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.models.unseen_frames import check_unseen_by_model
from nerfblendshape_ns.output_folders import claimed_folder
from nerfblendshape_ns.recipes.datasets import prepare_dataset
from nerfblendshape_ns.recipes.evaluation import (
    RenderedFrame,
    average,
    furthest_turned,
    render_seconds,
    render_split,
    spread,
    temporal_error,
)
from nerfblendshape_ns.recipes.novel import SyntheticTruth, sweep
from nerfblendshape_ns.recipes.options import RecipeOptions
from nerfblendshape_ns.recipes.pictures import write_sheet, write_video
from nerfblendshape_ns.recipes.published import print_published, published_beside
from nerfblendshape_ns.recipes.recipe import Recipe, load_recipe
from nerfblendshape_ns.recipes.sound import sound_of_split
from nerfblendshape_ns.recipes.training import run_training, trainer_config

TOOL = "nbs-recipe"
"""Name in the record of a recipe's folder."""


@dataclass(frozen=True)
class Outcome:
    """What a recipe made."""

    name: str
    """The recipe's name."""
    folder: Path
    """Everything is in here."""
    config: Path
    """nerfstudio's ``config.yml`` of the run."""
    sheets: List[Path]
    """Truth, render and depth of several frames; also of those turned furthest where the recipe asks for them."""
    videos: List[Path]
    """Test frames; the sweep where the recipe asks for one."""
    metrics: Path
    """The figures as JSON."""
    figures: Dict[str, Any]
    """What ``metrics`` holds."""


def run_recipe(options: RecipeOptions, console: Optional[Console] = None) -> Outcome:
    """Run a recipe and print where its results are.

    Raises:
        UserError: the recipe, its dataset or an option is bad, or the folder of the results is somebody else's.
    """
    console = console or Console()
    recipe = load_recipe(options.recipe).with_variant(options.variant)
    if options.head_only:
        recipe = replace(recipe, torso=None)
    folder = output_folder(recipe, options)
    data_folder = folder / "data"
    # Bad overrides should be told before minutes are spent on data.
    trainer_config(recipe, data_folder, folder / "runs", str(options.recipe), options.minutes)
    if recipe.torso is not None:
        torso = recipe.torso_recipe(folder)
        trainer_config(torso, data_folder, folder / "runs", str(options.recipe), options.torso_minutes)
    inputs = [path for path in (options.data, recipe.dataset.path, options.video) if path is not None]
    with claimed_folder(folder, TOOL, inputs):
        console.rule(f"{recipe.name}: dataset")
        data = prepare_dataset(recipe, data_folder, options.video, options.data)
        truth = SyntheticTruth(data, folder / "unseen") if _needs_truth(recipe) else None
        stage = _Stage(options, data, folder, console)
        outcome = stage.run(recipe, options.minutes, truth)
        if recipe.torso is not None:
            outcome = stage.run(recipe.torso_recipe(outcome.config.parent), options.torso_minutes, truth)
    return outcome


@dataclass(frozen=True)
class _Stage:
    """What the trainings of a recipe share."""

    options: RecipeOptions
    data: Path
    folder: Path
    console: Console

    def run(self, recipe: Recipe, minutes: Optional[float], truth: Optional[SyntheticTruth]) -> Outcome:
        """Train, measure, save, record and print; what is done is kept whatever comes after."""
        options = self.options
        self.console.rule(f"{recipe.name}: training")
        config = trainer_config(recipe, self.data, self.folder / "runs", str(options.recipe), minutes)
        if options.seed is not None:
            config.machine.seed = options.seed
        run = run_training(config)
        self.console.rule(f"{recipe.name}: evaluation")
        outcome = evaluate(recipe, run.config_path, truth, self.folder, self.console)
        outcome.figures.update(describe_run(recipe, options, run.seconds, config))
        rows = _rows(outcome.figures)
        outcome.figures["published"] = published_beside(recipe.published, recipe.differs, rows)
        contract.save_json(outcome.metrics, outcome.figures)
        if options.record:
            record_results(options.recipe, outcome.figures)
        print_outcome(outcome, self.console)
        print_published(recipe.published, recipe.differs, recipe.name, rows, self.console)
        return outcome


def output_folder(recipe: Recipe, options: RecipeOptions) -> Path:
    """The recipe's own folder: named after it, and after the clip where that is given on the command line."""
    given = options.data or options.video
    # Variants share a dataset, so they share the folder; their runs have names of their own.
    base = recipe.name.removesuffix(f"-{options.variant}") if options.variant else recipe.name
    name = base if given is None else f"{base}-{re.sub(r'[^A-Za-z0-9._-]+', '_', given.stem)}"
    return (options.output or Path("outputs") / "recipes") / name


def evaluate(
    recipe: Recipe, config_path: Path, truth: Optional[SyntheticTruth], folder: Path, console: Console
) -> Outcome:
    """Measure and draw a finished run.

    Args:
        recipe: says what to measure.
        config_path: nerfstudio's ``config.yml``.
        truth: of a synthetic head, for states that no frame shows; None measures none.
        folder: where the results go.
        console: for progress.

    Raises:
        UserError: the run was trained on frames of its test split.
    """
    _, pipeline, _, step = eval_setup(config_path, test_mode="test")
    protocol, datamanager = recipe.protocol, pipeline.datamanager
    tested = datamanager.eval_dataset.metadata  # type: ignore[union-attr]
    check_unseen_by_model(pipeline.model, tested["img_ids"], tested, str(config_path.parent))
    num_test, num_train = len(datamanager.eval_dataset), len(datamanager.train_dataset)  # type: ignore[arg-type]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("test frames", total=num_test)
        test = list(render_split(pipeline, "test", advance=lambda: progress.advance(task)))
        train_task = progress.add_task("training frames", total=min(num_train, protocol.train_frames))
        advance_train = lambda: progress.advance(train_task)  # noqa: E731
        train = list(render_split(pipeline, "train", protocol.train_frames, advance_train))
    figures: Dict[str, Any] = {"steps": step + 1, "protocol": tested["splits"]["protocol"]}
    figures.update({"results": average(test), "train": average(train)})
    temporal = temporal_error(test)
    if temporal:
        figures["temporal"] = temporal
    if truth is not None:
        say(console, "unseen expressions and views")
        expressions, views = truth.unseen(pipeline, protocol.unseen_expressions, protocol.unseen_views)
        for name, frames in (("unseen_expressions", expressions), ("unseen_views", views)):
            if frames:
                figures[name] = average(frames)
                write_sheet(folder / f"{recipe.name}-{name}.png", _some(frames, protocol.sheet_frames))
    camera = datamanager.train_dataset.cameras[0:1].to(pipeline.device)  # type: ignore[union-attr]
    figures["render_seconds"] = render_seconds(pipeline, camera)
    fps = float(datamanager.train_dataset.metadata["track"]["fps"])  # type: ignore[union-attr]
    sheet = folder / f"{recipe.name}.png"
    write_sheet(sheet, _some(test, protocol.sheet_frames))
    sheets = [sheet]
    if protocol.turned_frames:
        poses = datamanager.eval_dataset.cameras.camera_to_worlds  # type: ignore[union-attr]
        turned = [test[index] for index in furthest_turned(poses, protocol.turned_frames)]
        sheets.append(folder / f"{recipe.name}-turned.png")
        write_sheet(sheets[1], turned)
    videos = [folder / f"{recipe.name}.mp4"]
    write_video(videos[0], test, fps, sound_of_split(datamanager.eval_dataset.metadata))  # type: ignore[union-attr]
    if protocol.sweep_frames:
        say(console, "expression sweep")
        videos.append(folder / f"{recipe.name}-sweep.mp4")
        write_video(videos[1], list(sweep(pipeline, protocol.sweep_frames, truth)), fps)
    return Outcome(recipe.name, folder, config_path, sheets, videos, folder / f"{recipe.name}.json", figures)


def describe_run(recipe: Recipe, options: RecipeOptions, seconds: float, config: Any) -> Dict[str, Any]:
    """What the figures were measured on and with."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "recipe": recipe.name,
        "method": recipe.method,
        "clip": None if options.video is None else options.video.name,
        "date": datetime.date.today().isoformat(),
        "machine": _machine(),
        "device": config.machine.device_type,
        "seed": config.machine.seed,
        "max_minutes": config.max_minutes,
        "training_seconds": round(seconds, 1),
        "peak_memory_mb": round(peak / (1024 if sys.platform != "darwin" else 1024**2)),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "nerfblendshape_ns": nerfblendshape_ns.__version__,
        },
    }


def record_results(path: Path, figures: Dict[str, Any]) -> None:
    """Append figures to the ``results`` at the end of a recipe's file, comments and all else left as they are.

    Raises:
        UserError: the file has keys after ``results``.
    """
    text = path.read_text(encoding="utf-8").rstrip() + "\n"
    at = re.search(r"^results:", text, flags=re.MULTILINE)
    if at is not None and re.search(r"^[A-Za-z_]", text[at.end() :], flags=re.MULTILINE):
        raise UserError(f"{path}: results must be the last key for --record; move it to the end.")
    if at is None:
        text += "results:\n"
    text = re.sub(r"^results: *\[ *\] *$", "results:", text, flags=re.MULTILINE)
    kept = ("date", "recipe", "clip", "machine", "max_minutes", "steps", "training_seconds", "peak_memory_mb")
    lines = [f"{key}: {figures[key]}" for key in kept if figures.get(key) is not None]
    for split in ("results", "train", "unseen_expressions", "unseen_views", "temporal"):
        if split in figures:
            values = ", ".join(f"{name}: {value:.4g}" for name, value in figures[split].items())
            lines.append(f"{'test' if split == 'results' else split}: {{{values}}}")
    entry = "  - " + "\n    ".join(lines) + "\n"
    contract.write_atomically(path, lambda temporary: _write(temporary, text + entry))


def print_outcome(outcome: Outcome, console: Console) -> None:
    """The table of metrics and the paths of the results."""
    table = Table(title=Text(outcome.name))
    splits = [name for name in ("results", "train", "unseen_expressions", "unseen_views") if outcome.figures.get(name)]
    table.add_column("metric")
    for split in splits:
        table.add_column("test" if split == "results" else split.replace("_", " "), justify="right")
    for metric in outcome.figures["results"]:
        table.add_row(Text(metric), *(f"{outcome.figures[split][metric]:.4g}" for split in splits))
    console.print(table)
    figures = outcome.figures
    say(
        console,
        f"{figures['steps']} steps in {figures['training_seconds'] / 60:.1f} minutes, a rendered frame in "
        f"{figures['render_seconds']:.2f} s, {figures['peak_memory_mb'] / 1024:.1f} GB of memory at most",
    )
    for name, paths in (("video", outcome.videos), ("picture", outcome.sheets), ("metrics", [outcome.metrics])):
        for path in paths:
            say(console, f"{name}: {path}")
    say(console, f"viewer: ns-viewer --load-config {outcome.config}")


def _rows(figures: Dict[str, Any]) -> Dict[str, Dict[str, float]]:
    """Our figures on the test frames as published rows have them."""
    measured = figures["results"]
    true_torso = {key.removeprefix("true_torso_"): value for key, value in measured.items() if "true_torso_" in key}
    return {"whole": measured, "true_torso": true_torso} if true_torso else {"head": measured}


def _some(frames: List[RenderedFrame], count: int) -> List[RenderedFrame]:
    return [frames[index] for index in spread(len(frames), count)]


def _needs_truth(recipe: Recipe) -> bool:
    unseen = recipe.protocol.unseen_expressions or recipe.protocol.unseen_views
    return bool(unseen) or recipe.dataset.synthetic is not None


def _machine() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} CPU cores"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
