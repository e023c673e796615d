"""What commands show on the console: bars, and what users named (file names, notes, warnings) as it is."""

from __future__ import annotations

from typing import Optional, Tuple, Union

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from nerfblendshape_ns.common.errors import printable


def say(console: Console, *parts: Union[str, Tuple[str, str]]) -> None:
    """Print a line in which nothing is interpreted: ``[take]`` in a file name is no markup and ``:ok:`` no emoji.

    Args:
        console: where to.
        parts: put together without anything between them; a pair is a text and its style, such as ``yellow``.
    """
    clean = [printable(part) if isinstance(part, str) else (printable(part[0]), part[1]) for part in parts]
    console.print(Text.assemble(*clean), soft_wrap=True)


def progress_bars(console: Optional[Console] = None) -> Progress:
    """The bars that all commands show: what is done, how much of it, the time so far and the time to go.

    Args:
        console: where to; None is the terminal.
    """
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, TimeRemainingColumn(), console=console)
