"""Expression coefficients from anywhere: one reader a kind of file, all giving an :class:`ExpressionTrack`.

``nbs-process-data --expressions`` puts such a track in place of the tracker's coefficients, ``nbs-drive`` drives an
avatar by it. To add a kind of file, subclass :class:`~.base.ExpressionSource` and enter it in :data:`SOURCES`
(``docs/expression_tracks.md`` walks through one).
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Optional

from nerfblendshape_ns.arkit import ARKIT_BASIS, ARKIT_NAMES, arkit_name
from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.expression_tracks.array_files import ArchiveSource, ArraySource
from nerfblendshape_ns.expression_tracks.base import ExpressionSource, ExpressionTrack, make_track
from nerfblendshape_ns.expression_tracks.csv_tables import CsvSource
from nerfblendshape_ns.expression_tracks.face_cap import FaceCapSource
from nerfblendshape_ns.expression_tracks.folders import DatasetSource, FlameTextSource, MetricalTrackerSource

SOURCES: Dict[str, ExpressionSource] = {
    source.name: source
    for source in (
        ArraySource(),
        ArchiveSource(),
        # Face Cap's files may be called .csv too, so it is asked before the general tables.
        FaceCapSource(),
        CsvSource(),
        MetricalTrackerSource(),
        DatasetSource(),
        FlameTextSource(),
    )
}
"""The known kinds of files and folders by name, in the order of detection."""

__all__ = [
    "ARKIT_BASIS",
    "ARKIT_NAMES",
    "SOURCES",
    "ExpressionSource",
    "ExpressionTrack",
    "arkit_name",
    "make_track",
    "read_expression_track",
]


def read_expression_track(path: Path, fps: Optional[float] = None) -> ExpressionTrack:
    """Read expression coefficients from a file or folder of any known kind.

    Args:
        path: the file or folder.
        fps: rows a second for kinds without a clock of their own (arrays, frame numbers); those with one keep it.

    Returns:
        The track; its ``fps`` and ``times`` are None where neither the file nor ``fps`` says them.

    Raises:
        UserError: it does not exist, is of no known kind, or its contents are wrong.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist; give a file or folder of expression coefficients.")
    for source in SOURCES.values():
        if source.matches(path):
            return source.read(path, fps)
    known = "; ".join(f"{source.name}: {source.looked_for}" for source in SOURCES.values())
    raise UserError(f"{path} is of no known kind of expression coefficients ({known}); convert it to one of these.")
