"""Fields of a layout's files, read and checked one by one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError, raise_or_collect
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.layouts.clip import Rect
from nerfblendshape_ns.data.layouts.expression_arrays import rows_of

LARGEST_SIDE = 1 << 15
"""Pixels of an image's side."""
TOO_FAR = 1e18
"""Numbers of poses and cameras are smaller than this, whose square single precision holds."""
DEFAULT_FPS = 25.0
"""Frames per second of a clip whose files do not say it: the rate at which all these projects cut their videos."""


def mentions(path: Path, *keys: str) -> bool:
    """Whether a JSON file uses one of the keys, found without parsing it; no where it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return any(f'"{key}"'.encode() in content for key in keys)


def require(document: Any, key: str, path: Path) -> Any:
    """The value under ``key`` of a JSON object.

    Raises:
        UserError: the document is no object or has no such key.
    """
    if not isinstance(document, dict) or key not in document:
        raise UserError(f"{path} has no {key!r}; process the video again or add it.")
    return document[key]


def dataset_file(root: Path, name: Any, path: Path) -> Path:
    """A file that a transforms file names, relative to the dataset's directory or absolute, but inside it.

    Whoever made a dataset does not choose what else is read from the disk of the one who trains on it. Links that the
    directory holds are followed: keeping the images on another disk that way is common.

    Args:
        root: the dataset directory.
        name: what the transforms file says.
        path: the transforms file, for messages.

    Raises:
        UserError: it is no name, or leads out of the directory.
    """
    if not isinstance(name, str) or not Path(name).name or not _can_be_path(name):
        raise UserError(f"{path} names the file {name!r}, which is no file name; correct or remove the entry.")
    if not Path(os.path.abspath(root / name)).is_relative_to(os.path.abspath(root)):
        raise UserError(
            f"{path} names the file {name!r}, which lies outside the dataset; move it into {root} and correct the name."
        )
    return root / name


def _can_be_path(name: str) -> bool:
    """Whether a file system may have such a file, with other folders before it and another suffix."""
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return b"\0" not in encoded and len(encoded) < 2000 and max(map(len, encoded.split(b"/"))) < 240


def require_size(document: Any, key: str, path: Path) -> int:
    """The number of pixels under ``key`` of a JSON object.

    Raises:
        UserError: it is missing or no whole number from 1 to :data:`LARGEST_SIDE`; where errors are collected, 0 stands
            in.
    """
    value = require_number(document, key, path)
    if not value.is_integer() or value > LARGEST_SIDE:
        raise_or_collect(UserError(f"{path}: {key!r} is {value:g}, which is no number of pixels; correct it."))
        return 0
    return int(value)


def require_number(document: Any, key: str, path: Path, positive: bool = True) -> float:
    """The finite number under ``key`` of a JSON object, above zero unless ``positive`` is False.

    Raises:
        UserError: it is missing, no number, not positive, or its square or inverse is not finite in single precision;
            where errors are collected, 0 stands in.
    """
    try:
        value = require(document, key, path)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
            raise UserError(
                f"{path}: {key!r} is {value!r}, which is not a number; process the video again or correct it."
            )
        if positive and value <= 0:
            raise UserError(f"{path}: {key!r} is {value!r} but must be above 0; process the video again or correct it.")
        if abs(value) > TOO_FAR or (positive and value < 1 / TOO_FAR):
            raise UserError(f"{path}: {key!r} is {value!r}, which single precision does not hold; correct it.")
    except UserError as error:
        raise_or_collect(error)
        return 0.0
    return float(value)


def frame_rate(document: Any, path: Path) -> float:
    """Frames per second under ``fps`` of a JSON object, :data:`DEFAULT_FPS` where it has no such key."""
    return require_number(document, "fps", path) if "fps" in document else DEFAULT_FPS


def require_frames(document: Any, path: Path) -> List[Dict[str, Any]]:
    """The frame entries of a transforms file, in order of ``img_id``.

    Raises:
        UserError: there are none, or one has no usable ``img_id``, or two share one; where errors are collected, such
            frames are left out.
    """
    frames = require(document, "frames", path)
    if not isinstance(frames, list) or not frames:
        raise UserError(f"{path}: 'frames' holds no frame; process the video again.")
    if not any(isinstance(entry, dict) and "img_id" in entry for entry in frames):
        raise UserError(
            f"{path}: no frame has an 'img_id', so this is no dataset of nbs-process-data or of a project whose "
            "datasets are read (docs/datasets.md lists them); run nbs-process-data on the video it was made from."
        )
    usable: Dict[int, Dict[str, Any]] = {}
    for position, entry in enumerate(frames):
        img_id = entry.get("img_id") if isinstance(entry, dict) else None
        if isinstance(img_id, bool) or not isinstance(img_id, int) or img_id < 0:
            raise_or_collect(UserError(f"{path}: frame {position} of the list has no whole-number 'img_id'; add it."))
        elif img_id in usable:
            raise_or_collect(UserError(f"{path}: two frames have the img_id {img_id}; give every frame its own."))
        else:
            usable[img_id] = entry
    if not usable:
        raise UserError(f"{path}: no element of 'frames' has a usable 'img_id'; process the video again.")
    return [usable[img_id] for img_id in sorted(usable)]


def require_pose(entry: Dict[str, Any], path: Path) -> np.ndarray:
    """The rigid 4×4 camera-to-head matrix of a frame entry, float64.

    Raises:
        UserError: it is missing, of the wrong shape, not finite or no rotation with a translation; where errors are
            collected, a matrix of NaN stands in.
    """
    try:
        return _pose(entry, path)
    except UserError as error:
        raise_or_collect(error)
        return np.full((4, 4), np.nan)


def _pose(entry: Dict[str, Any], path: Path) -> np.ndarray:
    name = f"{path}: frame {entry['img_id']}"
    if "transform_matrix" not in entry:
        raise UserError(f"{name} has no 'transform_matrix'; process the video again or drop the frame.")
    try:
        pose = np.asarray(entry["transform_matrix"], dtype=np.float64)
    except (TypeError, ValueError):
        pose = np.zeros(0)
    if pose.shape == (3, 4):
        pose = np.concatenate([pose, [[0.0, 0.0, 0.0, 1.0]]])
    if pose.shape != (4, 4) or not (np.abs(pose) < TOO_FAR).all():
        raise UserError(
            f"{name} has a 'transform_matrix' that is not 4x4 numbers below {TOO_FAR:g}; correct it or drop the frame."
        )
    rotation = pose[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-2 or np.linalg.det(rotation) < 0:
        raise UserError(
            f"{name} has a 'transform_matrix' whose upper 3x3 part is not a rotation; correct it or drop the frame."
        )
    return pose


def optional_rect(entry: Dict[str, Any], key: str, path: Path) -> Optional[Rect]:
    """The rectangle under ``key`` of a frame entry, or None where the entry has none or an empty one.

    Raises:
        UserError: it is not four finite numbers.
    """
    value = entry.get(key)
    return None if value is None else _rect(value, key, entry["img_id"], path)


def optional_rects(entry: Dict[str, Any], key: str, path: Path) -> Tuple[Rect, ...]:
    """The list of rectangles under ``key`` of a frame entry, without empty ones.

    Raises:
        UserError: one is not four finite numbers.
    """
    values = entry.get(key) or []
    if not isinstance(values, list):
        raise_or_collect(UserError(f"{path}: {key!r} of frame {entry['img_id']} is no list of rectangles; correct it."))
        return ()
    rects = [_rect(value, key, entry["img_id"], path) for value in values]
    return tuple(rect for rect in rects if rect is not None)


def select_rows(array: np.ndarray, img_ids: Sequence[int], path: Path) -> np.ndarray:
    """The rows of a per-frame array that belong to the frames ``img_ids``.

    Raises:
        UserError: the array has too few rows; where errors are collected, rows of NaN stand in.
    """
    if len(array) <= max(img_ids):
        raise_or_collect(
            UserError(
                f"{path} has {len(array)} rows but the last frame has img_id {max(img_ids)} and the row is the img_id, "
                f"so {max(img_ids) + 1} are needed; extract it from the same frames."
            )
        )
    return rows_of(array, img_ids)


def read_names(root: Path) -> Tuple[Optional[Tuple[str, ...]], str]:
    """The coefficients' names and basis id in ``expr_names.json``; None and ``custom`` where there is no such file.

    Raises:
        UserError: it holds no list of distinct names.
    """
    path = root / contract.EXPRESSION_NAMES
    if not path.exists():
        return None, "custom"
    document = file_io.load_json(path)
    names = require(document, "names", path)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise UserError(f"{path}: 'names' is not a list of distinct names; write one for each column of expr.npy.")
    return tuple(names), str(document.get("basis", "custom"))


def _rect(value: Any, key: str, img_id: int, path: Path) -> Optional[Rect]:
    try:
        rect = tuple(float(number) for number in value)
    except (TypeError, ValueError):
        rect = ()
    if len(rect) != 4 or not np.isfinite(rect).all():
        raise_or_collect(
            UserError(f"{path}: {key!r} of frame {img_id} is not four numbers x, y, width, height; correct it.")
        )
        return None
    return rect if rect[2] > 0 and rect[3] > 0 else None
