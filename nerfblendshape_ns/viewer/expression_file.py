"""An expression as a file: coefficients by name, so that it can be loaded into any model that shares names."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Dict, Mapping

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import save_json

FORMAT = "nerfblendshape-expression"
VERSION = 1
MAX_BYTES = 1 << 20
"""Larger files are refused unread."""


def expression_document(values: Mapping[str, float]) -> Dict[str, object]:
    """What a file holds: format, version and the coefficients by name in raw units."""
    rounded = {name: float(f"{value:.7g}") for name, value in values.items()}  # As exact as single precision.
    return {"format": FORMAT, "version": VERSION, "expression": rounded}


def expression_text(values: Mapping[str, float]) -> str:
    """The text of a file."""
    return json.dumps(expression_document(values), indent=1)


def file_name(name: str) -> str:
    """The name of a file in the expressions folder for what a user typed.

    Raises:
        UserError: the name has anything but letters, digits, space, dot, dash and underscore, or starts with a dot.
    """
    name = name.strip()
    name = name[: -len(".json")] if name.endswith(".json") else name
    if not re.fullmatch(r"[\w\-][\w\-. ]{0,79}", name):
        raise UserError(
            f"{name[:80]!r} cannot be the name of an expression file; use up to 80 letters, digits, spaces, dots, "
            "dashes and underscores."
        )
    return f"{name}.json"


def save_expression(path: Path, values: Mapping[str, float]) -> None:
    """Write an expression, atomically; a file that holds one is replaced.

    Raises:
        UserError: there is a file by this name that is something else.
    """
    if os.path.lexists(path):
        try:
            load_expression(path)
        except UserError:
            raise UserError(f"{path} exists and is no expression file; choose another name.") from None
    save_json(path, expression_document(values))


def parse_expression(content: bytes, name: str) -> Dict[str, float]:
    """Read the bytes of a file.

    Args:
        content: of the file.
        name: of the file, for messages.

    Raises:
        UserError: it is no expression file, or a value is no number, or is above a million.
    """
    if len(content) > MAX_BYTES:
        raise UserError(f"{name} has {len(content)} bytes, more than any expression file; choose another file.")
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise UserError(f"{name} is not JSON; choose a file that was saved with the viewer.") from None
    values = document.get("expression") if isinstance(document, dict) else None
    if not isinstance(values, dict) or document.get("format") != FORMAT:
        raise UserError(f"{name} is no expression file (its format is not {FORMAT!r}); save one with the viewer first.")
    if document.get("version") != VERSION:
        raise UserError(f"{name} has version {document.get('version')!r}, and only {VERSION} is known; save it again.")
    for coefficient, value in values.items():
        # The magnitude is compared first: whole numbers in JSON may be too large to be a float.
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not abs(value) < 1e6:
            raise UserError(f"{name} gives {coefficient!r} the value {str(value)[:40]}; make it a number.")
    return {str(coefficient): float(value) for coefficient, value in values.items()}


def load_expression(path: Path) -> Dict[str, float]:
    """Read a file.

    Raises:
        UserError: as :func:`parse_expression`, or the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); choose a file that exists.") from None
    return parse_expression(content, path.name)
