"""Several arrays in one file, written whole or not at all and read without executing anything."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError

DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What zipfile raises at damaged archives."""
MOST_BYTES = 4 << 30
"""Of a file's arrays once unpacked: a small archive can hold any number."""


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write an ``.npz`` file atomically."""
    file_io.write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))


def load_arrays(path: Path, advice: str = "delete it and run the same command again") -> Dict[str, Any]:
    """Read a file of arrays without executing anything in it.

    Args:
        path: an ``.npz`` file, or a dictionary of tensors that torch saved under any other suffix.
        advice: what the user can do about a file that cannot be read, for the message.

    Returns:
        Numpy arrays by key; what torch saved beside tensors (numbers, text, dictionaries) as it is.

    Raises:
        UserError: it is missing, damaged, needs unpickling of anything but plain data, or is no dictionary.
    """
    try:
        content = _load_npz(path) if path.suffix.lower() == ".npz" else _load_saved_by_torch(path)
    except Exception as error:  # numpy and torch report damaged files by a dozen kinds of error.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"{path} cannot be read as plain arrays ({reason}); {advice}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a dictionary of arrays; {advice}.")
    return content


def _load_npz(path: Path) -> Dict[str, np.ndarray]:
    _check_unpacked_size(path)
    with np.load(path, allow_pickle=False) as archive:
        return {name: file_io.checked_text(archive[name]) for name in archive.files}


def _check_unpacked_size(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
            raise ValueError(f"its arrays take more than {MOST_BYTES >> 30} GB")


def _load_saved_by_torch(path: Path) -> Any:
    import torch

    from nerfblendshape_ns.common.safe_globals import register_checkpoint_globals

    _check_unpacked_size(path)
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    finally:
        register_checkpoint_globals()  # Leaving the block above has taken out what both lists share.
    return _plain(content)


def _plain(value: Any) -> Any:
    """Tensors as numpy arrays, those in dictionaries too; half-precision types that numpy lacks as float32."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if hasattr(value, "detach"):
        value = value.detach()
        return (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    return value


def _numpy_globals() -> List[Any]:
    """What a pickled numpy array of numbers is made from; plain data."""
    reconstruct = np.zeros(0).__reduce__()[0]
    names = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
    dtypes = [type(np.dtype(code)) for code in ("f4", "f8", "i4", "i8", "u1")]
    return [*((reconstruct, name) for name in names), np.ndarray, np.dtype, *dtypes]
