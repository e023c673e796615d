"""Pages whose tables are rendered: they stand between two marks, ``<!-- name -->`` and ``<!-- /name -->``."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

from nerfblendshape_ns.common.errors import UserError


def marks(name: str) -> Tuple[str, str]:
    """The lines before and after the tables."""
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def filled(path: Path, name: str, tables: str) -> str:
    """A page's text with its tables replaced.

    Args:
        path: of the page.
        name: in the marks.
        tables: in Markdown.

    Raises:
        UserError: there is no such page, or it lacks the marks.
    """
    begin, end = marks(name)
    if not path.is_file():
        raise UserError(f"{path} does not exist; write it with the lines {begin} and {end}, between which tables go.")
    text = path.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UserError(f"{path} must have the lines {begin} and {end} once each, in this order, for its tables.")
    return f"{text.split(begin)[0]}{begin}\n{tables}\n{end}{text.split(end)[1]}"
