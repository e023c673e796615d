"""Figures that others have published on the data of a recipe, beside ours."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Literal, Mapping, Optional, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nerfblendshape_ns.common.console import say

METRICS = {"psnr": "PSNR", "ssim": "SSIM", "lpips": "LPIPS"}
"""What is published, and its heading; our LPIPS is AlexNet's."""


@dataclass(frozen=True)
class PublishedRow:
    """What a method is reported to reach on the recipe's dataset."""

    method: str
    """Its name."""
    row: Literal["head", "whole", "true_torso"]
    """The row of our evaluation that it stands beside: the head on white, the whole person, the head on the true
    torso."""
    measured: str
    """On what it was measured and how, as far as is known: clips, frames, network of LPIPS."""
    source: Literal["own page", "secondary"]
    """Whether the method's own page or paper says it, or somebody else's does."""
    psnr: Optional[float] = None
    """dB, mean over frames."""
    ssim: Optional[float] = None
    """Structural similarity."""
    lpips: Optional[float] = None
    """Learned perceptual distance; ``measured`` names its network."""


def published_beside(
    published: Sequence[PublishedRow], differs: str, rows: Mapping[str, Mapping[str, Optional[float]]]
) -> List[Dict[str, Any]]:
    """The published rows that one of ours can stand beside, as plain data for the file of the figures.

    Args:
        published: of a recipe.
        differs: in what our measurement differs from theirs; every row says it.
        rows: our figures by row and metric.
    """
    return [{**asdict(row), "differs": differs} for row in published if row.row in rows]


def print_published(
    published: Sequence[PublishedRow],
    differs: str,
    name: str,
    rows: Mapping[str, Mapping[str, Optional[float]]],
    console: Console,
) -> None:
    """Print published figures beside ours; nothing where there are none for any of our rows.

    Args:
        published: of a recipe.
        differs: in what our measurement differs from theirs.
        name: of our run.
        rows: our figures on the test frames by row and metric, ``rows["head"]["psnr"]``.
        console: where to.
    """
    shown = [row for row in published if row.row in rows]
    if not shown:
        return
    table = Table(title=Text(f"{name} beside published figures"))
    for heading in ("method", "row"):
        table.add_column(heading)
    for heading in METRICS.values():
        table.add_column(heading, justify="right")
    for heading in ("source", "measured"):
        table.add_column(heading)
    for row in dict.fromkeys(entry.row for entry in shown):
        ours = (_number(rows[row].get(metric)) for metric in METRICS)
        table.add_row(Text(name), row, *ours, "this run", "this clip; LPIPS with AlexNet")
        for entry in shown:
            if entry.row == row:
                theirs = (_number(getattr(entry, metric)) for metric in METRICS)
                table.add_row(Text(entry.method), row, *theirs, entry.source, Text(entry.measured))
    console.print(table)
    if differs:
        say(console, f"what differs: {differs}")


def _number(value: Optional[float]) -> str:
    return "–" if value is None else f"{value:.4g}"
