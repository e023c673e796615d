"""A batch on the console: all clips while it runs, those that failed at its end."""

from __future__ import annotations

from collections import Counter
from typing import Iterable, List, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nerfblendshape_ns.batch.status import Status

SHOWN = 25
"""A larger batch shows only clips that run or failed."""
STYLES = {"waiting": "dim", "running": "yellow", "done": "green", "failed": "red"}


def live_table(statuses: Sequence[Status]) -> Table:
    """The clips of a batch, with what each is doing.

    Args:
        statuses: of all clips; the step of one that runs is what it does now.
    """
    shown = statuses if len(statuses) <= SHOWN else [one for one in statuses if one.state in ("running", "failed")]
    table = Table(title=Text(counts(statuses)))
    for heading in ("clip", "state", "step"):
        table.add_column(heading)
    table.add_column("minutes", justify="right")
    table.add_column("PSNR", justify="right")
    for one in shown[-SHOWN:]:
        minutes = f"{one.minutes:.1f}" if one.minutes else ""
        said = one.step if one.state != "failed" else f"{one.step}: {one.reason}"
        table.add_row(Text(one.name), Text(one.state, STYLES[one.state]), Text(said), minutes, figure(one, "psnr"))
    return table


def print_failures(statuses: Iterable[Status], console: Console) -> None:
    """Which clips failed, in which step and why; nothing where none did."""
    failed: List[Status] = [one for one in statuses if one.state == "failed"]
    if failed:
        table = Table(title=Text(f"{len(failed)} of the clips failed; the same command tries them again"))
        for heading in ("clip", "step", "reason"):
            table.add_column(heading, overflow="fold")
        for one in failed:
            table.add_row(Text(one.name), Text(one.step), Text(one.reason))
        console.print(table)


def counts(statuses: Iterable[Status]) -> str:
    """How many clips are in which state, such as ``2 done, 1 failed``."""
    number = Counter(one.state for one in statuses)
    return ", ".join(f"{number[state]} {state}" for state in ("done", "running", "failed", "waiting") if number[state])


def figure(status: Status, metric: str, decimals: int = 1) -> str:
    """A figure of the test frames: of the whole person where there is one, else of the head; else nothing."""
    rows = status.results.get("figures")
    if not isinstance(rows, dict):
        return ""
    row = rows.get("whole") or rows.get("head") or {}
    value = row.get(metric)
    return f"{value:.{decimals}f}" if isinstance(value, (int, float)) else ""
