"""Datasets that are recognised but not read, and what can be done with them."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from nerfblendshape_ns.data import contract

_VHAP_KEYS = (b'"flame_param_path"', b'"timestep_index"')
_VHAP_FILES = (contract.TRANSFORMS, "transforms_train.json")


def foreign_dataset(root: Path) -> Optional[str]:
    """The sentence for a dataset of a project whose datasets are not read; None for any other directory."""
    if any(_holds(root / name, _VHAP_KEYS) for name in _VHAP_FILES):
        coefficients = root / "flame_param"
        missing = "" if any(coefficients.glob("*.npz")) else f", once {coefficients} is restored,"
        return (
            f"{root} is a dataset of VHAP (as GaussianAvatars uses it), which is not read as it is; run "
            f"nbs-process-data on the video it was made from, with --expressions {root}{missing} for its FLAME "
            "coefficients."
        )
    return None


def _holds(path: Path, keys: tuple) -> bool:
    """Whether a file uses one of ``keys``, found without parsing it."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return any(key in content for key in keys)
