"""Coefficients that a file does not name: what they are called, and what basis their number stands for."""

from __future__ import annotations

import re
from typing import Sequence, Tuple

_BASIS_BY_SIZE = {46: "facewarehouse46", 64: "bfm64", 79: "bfm79"}
_NAME = re.compile(r"expr_?\d+")


def unnamed(count: int) -> Tuple[str, ...]:
    """Names for coefficients that have none: ``expr_00``, ``expr_01``, …"""
    return tuple(f"expr_{index:02d}" for index in range(count))


def are_unnamed(names: Sequence[str]) -> bool:
    """Whether all names are of the kind that :func:`unnamed` gives."""
    return all(map(_NAME.fullmatch, names))


def basis_of_size(count: int) -> str:
    """The basis that so many coefficients without names are taken for: ``facewarehouse46``, ``bfm64``, ``bfm79``, else
    ``custom``."""
    return _BASIS_BY_SIZE.get(count, "custom")
