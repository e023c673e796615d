"""Datasets that are recognised but not read, and what can be done with them."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.layouts.fields import mentions

_VHAP_KEYS = ("flame_param_path", "timestep_index")
_VHAP_FILES = (contract.TRANSFORMS, "transforms_train.json")
IMAVATAR_FILE = "flame_params.json"
"""One in each video's folder of IMavatar's datasets."""


def is_imavatar_file(path: Path) -> bool:
    """Whether a file holds IMavatar's FLAME parameters and cameras, as PointAvatar's datasets do too."""
    return path.suffix.lower() == ".json" and mentions(path, "world_mat")


def foreign_dataset(root: Path) -> Optional[str]:
    """The sentence for a dataset of a project whose datasets are not read; None for any other directory."""
    if is_imavatar_file(root / IMAVATAR_FILE):
        return (
            f"{root} is a dataset of IMavatar or PointAvatar, which is not read as it is (FLAME's own model places its "
            f"heads); run nbs-process-data on the video, or on one made of image/, with --expressions {root} for its "
            "FLAME coefficients."
        )
    if any(mentions(root / name, *_VHAP_KEYS) for name in _VHAP_FILES):
        coefficients = root / "flame_param"
        missing = "" if any(coefficients.glob("*.npz")) else f", once {coefficients} is restored,"
        return (
            f"{root} is a dataset of VHAP (as GaussianAvatars uses it), which is not read as it is; run "
            f"nbs-process-data on the video it was made from, with --expressions {root}{missing} for its FLAME "
            "coefficients."
        )
    return None
