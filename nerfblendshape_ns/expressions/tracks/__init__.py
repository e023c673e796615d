"""Expression coefficients from anywhere: one reader a kind of file, all giving an :class:`ExpressionTrack`.

``nbs-process-data --expressions`` puts such a track in place of the tracker's coefficients, ``nbs-drive`` drives an
avatar by it. To add a kind of file, subclass :class:`~.base.ExpressionReader` and enter it in :data:`SOURCES`
(``docs/expression_tracks.md`` walks through one).
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Optional

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_BASIS, ARKIT_NAMES, NameList, arkit_name
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.tracks.array_files import ArchiveSource, ArraySource
from nerfblendshape_ns.expressions.tracks.audio2face import Audio2FaceSource
from nerfblendshape_ns.expressions.tracks.base import ExpressionReader, ExpressionTrack, make_track
from nerfblendshape_ns.expressions.tracks.csv_tables import CsvSource
from nerfblendshape_ns.expressions.tracks.face_cap import FaceCapSource
from nerfblendshape_ns.expressions.tracks.folders import (
    DatasetSource,
    FlameArchivesSource,
    FlameTextSource,
    MetricalTrackerSource,
)
from nerfblendshape_ns.expressions.tracks.ifacialmocap import IFacialMocapSource
from nerfblendshape_ns.expressions.tracks.unnamed_columns import name_columns, say_unnamed

SOURCES: Dict[str, ExpressionReader] = {
    source.name: source
    for source in (
        ArraySource(),
        ArchiveSource(),
        # Face Cap's files may be called .csv too, so it is asked before the general tables.
        FaceCapSource(),
        IFacialMocapSource(),
        CsvSource(),
        Audio2FaceSource(),
        MetricalTrackerSource(),
        # VHAP's datasets are none that training reads, but their coefficients are.
        FlameArchivesSource(),
        DatasetSource(),
        FlameTextSource(),
    )
}
"""The known kinds of files and folders by name, in the order of detection."""

__all__ = [
    "ARKIT_BASIS",
    "ARKIT_NAMES",
    "SOURCES",
    "ExpressionReader",
    "ExpressionTrack",
    "NameList",
    "arkit_name",
    "make_track",
    "read_expression_track",
]


def read_expression_track(path: Path, fps: Optional[float] = None, names: Optional[NameList] = None) -> ExpressionTrack:
    """Read expression coefficients from a file or folder of any known kind.

    Args:
        path: the file or folder.
        fps: rows per second; where given they overrule the file's own clock.
        names: what the columns of a file without names are; None makes names up.

    Returns:
        The track; its ``fps`` and ``times`` are None where neither the file nor ``fps`` says them.

    Raises:
        UserError: it does not exist, is of no known kind, its contents are wrong, or ``names`` do not fit it.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist; give a file or folder of expression coefficients.")
    for source in SOURCES.values():
        if source.matches(path):
            track = source.read(path, fps)
            if names is not None:
                return name_columns(path, track, names)
            return say_unnamed(path, track) if track.unnamed else track
    known = "; ".join(f"{source.name}: {source.looked_for}" for source in SOURCES.values())
    raise UserError(f"{path} is of no known kind of expression coefficients ({known}); convert it to one of these.")
