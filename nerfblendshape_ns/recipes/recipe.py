"""What a recipe says, and reading it from YAML."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

import yaml

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import load_yaml, save_text
from nerfblendshape_ns.data.layouts import LAYOUTS
from nerfblendshape_ns.data.splits import Protocol as SplitProtocol
from nerfblendshape_ns.recipes.published import PublishedRow
from nerfblendshape_ns.recipes.values import build, near_matches
from nerfblendshape_ns.synthetic.dataset import ClipSettings


@dataclass(frozen=True)
class VideoSource:
    """A clip that ``nbs-process-data`` prepares."""

    file: Optional[str] = None
    """Path, or a name in the folder that the environment variable NBS_CLIPS names; ``--video`` replaces it."""
    options: Dict[str, Any] = field(default_factory=dict)
    """Options of ``nbs-process-data``, with underscores."""


@dataclass(frozen=True)
class DatasetSource:
    """Where the data come from: exactly one of the four."""

    synthetic: Optional[ClipSettings] = None
    """A clip of the synthetic head."""
    video: Optional[VideoSource] = None
    """A video."""
    path: Optional[Path] = None
    """A dataset directory that is there already."""
    layout: Optional[str] = None
    """Layout of the dataset directory that ``--data`` gives: that of a public dataset."""


@dataclass(frozen=True)
class Protocol:
    """What is measured and drawn."""

    split: SplitProtocol = "tail10"
    """Which frames are tested; see :data:`~nerfblendshape_ns.data.splits.Protocol`."""
    test_frames: Optional[int] = None
    """Test so many frames at the end of the clip instead."""
    train_frames: int = 20
    """Training frames to measure, evenly spread; they tell how far the model has fitted."""
    sheet_frames: int = 6
    """Frames on the picture."""
    unseen_expressions: int = 0
    """Synthetic data: combinations of coefficients that no frame shows, measured against their true rendering."""
    unseen_views: int = 0
    """Synthetic data: head poses away from those of all frames, measured against their true rendering."""
    turned_frames: int = 0
    """Test frames of another picture: those in which the head is turned furthest."""
    sweep_frames: int = 0
    """Frames of a second video in which one group of coefficients after the other goes up and down."""


@dataclass(frozen=True)
class TorsoStage:
    """The torso that is trained behind the head when that is done."""

    method: str = "nerfblendshape-torso-small"
    """A torso method of ``ns-train``."""
    overrides: Dict[str, Any] = field(default_factory=dict)
    """Values of the method's config by dotted path."""


@dataclass(frozen=True)
class Recipe:
    """One experiment."""

    name: str
    """Name of the experiment and of its runs."""
    description: str
    """What it shows."""
    dataset: DatasetSource = field(default_factory=DatasetSource)
    """The data."""
    method: str = "nerfblendshape-head-small"
    """A method of ``ns-train``."""
    overrides: Dict[str, Any] = field(default_factory=dict)
    """Values of the method's config by dotted path."""
    seed: int = 42
    """nerfstudio's ``machine.seed``."""
    protocol: Protocol = field(default_factory=Protocol)
    """What is measured and drawn."""
    torso: Optional[TorsoStage] = None
    """A second training, of the whole frame, behind the head of the first; none if left out."""
    published: List[PublishedRow] = field(default_factory=list)
    """What others are reported to reach on the same data."""
    differs: str = ""
    """In what the published measurements differ from ours."""
    variants: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    """Further overrides by variant name, chosen with ``--variant``."""

    def with_variant(self, variant: Optional[str]) -> Recipe:
        """The recipe with a variant's overrides added and its name appended; None gives the recipe itself.

        Raises:
            UserError: there is no such variant.
        """
        if variant is None:
            return self
        if variant not in self.variants:
            raise UserError(f"recipe {self.name} has no variant {variant!r}; {near_matches(variant, self.variants)}")
        overrides = {**self.overrides, **self.variants[variant]}
        return replace(self, name=f"{self.name}-{variant}", overrides=overrides)

    def with_seed(self, seed: Optional[int]) -> Recipe:
        """The recipe with another seed, which its name then tells; None and its own give the recipe itself."""
        return self if seed in (None, self.seed) else replace(self, name=f"{self.name}-seed{seed}", seed=seed)

    def torso_recipe(self, head_run: Path) -> Recipe:
        """The second training as a recipe of its own.

        Args:
            head_run: directory of the head's run.
        """
        assert self.torso is not None, "this recipe has no torso"
        return replace(
            self,
            name=f"{self.name}-torso",
            method=self.torso.method,
            overrides={**self.torso.overrides, "pipeline.model.head_run": str(head_run)},
            torso=None,
        )


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; a ``base`` key names another file, relative to it, that it changes.

    Raises:
        UserError: the file is missing or broken, or says something that a recipe cannot.
    """
    said = {key: value for key, value in _read(path, ()).items() if value is not None}
    recipe = build(Recipe, said, str(path))
    _check_dataset(recipe.dataset, str(path))
    _check_names(recipe, str(path))
    _check_counts(recipe.protocol, f"{path}: protocol")
    return recipe


def save_recipe(path: Path, recipe: Recipe, comment: str) -> None:
    """Write a recipe, its bases merged, so that :func:`load_recipe` gives the same.

    Args:
        path: the file; an existing one is replaced.
        recipe: what to write.
        comment: one line at its top.
    """
    plain = json.loads(json.dumps(asdict(recipe), default=str))  # Paths as text, tuples as lists.
    save_text(path, f"# {comment}\n{yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)}")


def _check_dataset(dataset: DatasetSource, where: str) -> None:
    kinds = [item.name for item in fields(DatasetSource)]
    given = [name for name in kinds if getattr(dataset, name) is not None]
    if len(given) != 1:
        raise UserError(
            f"{where}: dataset must name exactly one of {', '.join(kinds)}, not {' and '.join(given) or 'none'}."
        )
    if dataset.layout is not None and dataset.layout not in LAYOUTS:
        raise UserError(
            f"{where}: dataset: layout {dataset.layout!r} is unknown; {near_matches(dataset.layout, LAYOUTS)}"
        )


def _check_names(recipe: Recipe, where: str) -> None:
    """Refuse what can be no part of the names of the results' files."""
    for name in map(str, (recipe.name, *recipe.variants)):
        if not name.strip(".") or re.search(r"[/\\\0]", name):
            raise UserError(f"{where}: {name!r} cannot be a file's name, which it becomes; take letters and digits.")


def _check_counts(protocol: Protocol, where: str) -> None:
    for item in fields(Protocol):
        value, least = getattr(protocol, item.name), int(item.name in ("test_frames", "sheet_frames"))
        if isinstance(value, int) and value < least:
            raise UserError(f"{where}: {item.name} is {value} but must be at least {least}.")


def _read(path: Path, above: tuple) -> Dict[str, Any]:
    """The YAML of a recipe merged over its bases."""
    if os.path.realpath(path) in above:
        raise UserError(f"{path} is its own base; name another file.")
    try:
        document = load_yaml(path)
    except FileNotFoundError:
        known = [found.name for found in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        advice = (
            near_matches(path.name, known)
            if known
            else "give the path of a recipe, such as the repository's in configs/."
        )
        raise UserError(f"{path} does not exist; {advice}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path} is not a recipe: it must be a mapping with name, description and dataset.")
    base = document.pop("base", None)
    if base is None:
        return document
    if not isinstance(base, str) or "\0" in base:
        raise UserError(f"{path}: base is {base!r}, which is no file name; correct it.")
    merged = _read(path.parent / base, (*above, os.path.realpath(path)))
    return _merge(merged, document)


def _merge(base: Dict[str, Any], change: Mapping[str, Any]) -> Dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
