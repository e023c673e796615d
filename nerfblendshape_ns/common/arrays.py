"""Several arrays in one file, written whole or not at all and read without unpickling."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Dict

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write an ``.npz`` file atomically."""
    file_io.write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))


def load_arrays(path: Path, advice: str = "delete it and run the same command again") -> Dict[str, np.ndarray]:
    """Read an ``.npz`` file without unpickling anything.

    Args:
        path: the file.
        advice: what the user can do where it cannot be read.

    Raises:
        UserError: it is missing or damaged, or holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} is no .npz of plain arrays ({reason}); {advice}.") from error
