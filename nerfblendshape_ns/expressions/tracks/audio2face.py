"""What NVIDIA Audio2Face exports as JSON: one row of blendshape weights per frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np

from nerfblendshape_ns.coefficient_names.arkit import basis_of_names, spelled_as_arkit
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import load_json
from nerfblendshape_ns.expressions.tracks.base import ExpressionReader, ExpressionTrack, make_track
from nerfblendshape_ns.expressions.tracks.unnamed_columns import unnamed_track

VALUES = ("weightMat", "weights", "values")
"""Keys under which the rows may be."""
NAMES = ("facsNames", "names", "blendshapeNames", "blendShapeNames", "poseNames")
"""Keys under which the columns' names may be."""
RATES = ("exportFps", "fps", "frameRate")
"""Keys under which the rows per second may be."""


class Audio2FaceReader(ExpressionReader):
    """Audio2Face's JSON export: ``weightMat`` with ``facsNames`` and ``exportFps``."""

    name = "audio2face"
    looked_for = ".json of Audio2Face (weightMat, facsNames, exportFps)"

    def matches(self, path: Path) -> bool:
        """A file that ends in ``.json`` and names one of the keys of rows."""
        if path.suffix.lower() != ".json" or not path.is_file():
            return False
        content = path.read_bytes()
        return any(f'"{key}"'.encode() in content for key in VALUES)

    def read(self, path: Path, fps: Optional[float]) -> ExpressionTrack:
        """See :meth:`ExpressionReader.read`."""
        document = load_json(path)
        rows = _first(document, VALUES) if isinstance(document, dict) else None
        try:
            values = np.array(rows, dtype=np.float64)
        except (TypeError, ValueError):
            values = np.zeros(0)
        if values.ndim != 2 or 0 in values.shape:
            raise UserError(f"{path}: {VALUES[0]} is not one row of numbers per frame; export it again.")
        rate = _first(document, RATES)
        times = None
        if isinstance(rate, (int, float)) and not isinstance(rate, bool) and rate > 0:
            times = np.arange(len(values)) / rate
        elif rate is not None:
            raise UserError(f"{path}: {RATES[0]} is {rate!r}, which is no rate; correct it.")
        names = _first(document, NAMES)
        if not names:
            return unnamed_track(path, values, fps, times=times, by_size=False)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{path}: {NAMES[0]} is no list of names; export it again.")
        return make_track(path, spelled_as_arkit(names), values, basis_of_names(names), times=times, fps=fps)


def _first(document: Dict[str, Any], keys: tuple) -> Any:
    """What is under the first of ``keys`` that the document has; None where it has none."""
    return next((document[key] for key in keys if key in document), None)
