"""The text of a table: column names, and rows of cells."""

from __future__ import annotations

import codecs
import csv
import re
from pathlib import Path
from typing import List, Tuple

import numpy as np

from nerfblendshape_ns.common.errors import UserError


def read_table(path: Path) -> Tuple[List[str], List[List[str]]]:
    """Column names and rows in any locale: comma, semicolon or tab between cells, decimal points or commas.

    Lines that are empty, a comment (``#``) or a spreadsheet's ``sep=;`` are passed over.

    Raises:
        UserError: it is no text, has no names, or no rows.
    """
    lines = [line for line in _text(path).splitlines() if line.strip() and not line.startswith("#")]
    if lines and re.fullmatch(r"sep=.\s*", lines[0], re.IGNORECASE):
        lines.pop(0)
    if not lines:
        raise UserError(f"{path} is empty; export the recording again.")
    delimiter = max(",;\t", key=lines[0].count)
    try:
        table = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error as error:  # Cells of 128 KB; up to Python 3.10 also a NUL.
        raise UserError(f"{path} cannot be read as a table ({error}); export the recording again.") from None
    if delimiter != ",":
        table[1:] = [[cell.replace(",", ".") for cell in row] for row in table[1:]]
    header, rows = table[0], table[1:]
    if all(is_number(cell) for cell in header if cell):
        raise UserError(f"{path} has numbers in its first line; put the columns' names there.")
    if not rows:
        raise UserError(f"{path} has column names but no rows; record the face again.")
    return header, rows


def column_numbers(path: Path, name: str, cells: List[str]) -> np.ndarray:
    """A column as float64 ``[rows]``; empty cells are NaN.

    Raises:
        UserError: a cell is no number.
    """
    try:
        return np.array([cell or "nan" for cell in cells], dtype=np.float64)
    except ValueError:
        row = next(row for row, cell in enumerate(cells) if cell and not is_number(cell))
        raise UserError(f"{path}: {name} is {cells[row]!r} in row {row + 1}, which is no number; correct it.") from None


def is_number(text: str) -> bool:
    """Whether a cell holds a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _text(path: Path) -> str:
    """The file's text in UTF-8, or in UTF-16 where its first bytes say so."""
    try:
        content = path.read_bytes()
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if wide else "utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} cannot be read as text ({error}); export it as CSV in UTF-8.") from None
