"""What every layout reader returns, and the checks that they share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError, raise_or_collect
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.expression_arrays import with_missing_rows
from nerfblendshape_ns.data.frame_images import FrameFiles

Rect = Tuple[float, float, float, float]
"""Rectangle x, y, width, height in pixels of the full-size frame."""


@dataclass(frozen=True)
class ClipFrame:
    """One frame of a clip."""

    img_id: int
    """Number of the frame: row of ``expr.npy``, number in its file names."""
    files: FrameFiles
    """Where its image and labels are."""
    camera_to_head: np.ndarray
    """``[4, 4]`` float64 OpenGL camera-to-head matrix."""
    face_rect: Optional[Rect] = None
    """Bounding rectangle of the face."""
    mouth_rect: Optional[Rect] = None
    """Bounding rectangle of the lips."""
    eye_rects: Tuple[Rect, ...] = ()
    """Bounding rectangles of the eyes."""


@dataclass(frozen=True)
class Clip:
    """A dataset directory in memory, images and labels still on disk."""

    root: Path
    """The dataset directory."""
    layout: str
    """Name of the layout it was read with."""
    frames: Tuple[ClipFrame, ...]
    """Frames in order of ``img_id``; the numbers may have gaps."""
    width: int
    """Frame width in pixels."""
    height: int
    """Frame height in pixels."""
    fl_x: float
    """Horizontal focal length in pixels."""
    fl_y: float
    """Vertical focal length in pixels."""
    cx: float
    """Principal point, pixels from the left edge."""
    cy: float
    """Principal point, pixels from the top edge."""
    fps: float
    """Frames a second."""
    expressions: np.ndarray
    """``[num_frames, basis]`` float32 coefficients, one row for each element of ``frames``; neutral is 0."""
    expression_names: Tuple[str, ...]
    """Name of each coefficient."""
    basis_id: str
    """Which basis the coefficients belong to, such as ``arkit52``."""
    landmarks: Optional[np.ndarray] = None
    """``[num_frames, 468 or 478, 2]`` pixels in MediaPipe's numbering, one row for each element of ``frames``."""
    face_mesh: Optional[np.ndarray] = None
    """``[468, 3]`` the person's face mesh in head space, in MediaPipe's numbering."""
    background: Optional[Path] = None
    """The clean plate."""
    held_out_ids: Tuple[int, ...] = ()
    """``img_id`` of the frames that the dataset's own files keep for testing; empty where they say nothing."""
    notes: Tuple[str, ...] = ()
    """What the reader did to the files' contents that the user should know, in sentences."""

    def __post_init__(self) -> None:
        """Hold readers to the numbering by which chin, nose and forehead are found in landmarks and mesh.

        Raises:
            ValueError: landmarks or mesh are of another size than MediaPipe's.
        """
        rows = len(self.frames)
        if self.landmarks is not None and self.landmarks.shape not in ((rows, 468, 2), (rows, 478, 2)):
            raise ValueError(f"landmarks of shape {self.landmarks.shape} are not MediaPipe's of {rows} frames")
        if self.face_mesh is not None and self.face_mesh.shape != (468, 3):
            raise ValueError(f"a face mesh of shape {self.face_mesh.shape} is not MediaPipe's")

    @property
    def camera_to_head(self) -> np.ndarray:
        """``[num_frames, 4, 4]`` float64 OpenGL camera-to-head matrices."""
        return np.stack([frame.camera_to_head for frame in self.frames])

    @property
    def held_out(self) -> List[int]:
        """Positions of the frames that the dataset's own files keep for testing."""
        ids = set(self.held_out_ids)
        return [position for position, frame in enumerate(self.frames) if frame.img_id in ids]


@dataclass(frozen=True)
class Layout:
    """A way to arrange a dataset directory."""

    name: str
    """Name for ``--layout``."""
    looked_for: str
    """The files it is recognised by, in words."""
    matches: Callable[[Path], bool]
    """Whether a directory looks like this layout."""
    read: Callable[[Path], Clip]
    """Reads the directory."""


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
    if not isinstance(name, str) or not Path(name).name or "\0" in name:
        raise UserError(f"{path} names the file {name!r}, which is no file name; correct or remove the entry.")
    if not Path(os.path.abspath(root / name)).is_relative_to(os.path.abspath(root)):
        raise UserError(
            f"{path} names the file {name!r}, which lies outside the dataset; move it into {root} and correct the name."
        )
    return root / name


def require_number(document: Any, key: str, path: Path, positive: bool = True) -> float:
    """The finite number under ``key`` of a JSON object, above zero unless ``positive`` is False.

    Raises:
        UserError: it is missing, no number, not finite or not positive; where errors are collected, 0 stands in.
    """
    try:
        value = require(document, key, path)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
            raise UserError(
                f"{path}: {key!r} is {value!r}, which is not a number; process the video again or correct it."
            )
        if positive and value <= 0:
            raise UserError(f"{path}: {key!r} is {value!r} but must be above 0; process the video again or correct it.")
    except UserError as error:
        raise_or_collect(error)
        return 0.0
    return float(value)


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
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise UserError(
            f"{name} has a 'transform_matrix' that is not 4x4 finite numbers; correct it or drop the frame."
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
        array = with_missing_rows(array, max(img_ids) + 1)
    return array[list(img_ids)]


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
