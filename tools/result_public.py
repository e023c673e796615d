"""Public datasets: what others have published beside what this method reaches, or that it has not been run."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import List, Optional, Sequence

from result_figures import ABSENT, UNCOMMITTED, Clip, Recorded, Source, escaped, written
from result_markdown import grid, paragraphs, with_footnote, wrapped
from result_tables import OURS

from nerfblendshape_ns.recipes.recipe import Recipe, load_recipe

FOLDER = Path("configs", "public")
"""Of the recipes of public datasets, in the repository."""
ROWS = {"head": "head on white", "whole": "whole person", "true_torso": "head on the true torso"}
"""What a published figure may stand beside."""
METRICS = ("psnr", "ssim", "lpips")
NOT_RUN = "not run"

NOTE = (
    "Published figures beside those of this method on the same dataset, split by the same protocol: means over the "
    "clips that were run, LPIPS by AlexNet. Secondary: said by somebody else than the method's authors."
)


def public_datasets(root: Path, recorded: Recorded) -> str:
    """The section on public datasets; empty where the repository has no recipes of any.

    Args:
        root: the repository.
        recorded: all results.

    Raises:
        UserError: a recipe is broken.
    """
    recipes = [load_recipe(path) for path in sorted((root / FOLDER).glob("*.yaml"))]
    tables = [_dataset(recipe, recorded) for recipe in recipes if recipe.published]
    return paragraphs("## Public datasets", wrapped(NOTE), *tables) if tables else ""


def _dataset(recipe: Recipe, recorded: Recorded) -> str:
    rows: List[List[str]] = []
    for row in dict.fromkeys(entry.row for entry in recipe.published):
        rows.append(_ours(recipe, row, recorded))
        for entry in recipe.published:
            if entry.row == row:
                figures = [_as_published(getattr(entry, metric)) for metric in METRICS]
                rows.append([escaped(entry.method), ROWS[row], *figures, entry.source, escaped(entry.measured)])
    table = grid(("method", "what", "PSNR", "SSIM", "LPIPS", "source", "measured on"), rows, numbers=(2, 3, 4))
    differs = f"What differs: {escaped(recipe.differs)}" if recipe.differs else ""
    heading = f"**{escaped(recipe.name)}** ({recipe.protocol.split}): {escaped(recipe.description)}"
    return paragraphs(heading, with_footnote(table), differs)


def _ours(recipe: Recipe, row: str, recorded: Recorded) -> List[str]:
    torso = row != "head"
    clips = [clip for clip in recorded.clips([recipe.name]) if recorded.runs(clip, None, torso)]
    if not clips:
        return [OURS, ROWS[row], *(ABSENT for _ in METRICS), NOT_RUN, ""]
    committed = all(recorded.is_committed(clip, None, torso) for clip in clips)
    figures = [_mean(clips, Source(row, metric, torso), recorded) for metric in METRICS]
    names = escaped(", ".join(clip.name or clip.recipe for clip in clips))
    return [OURS if committed else f"{OURS} {UNCOMMITTED}", ROWS[row], *figures, "recorded run", names]


def _as_published(value: Optional[float]) -> str:
    """With the digits that were published."""
    return ABSENT if value is None else f"{value:g}".removeprefix("0")


def _mean(clips: Sequence[Clip], source: Source, recorded: Recorded) -> str:
    cells = [recorded.cell(clip, None, "test", source) for clip in clips]
    values = [cell.value for cell in cells if cell is not None]
    return written(mean(values), source.metric) if len(values) == len(clips) else ABSENT
