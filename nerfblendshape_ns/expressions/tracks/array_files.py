"""Arrays of coefficients: ``.npy`` with names beside it, ``.npz``, and the ``.pt`` files of face trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Tuple

import numpy as np

from nerfblendshape_ns.coefficient_names.arkit import basis_of_names, spelled_as_arkit
from nerfblendshape_ns.common.arrays import load_arrays
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import load_array, load_json
from nerfblendshape_ns.expressions.tracks.base import ExpressionReader, ExpressionTrack, make_track
from nerfblendshape_ns.expressions.tracks.flame_parameters import parameter_track
from nerfblendshape_ns.expressions.tracks.unnamed_columns import unnamed_track

SAVE_PLAIN = "save its arrays as .npz without pickle"
"""What to do about an archive that cannot be read."""


class ArrayReader(ExpressionReader):
    """``NAME.npy`` with one row per frame; names in ``NAME_names.json`` or ``NAME_names.txt`` beside it.

    The JSON is a list of names, or an object with ``names`` and ``basis`` as ``nbs-process-data`` writes it. Without
    names, 46, 64 and 79 columns are taken for FaceWarehouse and Basel Face Model coefficients.
    """

    name = "array"
    looked_for = "NAME.npy, with NAME_names.json or NAME_names.txt beside it"

    def matches(self, path: Path) -> bool:
        """A file that ends in ``.npy``."""
        return path.suffix.lower() == ".npy" and path.is_file()

    def read(self, path: Path, fps: Optional[float]) -> ExpressionTrack:
        """See :meth:`ExpressionReader.read`."""
        values = load_array(path)
        if values.ndim == 3 and 1 in values.shape[:2] and values.size:
            # Some trackers keep a batch axis of one, in front of the frames or behind them.
            values = values.reshape(-1, values.shape[2])
        found = _names_beside(path)
        if found is not None:
            return make_track(path, spelled_as_arkit(found[0]), values, found[1], fps=fps)
        return unnamed_track(path, values, fps)


class ArchiveReader(ExpressionReader):
    """``.npz`` or ``.pt``: named coefficients (``names``, ``values``), or the parameters of FLAME or of the BFM.

    ``values`` may come with ``times`` (seconds) or ``fps``, and ``basis``. FLAME parameters are found under the keys
    of :data:`~.flame_parameters.FLAME_KEYS`; an ``exp`` with no jaw beside it and 64 or 79 columns is the Basel Face
    Model's, as in the ``track_params.pt`` of AD-NeRF and RAD-NeRF.
    """

    name = "archive"
    looked_for = ".npz or .pt with names and values, or FLAME or BFM parameters under exp or expr"

    def matches(self, path: Path) -> bool:
        """A file that ends in ``.npz``, ``.pt`` or ``.pth``."""
        return path.suffix.lower() in (".npz", ".pt", ".pth") and path.is_file()

    def read(self, path: Path, fps: Optional[float]) -> ExpressionTrack:
        """See :meth:`ExpressionReader.read`."""
        content = load_arrays(path, SAVE_PLAIN)
        if "names" in content and "values" in content:
            names = spelled_as_arkit([str(name) for name in np.asarray(content["names"]).ravel()])
            basis = str(content["basis"]) if "basis" in content else basis_of_names(names)
            values, times = np.asarray(content["values"]), content.get("times")
            try:
                times = None if times is None else np.asarray(times, dtype=np.float64)
                if fps is None and times is None and "fps" in content:
                    fps = float(content["fps"])
            except (TypeError, ValueError, MemoryError) as error:
                raise UserError(f"{path}: its times or fps are no numbers ({error}); {SAVE_PLAIN}.") from None
            return make_track(path, names, values, basis, times=times, fps=fps)
        return parameter_track(path, content, fps)


def _names_beside(path: Path) -> Optional[Tuple[list, str]]:
    """Names and basis id from the file beside an array, or None where there is none."""
    as_json, as_text = path.with_name(f"{path.stem}_names.json"), path.with_name(f"{path.stem}_names.txt")
    if as_json.is_file():
        document = load_json(as_json)
        names = document.get("names") if isinstance(document, dict) else document
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{as_json} holds no list of names; write a JSON list with one name for each column.")
        basis = document.get("basis") if isinstance(document, dict) else None
        return names, str(basis) if basis else basis_of_names(names)
    if not as_text.is_file():
        return None
    try:
        names = [line.strip() for line in as_text.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (ValueError, OSError) as error:
        raise UserError(f"{as_text} cannot be read ({error}); write one name for each column.") from None
    return names, basis_of_names(names)
