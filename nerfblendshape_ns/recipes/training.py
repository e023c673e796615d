"""From a recipe to a nerfstudio run."""

from __future__ import annotations

import copy
import gc
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

import torch
import yaml
from nerfstudio.configs.method_configs import all_methods
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.scripts import train
from nerfstudio.utils import writer

from nerfblendshape_ns.avatar.run_config import CONFIG, plain_yaml
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.memory import restart_peak_memory
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.engine.training_record import load_training_record
from nerfblendshape_ns.evaluation.trained_run import TrainedRun
from nerfblendshape_ns.models.rebuild import find_checkpoint
from nerfblendshape_ns.recipes.recipe import Recipe
from nerfblendshape_ns.recipes.values import apply_overrides, near_matches


def trainer_config(
    recipe: Recipe,
    data: Path,
    output: Path,
    where: str = "recipe",
    minutes: Optional[float] = None,
) -> TrainerConfig:
    """The config that ``ns-train`` would have made of the recipe.

    Args:
        recipe: the experiment.
        data: the dataset directory.
        output: nerfstudio's output directory.
        where: the recipe's file, for messages.
        minutes: replaces the recipe's ``max_minutes``.

    Raises:
        UserError: the method or an override is unknown, an override's value has the wrong type, or the seed is none.
    """
    if recipe.method not in all_methods:
        raise UserError(f"{where}: method {recipe.method!r} is unknown; {near_matches(recipe.method, all_methods)}")
    if not 0 <= recipe.seed < 2**32:
        raise UserError(f"{where}: seed is {recipe.seed} but must be from 0 to {2**32 - 1}.")
    config: Any = copy.deepcopy(all_methods[recipe.method])
    config.output_dir = output
    config.experiment_name = recipe.name
    config.machine.seed = recipe.seed
    config.machine.device_type = "cuda" if torch.cuda.is_available() else "cpu"
    # Curves without a browser; a recipe may still choose the viewer.
    config.vis = "tensorboard"
    config.viewer.quit_on_train_completion = True
    config.data = data
    parser = config.pipeline.datamanager.dataparser
    if isinstance(parser, NerfBlendshapeDataParserConfig):
        parser.protocol, parser.test_frames = recipe.protocol.split, recipe.protocol.test_frames
        parser.layout = recipe.dataset.layout or "auto"  # type: ignore[assignment]
    apply_overrides(config, recipe.overrides, where)
    if minutes is not None:
        apply_overrides(config, {"max_minutes": minutes}, "--minutes")
    return config


def run_training(config: TrainerConfig) -> Path:
    """Train in this process, as ``ns-train`` does; the run's ``config.yml``."""
    # What came before in this process, such as tracking or the head's training, is no part of the memory on record.
    gc.collect()
    restart_peak_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        train.main(config)
    finally:
        end_curves()
    return config.get_base_dir() / CONFIG


def end_curves() -> None:
    """Close nerfstudio's writers, which are global: they would write the next training's curves into this run too."""
    for each in writer.EVENT_WRITERS:
        if isinstance(each, writer.TensorboardWriter):
            each.tb_writer.close()
    for kept in (writer.EVENT_WRITERS, writer.EVENT_STORAGE, writer.GLOBAL_BUFFER):
        kept.clear()


def finished_run(config: TrainerConfig) -> Optional[Path]:
    """The newest run of the same config, seed included, that was trained to its end.

    Args:
        config: what would be trained, in its output directory.

    Returns:
        The run's folder; None where there is none.
    """
    wanted = _compared(yaml.dump(config))
    folder = config.output_dir / str(config.experiment_name) / str(config.method_name)
    for path in sorted(folder.glob(f"*/{CONFIG}"), reverse=True):
        try:
            same = _compared(path.read_text(encoding="utf-8")) == wanted
            record = load_training_record(path.parent)
            find_checkpoint(path)
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):  # Broken or without a checkpoint.
            continue
        if same and record is not None and _reached_its_end(config, record):
            return path.parent
    return None


def data_older_than(run: TrainedRun) -> bool:
    """Whether no picture of the run's dataset was written since its training began."""
    started = (run.folder / CONFIG).stat().st_mtime
    files = (file for dataset in run.datasets.values() for file in dataset.frame_files)
    paths = {path for file in files for path in vars(file).values() if isinstance(path, Path)}
    return all(path.stat().st_mtime <= started for path in paths)


def _compared(text: str) -> Dict[str, Any]:
    """What of a config decides about the trained model."""
    document = dict(plain_yaml(text))
    document["pipeline"]["datamanager"]["data"] = document["data"]  # As ns-train copies it.
    return {name: value for name, value in document.items() if name not in ("timestamp", "output_dir")}


def _reached_its_end(config: Any, record: Mapping[str, Any]) -> bool:
    """Whether the steps or the minutes are spent; a run that was broken off has saved fewer of both."""
    minutes = getattr(config, "max_minutes", None)
    return record["steps"] >= config.max_num_iterations or (minutes is not None and record["minutes"] >= minutes)
