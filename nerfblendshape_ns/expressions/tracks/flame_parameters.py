"""Parameters of FLAME or the Basel Face Model as face trackers save them, one array per parameter."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np

from nerfblendshape_ns.coefficient_names.flame import FLAME_BASIS, flame_table
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.tracks.base import ExpressionTrack, make_track
from nerfblendshape_ns.expressions.tracks.unnamed_columns import unnamed_track

FLAME_SIZES = (50, 100)
"""Usual numbers of FLAME expression components."""

FLAME_KEYS: Dict[str, Tuple[str, ...]] = {
    "exp": ("exp", "expr", "expression", "expressions", "expcode", "expparams", "exprparams", "expressionparams"),
    "jaw": ("jaw", "jawpose", "jawcode", "jawparams", "jawposeparams", "jawrotation"),
    "eyelids": ("eyelids", "eyelid", "eyelidparams", "eyelidsparams"),
    "eyes": ("eyes", "eyespose", "eyepose", "eyeposeparams", "eyesposeparams"),
}
"""Keys under which trackers keep FLAME's parameters (metrical-tracker, VHAP, DECA, EMOCA, SMIRK), in lower case without
underscores, by :data:`~nerfblendshape_ns.coefficient_names.flame.FLAME_PARTS`."""

POSE_KEYS = ("pose", "posecode", "poseparams", "fullpose")
"""Keys under which the rotations of all joints may be."""
POSE_PARTS = {6: {"jaw": slice(3, 6)}, 15: {"jaw": slice(6, 9), "eyes": slice(9, 15)}}
"""Where jaw and eyes are in a pose, by its number of columns: head and jaw (DECA, EMOCA), or FLAME's head, neck, jaw
and two eyes (IMavatar), as axis and angle each."""
LARGEST_JAW = 1.5
"""No jaw turns by more radians."""


def parameter_track(path: Path, content: Mapping[str, Any], fps: Optional[float]) -> ExpressionTrack:
    """A track of FLAME or Basel Face Model parameters.

    Args:
        path: the file, for messages.
        content: arrays ``[frames, …]``, perhaps with batch axes of one, under the keys of :data:`FLAME_KEYS` (in any
            capitals, with or without underscores) or :data:`POSE_KEYS`; other keys are ignored.
        fps: rows per second where the user gives them.

    Raises:
        UserError: there is no expression array, or the arrays' lengths differ.
    """
    by_key = {key.lower().replace("_", ""): value for key, value in content.items()}
    found: Dict[str, np.ndarray] = {}
    for part, keys in FLAME_KEYS.items():
        key = next((key for key in keys if key in by_key), None)
        if key is not None:
            found[part] = np.asarray(by_key[key])
    if "exp" not in found:
        raise UserError(
            f"{path} holds {', '.join(sorted(content)) or 'nothing'} but neither names and values nor expression "
            "parameters (exp, expr, expression, expcode, expression_params); rename the array."
        )
    pose = next((np.asarray(by_key[key]) for key in POSE_KEYS if key in by_key), None)
    if any(array.dtype.kind not in "fiu" or array.ndim == 0 for array in found.values()):
        raise UserError(f"{path}: the expression parameters are no numbers; extract them again.")
    frames = _frames(found["exp"])
    parts = {part: _rows(array, frames) for part, array in found.items()}
    lengths = {part: len(array) for part, array in parts.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f"{path}: the parameters have different numbers of frames, {lengths}; extract them again.")
    is_flame = parts["exp"].shape[1] in FLAME_SIZES
    if is_flame and "jaw" not in parts and pose is not None and pose.dtype.kind in "fiu" and pose.ndim:
        parts = {**_of_pose(_rows(pose, frames), frames), **parts}
    if len(parts) == 1 and not is_flame:
        return unnamed_track(path, parts["exp"], fps)
    names, values = flame_table(parts)
    notes: List[str] = []
    others = sorted(key for key in content if key.lower().replace("_", "") not in FLAME_KEYS["exp"])
    if "jaw" not in parts and others:
        notes.append(
            f"{path.name}: no jaw is found in it (jaw, jaw_pose, jaw_params, or a pose of 6 columns) but "
            f"{', '.join(others)}, and FLAME's expression components hardly open the mouth; add it as jaw."
        )
    return make_track(path, names, values, FLAME_BASIS, fps=fps, notes=notes)


def _frames(array: np.ndarray) -> int:
    """Frames of an expression array ``[frames, n]``, ``[frames, 1, n]``, ``[1, frames, n]`` or ``[n]``."""
    sizes = [size for size in array.shape[:-1] if size > 1]
    return sizes[0] if sizes else 1


def _rows(array: np.ndarray, frames: int) -> np.ndarray:
    """An array as ``[frames, numbers]``, batch axes of one taken out; of its own length where that is another."""
    while array.ndim > 2 and array.shape[0] == 1 and frames > 1:
        array = array[0]
    if array.ndim == 1:
        return array[:, None] if len(array) == frames > 1 else array[None]
    return array.reshape(len(array), -1) if array.size else array.reshape(len(array), 0)


def _of_pose(pose: np.ndarray, frames: int) -> Dict[str, np.ndarray]:
    """The jaw, and perhaps the eyes, in the rotations of all joints; nothing where it is no such table."""
    columns = POSE_PARTS.get(pose.shape[1], {})
    if len(pose) != frames or not columns or not np.abs(pose[:, columns["jaw"]]).max(initial=0.0) <= LARGEST_JAW:
        return {}
    return {part: pose[:, chosen] for part, chosen in columns.items()}
