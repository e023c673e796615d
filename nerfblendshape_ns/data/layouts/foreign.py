"""Datasets that are recognised but not read, and what can be done with them."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.layouts.fields import mentions

_VHAP_KEYS = ("flame_param_path", "timestep_index")
_VHAP_FILES = (contract.TRANSFORMS, "transforms_train.json")


def foreign_dataset(root: Path) -> Optional[str]:
    """The sentence for a dataset of a project whose datasets are not read; None for any other directory."""
    if any(mentions(root / name, *_VHAP_KEYS) for name in _VHAP_FILES):
        coefficients = root / "flame_param"
        missing = "" if any(coefficients.glob("*.npz")) else f", once {coefficients} is restored,"
        return (
            f"{root} is a dataset of VHAP (as GaussianAvatars uses it), which is not read as it is; run "
            f"nbs-process-data on the video it was made from, with --expressions {root}{missing} for its FLAME "
            "coefficients."
        )
    return None
