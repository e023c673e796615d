"""FLAME parameters as one table of expression coefficients.

FLAME (Li et al., "Learning a model of facial shape and expression from 4D scans", 2017) moves a face by expression
components and by rotations of jaw and eyes; trackers built on MICA add two eyelid coefficients. The components alone
hardly open the mouth, so the jaw belongs to the expression wherever a file has it.
"""

from __future__ import annotations

from pathlib import Path
from typing import List, Mapping, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.common.errors import UserError

FLAME_BASIS = "flame"
"""Basis id of FLAME parameters; signed, not bounded."""

FLAME_PARTS = (("exp", "expr"), ("jaw", "jaw"), ("eyelids", "eyelid"), ("eyes", "eye"))
"""The parameters that make an expression, by the name of their folder or key, and the stem of their coefficients."""

_IDENTITY_6D = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])


def flame_table(parts: Mapping[str, np.ndarray]) -> Tuple[List[str], np.ndarray]:
    """Put FLAME parameters side by side, neutral at 0.

    Rotations written as the first two rows of their matrix (6 numbers per joint, the trackers' form) are measured from
    the identity; axis-angle rotations are 0 in the neutral pose already.

    Args:
        parts: ``[frames, numbers]`` arrays by the first names of :data:`FLAME_PARTS`; ``exp`` must be there.

    Returns:
        The coefficients' names (``expr_00`` …, ``jaw_0`` …) and values ``[frames, basis]``, float64.
    """
    names: List[str] = []
    columns: List[np.ndarray] = []
    for key, stem in FLAME_PARTS:
        if key not in parts:
            continue
        values = np.asarray(parts[key], dtype=np.float64)
        if key in ("jaw", "eyes") and values.shape[1] % 6 == 0:
            for first in range(0, values.shape[1], 6):
                group = values[:, first : first + 6]
                # A joint turns by far less than 60 degrees, so the diagonal shows which form it is.
                if np.median(group[:, [0, 4]]) > 0.5:
                    values = values.copy()
                    values[:, first : first + 6] -= _IDENTITY_6D
        digits = 2 if key == "exp" else 1
        names += [f"{stem}_{index:0{digits}d}" for index in range(values.shape[1])]
        columns.append(values)
    return names, np.concatenate(columns, axis=1)


def read_flame_texts(folder: Path, stems: Sequence[str]) -> Tuple[List[str], np.ndarray]:
    """Read FLAME parameters kept as one text file per frame, as INSTA keeps them: ``exp/00001.txt``, ``jaw/00001.txt``.

    Args:
        folder: the folder that holds ``exp/`` and perhaps ``jaw/``, ``eyelids/`` and ``eyes/``.
        stems: file name of each frame without its suffix.

    Returns:
        As :func:`flame_table`.

    Raises:
        UserError: a file is missing, holds no numbers, or not as many as the first.
    """
    present = [key for key, _ in FLAME_PARTS if key == "exp" or (folder / key).is_dir()]
    return flame_table({key: read_number_files([folder / key / f"{stem}.txt" for stem in stems]) for key in present})


def read_number_files(paths: Sequence[Path]) -> np.ndarray:
    """Numbers kept as one text file per frame, float64 ``[files, numbers]``.

    Raises:
        UserError: a file is missing, holds something else than finite numbers, or not as many as the first.
    """
    rows: List[np.ndarray] = []
    for path in paths:
        try:
            row = np.array(path.read_text(encoding="utf-8").split(), dtype=np.float64)
        except FileNotFoundError:
            raise UserError(
                f"{path} does not exist; every frame needs its coefficients, so restore the file."
            ) from None
        except (ValueError, UnicodeDecodeError, OSError):
            raise UserError(f"{path} does not hold numbers alone; write the frame's coefficients again.") from None
        if len(row) == 0 or (rows and len(row) != len(rows[0])):
            wanted = f"not {len(rows[0])} as {paths[0].name}" if rows else "so no coefficient"
            raise UserError(f"{path} holds {len(row)} numbers, {wanted}; write the frame's coefficients again.")
        if not np.isfinite(row).all():
            raise UserError(f"{path} holds numbers that are not finite; extract the frame's coefficients again.")
        rows.append(row)
    return np.stack(rows)
