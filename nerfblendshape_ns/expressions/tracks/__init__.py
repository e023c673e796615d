"""Expression coefficients from anywhere: one reader a kind of file, all giving an :class:`ExpressionTrack`.

``nbs-process-data --expressions`` puts such a track in place of the tracker's coefficients, ``nbs-drive`` drives an
avatar by it. To add a kind of file, subclass :class:`~.base.ExpressionReader` and enter it in :data:`READERS`
(``docs/expression_tracks.md`` walks through one).
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Optional

from nerfblendshape_ns.coefficient_names.arkit import NameList
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.tracks.array_files import ArchiveReader, ArrayReader
from nerfblendshape_ns.expressions.tracks.audio2face import Audio2FaceReader
from nerfblendshape_ns.expressions.tracks.base import ExpressionReader, ExpressionTrack, make_track
from nerfblendshape_ns.expressions.tracks.csv_tables import CsvReader
from nerfblendshape_ns.expressions.tracks.face_cap import FaceCapReader
from nerfblendshape_ns.expressions.tracks.folders import (
    DatasetReader,
    FlameArchivesReader,
    FlameTextReader,
    ImavatarReader,
    MetricalTrackerReader,
)
from nerfblendshape_ns.expressions.tracks.ifacialmocap import IFacialMocapReader
from nerfblendshape_ns.expressions.tracks.unnamed_columns import name_columns, say_unnamed

READERS: Dict[str, ExpressionReader] = {
    reader.name: reader
    for reader in (
        ArrayReader(),
        ArchiveReader(),
        # Face Cap's files may be called .csv too, so it is asked before the general tables.
        FaceCapReader(),
        IFacialMocapReader(),
        CsvReader(),
        Audio2FaceReader(),
        MetricalTrackerReader(),
        # These datasets are none that training reads, but their coefficients are.
        FlameArchivesReader(),
        ImavatarReader(),
        DatasetReader(),
        FlameTextReader(),
    )
}
"""The known kinds of files and folders by name, in the order of detection."""

__all__ = [
    "READERS",
    "ExpressionReader",
    "ExpressionTrack",
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
    for reader in READERS.values():
        if reader.matches(path):
            track = reader.read(path, fps)
            if names is not None:
                return name_columns(path, track, names)
            return say_unnamed(path, track) if track.unnamed else track
    known = "; ".join(f"{reader.name}: {reader.looked_for}" for reader in READERS.values())
    raise UserError(f"{path} is of no known kind of expression coefficients ({known}); convert it to one of these.")
