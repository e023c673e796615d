"""Figures of recorded runs: picked out, averaged over seeds, and written as the tables show them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from statistics import mean, stdev
from typing import Dict, List, Optional, Sequence, Tuple

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.recipes.results import Result

ABSENT = "–"
"""What a table shows where there is no figure."""

UNCOMMITTED = "†"
"""Marks figures of code that no commit holds."""


ALIGNMENT = "alignment"
"""Where the error of a split lies."""
RUN, FRAMES, SEEDS = "run", "frames", "seeds"
"""Not measured on a split: the run's record, how many frames each split has, and how many runs differ in their seed
alone."""


@dataclass(frozen=True)
class Form:
    """How a metric is written."""

    digits: int
    """After the point."""
    scale: float = 1.0
    """What the value is multiplied by."""
    less_is_better: bool = False
    """Whether smaller values are the better ones."""


FORMS: Dict[str, Form] = {
    "psnr": Form(1),
    "ssim": Form(3),
    "lpips": Form(3, less_is_better=True),
    "lpips_vgg": Form(3, less_is_better=True),
    "flip": Form(3, less_is_better=True),
    "l1": Form(4, less_is_better=True),
    "temporal": Form(1, 1000.0, less_is_better=True),
    "sharpness": Form(2),
    "landmarks": Form(2, less_is_better=True),
    "lids": Form(2, less_is_better=True),
    "irises": Form(2, less_is_better=True),
    "misalignment": Form(2, less_is_better=True),
    "psnr_aligned": Form(1),
    "psnr_mask_aligned": Form(1),
    "outline_share": Form(0, 100.0),
    "without_cell": Form(2, 100.0, less_is_better=True),
    "floaters": Form(1, 1000.0, less_is_better=True),
    "minutes": Form(1, less_is_better=True),
    "cpu_minutes": Form(1, less_is_better=True),
    "host_memory_mb": Form(1, 1 / 1024, less_is_better=True),
    "gpu_memory_mb": Form(1, 1 / 1024, less_is_better=True),
    "frames_per_second": Form(1),
}
"""By name; others are counts."""


def written(value: Optional[float], metric: str, signed: bool = False) -> str:
    """A figure as text: ``29.7``, ``.958``, ``12,000``; with its sign where it is a difference."""
    if value is None:
        return ABSENT
    form = FORMS.get(metric, Form(0))
    text = f"{value * form.scale:+,.{form.digits}f}"
    sign, number = text[0], text[1:]
    if not re.search("[1-9]", number):
        sign = ""
    if form.digits >= 3 and number.startswith("0."):
        number = number[1:]
    return number if sign == "+" and not signed else sign + number


def escaped(text: str) -> str:
    """Text in which Markdown, HTML and the table find nothing of theirs."""
    return re.sub(r"([\\`*_\[\]<>|~$&])", r"\\\1", " ".join(text.split()))


ANY_CLIP = ("clip", "medium", "large", "baselines", "baselines-time")
"""Recipes that are the same for every clip."""


@dataclass(frozen=True)
class Source:
    """Where a table finds a figure in a result."""

    row: str
    """A row of a split, or one of the constants above."""
    metric: str
    """Name in that row."""
    torso: bool = False
    """Of the torso's run instead of the head's."""

    def of(self, result: Result, split: str) -> Optional[float]:
        """The figure; None where the result lacks it."""
        if self.row == RUN:
            return getattr(result.run, self.metric)
        if self.row == FRAMES:
            return result.run.split_sizes.get(self.metric)
        measured = result.splits.get(split)
        if measured is None:
            return None
        row = measured.alignment if self.row == ALIGNMENT else measured.rows.get(self.row, {})
        return row[self.metric].mean if self.metric in row else None


@dataclass(frozen=True)
class Cell:
    """A figure over the seeds of one run."""

    value: float
    """Mean."""
    spread: Optional[float]
    """Standard deviation; None of a single seed."""

    def text(self, metric: str) -> str:
        """``29.7``, or ``29.7 ± 0.1`` of several seeds."""
        value = written(self.value, metric)
        return value if self.spread is None else f"{value} ± {written(self.spread, metric)}"


@dataclass(frozen=True, order=True)
class Clip:
    """What runs are compared on."""

    recipe: str
    """Name of the recipe."""
    name: str
    """Of the clip, where the recipe names none of its own; else empty."""

    @property
    def label(self) -> str:
        """``plain`` for the recipe ``clip-plain`` and for the clip of that name in recipes of any clip."""
        if self.name and self.recipe in ANY_CLIP:
            return self.name
        recipe = self.recipe.removeprefix("clip-")
        return f"{recipe}, {self.name}" if self.name else recipe


class Recorded:
    """Results by clip, variant and stage; runs that differ in their seed alone lie together.

    Args:
        results: in any order.

    Raises:
        UserError: two runs on one clip were measured on different frames, or runs of two seeds differ in more.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        self._runs: Dict[Tuple[Clip, Optional[str], bool], List[Result]] = {}
        first: Dict[Clip, Result] = {}
        for result in sorted(results, key=lambda each: (each.recipe, each.run.experiment, each.clip or "")):
            clip = Clip(result.recipe, result.clip or "")
            runs = self._runs.setdefault((clip, result.variant, result.is_torso), [])
            runs.append(result)
            _check_same_frames(first.setdefault(clip, result), result)
            _check_same_settings(runs[0], result)

    def clips(self, patterns: Sequence[str]) -> List[Clip]:
        """Clips whose recipe's name matches, in the order of the patterns and then of the names."""
        known = sorted({clip for clip, _, _ in self._runs})
        found = [clip for pattern in patterns for clip in known if fnmatchcase(clip.recipe, pattern)]
        return list(dict.fromkeys(found))

    def runs(self, clip: Clip, variant: Optional[str], torso: bool) -> List[Result]:
        """Of all seeds."""
        return self._runs.get((clip, variant, torso), [])

    def is_committed(self, clip: Clip, variant: Optional[str], torso: bool) -> bool:
        """Whether commits hold the code of all the runs."""
        return all(run.is_committed for run in self.runs(clip, variant, torso))

    def cell(self, clip: Clip, variant: Optional[str], split: str, source: Source) -> Optional[Cell]:
        """A figure over the seeds; None where one of them lacks it, for a mean over others would be another's."""
        runs = self.runs(clip, variant, source.torso)
        if source.row == SEEDS:
            return Cell(len(runs), None) if runs else None
        values = [source.of(result, split) for result in runs]
        present = [value for value in values if value is not None]
        if not present or len(present) < len(values):
            return None
        measured = source.row not in (RUN, FRAMES)
        return Cell(mean(present), stdev(present) if measured and len(present) > 1 else None)


def _check_same_frames(first: Result, second: Result) -> None:
    if _frames(first) != _frames(second):
        raise UserError(
            f"results/{first.recipe}: {first.run.experiment} ({_frames(first)}) and {second.run.experiment} "
            f"({_frames(second)}) were measured on different frames, which cannot be compared; record both with one "
            "protocol on one dataset."
        )


def _check_same_settings(first: Result, second: Result) -> None:
    if (first.run.method, first.overrides) != (second.run.method, second.overrides):
        raise UserError(
            f"results/{first.recipe}: {first.run.experiment} and {second.run.experiment} differ in more than their "
            "seed, so a mean of both is none of the recipe; record both by the recipe as it is."
        )


def _frames(result: Result) -> str:
    """Split, size and origin of the frames that were measured."""
    splits = ", ".join(f"{count} {split}" for split, count in sorted(result.run.split_sizes.items()))
    size = "x".join(str(side) for side in reversed(result.speed.get("size", [])))
    video = result.dataset.get("video")
    return f"{result.run.protocol}: {splits}; {size}{f'; {video}' if video else ''}"
