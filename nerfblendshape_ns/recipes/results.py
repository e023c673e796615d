"""Results as data: ``results/<recipe>/<run name>.json`` for each recorded run, from which all tables are rendered."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Type

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.engine.training_record import commit
from nerfblendshape_ns.recipes.recipe import DatasetSource, Recipe
from nerfblendshape_ns.recipes.values import build
from nerfblendshape_ns.synthetic.dataset import load_settings

FOLDER = "results"
"""Name of the folder, beside the recipes' ``configs``."""

HEAD_RUN = "pipeline.model.head_run"
"""Where a torso's head lies, which differs from machine to machine and is no part of a result."""


@dataclass(frozen=True)
class Figure:
    """A metric over the frames of a split."""

    mean: Optional[float]
    """None where no frame could be measured."""
    std: Optional[float]
    """Standard deviation over the frames."""
    frames: int
    """How many frames could be measured."""


@dataclass(frozen=True)
class Split:
    """The figures of one split."""

    frames: int
    """How many of its frames were rendered."""
    rows: Dict[str, Dict[str, Figure]]
    """Metrics by what is compared: ``head``, ``mask``, ``whole``, ``mouth`` and so on."""
    alignment: Dict[str, Figure] = field(default_factory=dict)
    """Where the error lies."""


@dataclass(frozen=True)
class RecordedRun:
    """The run that was measured, from its training record."""

    experiment: str
    """Name of the run."""
    method: str
    """A method of ``ns-train``."""
    protocol: str
    """How the clip was split."""
    split_sizes: Dict[str, int]
    """Frames of each split of the dataset."""
    date: str
    """Day on which the training ended, ISO."""
    commit: Optional[str]
    """Of the code that trained, with ``+`` where the checkout differed from it; None outside of git."""
    machine: str
    """GPU or processor."""
    device: str
    """``cuda`` or ``cpu``."""
    seed: int
    """nerfstudio's ``machine.seed``."""
    steps: int
    """Steps trained."""
    minutes: float
    """Training by the clock."""
    cpu_minutes: float
    """Processor time of the training, all threads together."""
    host_memory_mb: int
    """Peak of the process, MiB."""
    gpu_memory_mb: Optional[int]
    """Peak on the GPU, MiB; None without one."""
    versions: Dict[str, str]
    """Releases of what the figures depend on."""


@dataclass(frozen=True)
class Result:
    """What a result file holds."""

    recipe: str
    """Name of the recipe."""
    variant: Optional[str]
    """Its variant; None for the recipe itself."""
    clip: Optional[str]
    """The clip, where it is not the one that the recipe names."""
    dataset: Dict[str, Optional[str]]
    """``tool`` and ``version`` that prepared the dataset, and the ``video`` that it was made from, as far as known."""
    overrides: Dict[str, Any]
    """Values of the method's config that recipe, variant and command line set, by dotted path."""
    published: List[Dict[str, Any]]
    """Figures of other methods on the same data, from the recipe."""
    run: RecordedRun
    """The run."""
    splits: Dict[str, Split]
    """Figures by split: ``test``, ``train``, also ``unseen_expressions`` and ``unseen_views``."""
    speed: Dict[str, Any] = field(default_factory=dict)
    """``frames_per_second`` of rendering and ``size`` of its images, [height, width]."""
    missing: List[str] = field(default_factory=list)
    """Sentences on what could not be measured."""
    measured_by: Optional[str] = None
    """Commit of the code that measured, which need not be that which trained; None where it is not known."""

    @property
    def is_torso(self) -> bool:
        """Whether the whole person was trained, not the head alone."""
        return any("whole" in split.rows for split in self.splits.values())

    @property
    def is_committed(self) -> bool:
        """Whether commits hold the code that gave the figures."""
        return self.run.commit is not None and "+" not in f"{self.run.commit} {self.measured_by}"


def results_folder(recipe_file: Path) -> Path:
    """Where the results of a recipe go: beside the folder ``configs`` that it lies in, else beside its file."""
    for folder in recipe_file.absolute().parents:
        if folder.name == "configs":
            return folder.parent / FOLDER
    return recipe_file.absolute().parent / FOLDER


def record(
    recipe: Recipe,
    folder: Path,
    variant: Optional[str],
    evaluation: Mapping[str, Any],
    data: Path,
    clip: Optional[str] = None,
    minutes: Optional[float] = None,
) -> Path:
    """Write the result file of a run; that of an earlier run of the same name is replaced.

    Args:
        recipe: that was run, without variant and seed.
        folder: of all results; see :func:`results_folder`.
        variant: the variant that was run.
        evaluation: what ``eval.json`` holds: ``run``, ``splits``, ``speed`` and ``missing``.
        data: the dataset directory.
        clip: name of the video or dataset that was given on the command line. Each has a result of its own, unless it
            is what the recipe names, prepared elsewhere.
        minutes: of training, where the command line gave them.

    Returns:
        The file.

    Raises:
        UserError: the evaluation lacks what belongs to a result.
    """
    facts = dataset_facts(data)
    clip = None if clip is None or _is_own(recipe.dataset, data, facts["video"]) else clip
    staged = recipe.with_variant(variant)
    where = f"the evaluation of {staged.name}"
    values = {
        "recipe": recipe.name,
        "variant": variant,
        "clip": clip,
        "dataset": facts,
        "overrides": {},
        "published": [asdict(row) for row in recipe.published],
        **{key: value for key, value in evaluation.items() if key in ("splits", "speed", "missing")},
        "run": _known(RecordedRun, evaluation.get("run")),
        "measured_by": commit(),
    }
    result = build(Result, _rounded(values), where)
    if result.is_torso and staged.torso is not None:
        staged = staged.torso_recipe(data)
    result.overrides.update({key: value for key, value in staged.overrides.items() if key != HEAD_RUN})
    if minutes is not None:
        result.overrides["max_minutes"] = minutes
    file = _file(folder, result)
    file_io.save_text(file, f"{_text(asdict(result))}\n")
    return file


def load_results(folder: Path) -> List[Result]:
    """All results below a folder, ordered by file; none where there is no such folder.

    Raises:
        UserError: a file is no result, which names file and key, or lies where another recipe's or run's belongs.
    """
    results = []
    for file in sorted(folder.glob("*/*.json")):
        result = build(Result, file_io.load_json(file), str(file))
        if file != _file(folder, result):
            raise UserError(f"{file} is the result of run {result.run.experiment}; move it to {_file(folder, result)}.")
        results.append(result)
    return results


def dataset_facts(data: Path) -> Dict[str, Optional[str]]:
    """``tool`` and ``version`` that prepared a dataset, name of its ``video``; None each where it is not said."""
    path = data / contract.PROCESS
    loaded = file_io.load_json(path) if path.is_file() else None
    document = loaded if isinstance(loaded, dict) else {}
    video, versions = document.get("video"), document.get("versions")
    release = versions.get("nerfblendshape-ns") if isinstance(versions, dict) else None
    return {
        "tool": _first_text(document.get("tool"), document.get("source")),
        "version": _first_text(document.get("version"), release),
        "video": Path(video).name if isinstance(video, str) else None,
    }


def _first_text(*values: Any) -> Optional[str]:
    return next((value for value in values if isinstance(value, str)), None)


def _file(folder: Path, result: Result) -> Path:
    parts = [result.run.experiment] if result.clip is None else [result.run.experiment, result.clip]
    return folder / _file_name(result.recipe) / f"{'-'.join(map(_file_name, parts))}.json"


def _is_own(source: DatasetSource, data: Path, video: Optional[str]) -> bool:
    """Whether a dataset is what the recipe names: made of its video, or with its settings of the synthetic head."""
    if source.synthetic is not None:
        with suppress(UserError):
            return load_settings(data) == source.synthetic
        return False
    named = source.video.file if source.video is not None else None
    return named is not None and Path(named).name == video


def _file_name(name: str) -> str:
    """A name with what file names may not hold replaced."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)


def _known(cls: Type[Any], values: Any) -> Any:
    """The entries that belong to a result; a run's record also says where its files lie."""
    names = {item.name for item in fields(cls)}
    return {key: value for key, value in values.items() if key in names} if isinstance(values, Mapping) else values


def _rounded(value: Any) -> Any:
    """The same with numbers of four significant digits, and None for what is no number: short differences in git."""
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value


def _text(value: Any, indent: int = 0) -> str:
    """JSON with sorted keys, in which a mapping of plain values stands in one line."""
    if not isinstance(value, Mapping) or (indent and not any(isinstance(item, Mapping) for item in value.values())):
        return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)
    pad = " " * (indent + 1)
    lines = (f"{pad}{json.dumps(key, ensure_ascii=False)}: {_text(value[key], indent + 1)}" for key in sorted(value))
    return "{\n" + ",\n".join(lines) + f"\n{' ' * indent}}}"
