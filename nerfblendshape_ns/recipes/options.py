"""The options of ``nbs-recipe``; apart, so that ``--help`` need not import nerfstudio."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import tyro


@dataclass
class RecipeOptions:
    """Runs an experiment: dataset, training, evaluation, contact sheet, video and metrics."""

    recipe: tyro.conf.Positional[Path]
    """The recipe, such as configs/demo.yaml."""
    output: Optional[Path] = None
    """Folder of the results, outputs/recipes if left out; each recipe and clip gets its own folder in it: a new or an
    empty one, or that of an earlier run."""
    minutes: Optional[float] = None
    """End training after so many minutes instead of the recipe's."""
    torso_minutes: Optional[float] = None
    """The same for the torso, where the recipe has one."""
    head_only: bool = False
    """Leave the recipe's torso out."""
    video: Optional[Path] = None
    """The video of a recipe that is made from one."""
    data: Optional[Path] = None
    """A dataset directory that replaces the recipe's dataset."""
    variant: Optional[str] = None
    """A variant of the recipe, such as concat."""
    seed: Optional[int] = None
    """Training seed instead of the recipe's."""
    record: bool = False
    """Keep the figures in results/ beside the recipe's configs/, with commit, date and machine."""
