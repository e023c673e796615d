"""From a recipe to a nerfstudio run."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import torch
from nerfstudio.configs.method_configs import all_methods
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.scripts import train

from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.recipes.overrides import apply_overrides
from nerfblendshape_ns.recipes.recipe import Recipe
from nerfblendshape_ns.recipes.values import near_matches


@dataclass(frozen=True)
class Run:
    """A finished training run."""

    config_path: Path
    """nerfstudio's ``config.yml``, what the ``ns-*`` tools take."""
    seconds: float
    """Wall-clock time of training, set-up and checkpoints included."""


def trainer_config(
    recipe: Recipe,
    data: Path,
    output: Path,
    where: str = "recipe",
    minutes: Optional[float] = None,
    steps: Optional[int] = None,
) -> TrainerConfig:
    """The config that ``ns-train`` would have made of the recipe.

    Args:
        recipe: the experiment.
        data: the dataset directory.
        output: nerfstudio's output directory.
        where: the recipe's file, for messages.
        minutes: replaces the recipe's ``max_minutes``.
        steps: replaces the method's number of steps, over which the learning rates then decay.

    Raises:
        UserError: the method or an override is unknown, or an override's value has the wrong type.
    """
    if recipe.method not in all_methods:
        raise UserError(f"{where}: method {recipe.method!r} is unknown; {near_matches(recipe.method, all_methods)}")
    config: Any = copy.deepcopy(all_methods[recipe.method])
    config.output_dir = output
    config.experiment_name = recipe.name
    config.machine.seed = recipe.seed
    config.machine.device_type = "cuda" if torch.cuda.is_available() else "cpu"
    # Curves without a browser; a recipe may still choose the viewer.
    config.vis = "tensorboard"
    config.viewer.quit_on_train_completion = True
    config.data = data
    if hasattr(config.pipeline.datamanager.dataparser, "test_frames"):
        config.pipeline.datamanager.dataparser.test_frames = recipe.protocol.test_frames
    apply_overrides(config, recipe.overrides, where)
    if minutes is not None:
        apply_overrides(config, {"max_minutes": minutes}, "--minutes")
    if steps is not None:
        decays = [f"optimizers.{name}.scheduler.max_steps" for name in config.optimizers]
        apply_overrides(config, dict.fromkeys(["max_num_iterations", *decays], steps), "--steps")
    return config


def run_training(config: TrainerConfig) -> Run:
    """Train in this process, as ``ns-train`` does."""
    started = time.monotonic()
    train.main(config)
    return Run(config.get_base_dir() / "config.yml", time.monotonic() - started)
