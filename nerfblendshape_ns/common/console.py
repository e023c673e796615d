"""Printing what users named: file names, notes and warnings, on the console as they are."""

from __future__ import annotations

from typing import Tuple, Union

from rich.console import Console
from rich.text import Text


def say(console: Console, *parts: Union[str, Tuple[str, str]]) -> None:
    """Print a line in which nothing is interpreted: ``[take]`` in a file name is no markup and ``:ok:`` no emoji.

    Args:
        console: where to.
        parts: put together without anything between them; a pair is a text and its style, such as ``yellow``.
    """
    console.print(Text.assemble(*parts), soft_wrap=True)
