"""Runs a recipe from its dataset to pictures and figures."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from rich.console import Console

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.console import say
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.frame_numbers import spread
from nerfblendshape_ns.common.output_folders import claimed_folder
from nerfblendshape_ns.common.output_paths import folder_name
from nerfblendshape_ns.common.video_writing import check_encoders, write_video
from nerfblendshape_ns.data.splits import split_frames
from nerfblendshape_ns.engine.training_record import commit
from nerfblendshape_ns.evaluation.frames import RenderedFrame, furthest_turned
from nerfblendshape_ns.evaluation.measure import find_instruments, measure_splits
from nerfblendshape_ns.evaluation.report import report_page
from nerfblendshape_ns.evaluation.summary import evaluation_document
from nerfblendshape_ns.evaluation.tables import print_evaluation
from nerfblendshape_ns.evaluation.trained_run import TrainedRun, open_run
from nerfblendshape_ns.recipes.datasets import prepare_dataset
from nerfblendshape_ns.recipes.novel import SyntheticTruth, sweep
from nerfblendshape_ns.recipes.options import RecipeOptions
from nerfblendshape_ns.recipes.pictures import sound_of_split, video_images, write_sheet
from nerfblendshape_ns.recipes.published import print_published, published_beside
from nerfblendshape_ns.recipes.recipe import Recipe, load_recipe
from nerfblendshape_ns.recipes.results import record, results_folder
from nerfblendshape_ns.recipes.training import data_older_than, finished_run, run_training, trainer_config

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
    report: Path
    """The evaluation as a page."""
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
    commit()  # Which code this is; when all is measured, the checkout may be another.
    base = load_recipe(options.recipe)
    recipe = base.with_variant(options.variant).with_seed(options.seed)
    if options.head_only:
        recipe = replace(recipe, torso=None)
    folder = output_folder(base, options)
    data_folder = folder / "data"
    # Bad overrides, and videos that cannot be written, should be told before minutes are spent on data.
    check_encoders()
    trainer_config(recipe, data_folder, folder / "runs", str(options.recipe), options.minutes)
    if recipe.torso is not None:
        torso = recipe.torso_recipe(folder)
        trainer_config(torso, data_folder, folder / "runs", str(options.recipe), options.torso_minutes)
    elif options.torso_minutes is not None:
        raise UserError(f"recipe {recipe.name} trains no torso here, so --torso-minutes has no use; leave it out.")
    inputs = [path for path in (options.data, recipe.dataset.path, options.video) if path is not None]
    with claimed_folder(folder, TOOL, inputs):
        console.rule(f"{recipe.name}: dataset")
        data = prepare_dataset(recipe, data_folder, options.video, options.data)
        truth = _truth(recipe, data, folder / "unseen")
        if recipe.torso is not None:  # What it cannot be trained on should be told before the head is trained.
            config: Any = trainer_config(recipe.torso_recipe(folder), data, folder / "runs", str(options.recipe))
            replace(config.pipeline.datamanager.dataparser, data=data).setup().get_dataparser_outputs("train")
        stage = _Stage(base, options, data, folder, console)
        outcome = stage.run(recipe, options.minutes, truth)
        if recipe.torso is not None:
            outcome = stage.run(recipe.torso_recipe(outcome.config.parent), options.torso_minutes, truth)
    return outcome


@dataclass(frozen=True)
class _Stage:
    """What the trainings of a recipe share."""

    base: Recipe
    """Without variant and seed."""
    options: RecipeOptions
    data: Path
    folder: Path
    console: Console

    def run(self, recipe: Recipe, minutes: Optional[float], truth: Optional[SyntheticTruth]) -> Outcome:
        """Train, measure, save, record and print; what is done is kept whatever comes after."""
        options = self.options
        self.console.rule(f"{recipe.name}: training")
        run = self._trained(recipe, minutes)
        self.console.rule(f"{recipe.name}: evaluation")
        measured, document = measure(recipe, run, truth, self.console)
        given = _clip(options)
        clip = None if given is None else given.name
        about = {"recipe": self.base.name, "variant": options.variant, "clip": clip}
        rows = _means(document)
        published = published_beside(recipe.published, recipe.differs, rows)
        figures = {**about, **document, "published": published}
        file_io.save_json(self.folder / f"{recipe.name}.json", figures)
        if options.record:
            results = results_folder(options.recipe)
            file = record(self.base, results, options.variant, figures, self.data, clip, minutes)
            say(self.console, f"recorded: {file}")
        outcome = draw(recipe, run, truth, measured, figures, self.folder, self.console)
        print_outcome(outcome, self.console)
        print_published(recipe.published, recipe.differs, recipe.name, rows, self.console)
        return outcome

    def _trained(self, recipe: Recipe, minutes: Optional[float]) -> TrainedRun:
        """A finished run of the same config on the same data, else a new one."""
        config = trainer_config(recipe, self.data, self.folder / "runs", str(self.options.recipe), minutes)
        folder = finished_run(config)
        if folder is not None:
            try:
                run = open_run(folder)
                if data_older_than(run):
                    steps = run.described()["steps"]
                    say(self.console, f"{folder} is used again, {steps} steps are trained; delete it to train anew")
                    return run
                reason = "pictures of the dataset were written since"
            except (UserError, OSError) as error:  # A picture may be gone, which the training reports.
                reason = str(error)
            say(self.console, f"{folder} is not used again: {reason}")
        return open_run(run_training(config))


def output_folder(recipe: Recipe, options: RecipeOptions) -> Path:
    """The recipe's own folder: named after it, and after the clip where that is given on the command line.

    Args:
        recipe: without variant and seed, whose runs share dataset and folder and have names of their own.
        options: of the command.
    """
    name, given = recipe.name, _clip(options)
    if given is not None:
        name = f"{name}-{folder_name(given.stem if options.data is None else given.name)}"
    return (options.output or Path("outputs") / "recipes") / name


def measure(
    recipe: Recipe, run: TrainedRun, truth: Optional[SyntheticTruth], console: Console
) -> Tuple[Dict[str, List[RenderedFrame]], Dict[str, Any]]:
    """Measure a finished run: frames by split, and the figures.

    Args:
        recipe: says what to measure.
        run: the run.
        truth: of a synthetic head, for states that no frame shows; None measures none.
        console: for progress.
    """
    protocol, instruments = recipe.protocol, find_instruments(run)
    train = run.frames("train")
    few = [train[index] for index in spread(len(train), protocol.train_frames)]
    measured = measure_splits(run, {"test": run.frames("test"), "train": few}, instruments, console)
    if truth is not None and (protocol.unseen_expressions or protocol.unseen_views):
        say(console, "unseen expressions and views")
        measured |= truth.unseen(run, instruments, protocol.unseen_expressions, protocol.unseen_views)
    return measured, evaluation_document(run, measured, instruments)


def draw(
    recipe: Recipe,
    run: TrainedRun,
    truth: Optional[SyntheticTruth],
    measured: Dict[str, List[RenderedFrame]],
    figures: Dict[str, Any],
    folder: Path,
    console: Console,
) -> Outcome:
    """Write sheets, videos and the report of what :func:`measure` returns; ``folder`` holds the figures already."""
    protocol = recipe.protocol
    sheets, videos = [folder / f"{recipe.name}.png"], [folder / f"{recipe.name}.mp4"]
    test, tested = measured["test"], run.datasets["test"]
    write_sheet(sheets[0], _some(test, protocol.sheet_frames))
    if protocol.turned_frames:
        turned = furthest_turned(tested.cameras.camera_to_worlds, protocol.turned_frames)
        sheets.append(folder / f"{recipe.name}-turned.png")
        write_sheet(sheets[1], [test[index] for index in turned])
    for split in measured.keys() - {"test", "train"}:
        write_sheet(folder / f"{recipe.name}-{split}.png", _some(measured[split], protocol.sheet_frames))
    fps = float(tested.metadata["track"]["fps"])
    write_video(videos[0], video_images(test), fps, sound_of_split(tested.metadata))
    if protocol.sweep_frames:
        say(console, "expression sweep")
        videos.append(folder / f"{recipe.name}-sweep.mp4")
        write_video(videos[1], video_images(sweep(run, protocol.sweep_frames, truth)), fps)
    report = folder / f"{recipe.name}.html"
    file_io.save_text(report, report_page(recipe.name, figures, measured))
    metrics = folder / f"{recipe.name}.json"
    return Outcome(recipe.name, folder, run.folder / "config.yml", sheets, videos, report, metrics, figures)


def print_outcome(outcome: Outcome, console: Console) -> None:
    """The tables of the evaluation and the paths of the results."""
    print_evaluation(outcome.figures, console)
    results = {"video": outcome.videos, "picture": outcome.sheets, "report": [outcome.report]}
    for name, paths in {**results, "metrics": [outcome.metrics]}.items():
        for path in paths:
            say(console, f"{name}: {path}")
    say(console, f"viewer: nbs-view {shlex.quote(str(outcome.config))}")


def _means(figures: Dict[str, Any]) -> Dict[str, Dict[str, Optional[float]]]:
    """Our figures on the test frames by row and metric."""
    rows = figures["splits"]["test"]["rows"]
    return {row: {name: figure["mean"] for name, figure in metrics.items()} for row, metrics in rows.items()}


def _some(frames: List[RenderedFrame], count: int) -> List[RenderedFrame]:
    return [frames[index] for index in spread(len(frames), count)]


def _truth(recipe: Recipe, data: Path, folder: Path) -> Optional[SyntheticTruth]:
    """The synthetic head behind the dataset, where the recipe can use it.

    Raises:
        UserError: the recipe asks for more of it than it can show, which should be told before hours are spent.
    """
    unseen = recipe.protocol.unseen_expressions, recipe.protocol.unseen_views
    if not any(unseen) and recipe.dataset.synthetic is None:
        return None
    try:
        truth = SyntheticTruth(data, folder)
    except UserError:
        if any(unseen):
            raise
        return None  # The dataset that --data gives is a recorded one.
    if any(unseen):
        config: Any = trainer_config(recipe, data, folder)
        parser = config.pipeline.datamanager.dataparser
        frames = truth.settings.num_frames, parser.test_frames, parser.val_frames, parser.protocol
        truth.unseen_states(split_frames(*frames).train, *unseen)
    return truth


def _clip(options: RecipeOptions) -> Optional[Path]:
    """The video or dataset that the command line gives, as an absolute path: ``.`` has no name."""
    given = options.data or options.video
    return None if given is None else Path(os.path.abspath(given))
