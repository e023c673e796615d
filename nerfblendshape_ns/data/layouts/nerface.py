"""The layout of NeRFace (Gafni et al., CVPR 2021).

``transforms_train.json``, ``_val`` and ``_test``: ``intrinsics`` (focal lengths x and y in pixels, principal point as
fraction of width and height) or ``camera_angle_x``, frames with ``file_path`` (``./train/f_0000``, a PNG),
``transform_matrix``, ``expression`` (76 coefficients of Face2Face) and ``bbox`` (top, bottom, left, right, as
fractions). There are no masks: who wants to train adds a head mask (white on black) per image,
``head_masks/train/f_0000.png``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from nerfblendshape_ns.coefficient_names.unnamed import unnamed
from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.frame_images import FrameFiles
from nerfblendshape_ns.data.layouts.clip import Clip, ClipFrame, Layout, Rect
from nerfblendshape_ns.data.layouts.expression_arrays import check_expressions
from nerfblendshape_ns.data.layouts.fields import (
    dataset_file,
    frame_rate,
    mentions,
    require,
    require_number,
    require_pose,
)

PARTS = ("transforms_train.json", "transforms_val.json", "transforms_test.json")
COEFFICIENTS = "expression"
BASIS = "face2face76"
LARGEST = 1e9
"""Of the intrinsics, in pixels."""
MASKS = "head_masks"


def read(root: Path) -> Clip:
    """Read a directory of NeRFace's layout; training, validation and test frames become one clip, in this order.

    Raises:
        UserError: a file is missing or wrong.
    """
    documents = [(root / name, file_io.load_json(root / name)) for name in PARTS if (root / name).is_file()]
    path, document = documents[0]
    entries = _numbered([entry for part, content in documents for entry in _entries(part, content)], path)
    first = entries[0]["image"]
    if not (root / first).is_file():
        raise UserError(
            f"{root} is a dataset of NeRFace, but its image {root / first} does not exist; restore the file."
        )
    height, width = file_io.load_image(root / first).shape[:2]
    focal, centre = _intrinsics(document, path, width)
    poses = [_to_opengl(require_pose(entry, path), focal) for entry in entries]
    masks = (root / MASKS).is_dir()
    frames = tuple(
        ClipFrame(
            img_id=entry["img_id"],
            files=FrameFiles(image=root / entry["image"], head_mask=root / MASKS / entry["image"] if masks else None),
            camera_to_head=pose,
            face_rect=_face_rect(entry, width, height, path),
        )
        for entry, pose in zip(entries, poses)
    )
    names = unnamed(len(entries[0][COEFFICIENTS]))
    table = np.stack([entry[COEFFICIENTS] for entry in entries]).astype(np.float32)
    expressions, _ = check_expressions(table, path, range(len(entries)), names)
    notes = (
        []
        if masks
        else [f"{root}: NeRFace's datasets have no masks; to train, add a head mask per image: {MASKS}/{first}."]
    )
    return Clip(
        root=root,
        layout=LAYOUT.name,
        frames=frames,
        width=width,
        height=height,
        fl_x=abs(focal[0]),
        fl_y=abs(focal[1]),
        cx=centre[0] * width,
        cy=centre[1] * height,
        fps=frame_rate(document, path),
        expressions=expressions,
        expression_names=names,
        basis_id=BASIS,
        notes=tuple(notes),
    )


def _entries(path: Path, document: Any) -> List[Dict[str, Any]]:
    """The frames of one part with ``image``, their image's path in the dataset, and checked coefficients."""
    frames = require(document, "frames", path)
    entries: List[Dict[str, Any]] = []
    for position, entry in enumerate(frames if isinstance(frames, list) else []):
        name = f"{path}: frame {position} of the list"
        if not isinstance(entry, dict) or not isinstance(entry.get("file_path"), str):
            raise UserError(f"{name} has no 'file_path'; restore the file.")
        image = Path(os.path.relpath(dataset_file(path.parent, entry["file_path"], path), path.parent))
        try:
            row = np.asarray(entry.get(COEFFICIENTS), dtype=np.float64)
        except (TypeError, ValueError):
            row = np.zeros(0)
        if row.ndim != 1 or not len(row) or not np.isfinite(row).all():
            raise UserError(f"{name} has no {COEFFICIENTS!r} of finite numbers; drop the frame.")
        entries.append({**entry, "image": image.with_suffix(image.suffix or ".png"), COEFFICIENTS: row})
    return entries


def _numbered(entries: List[Dict[str, Any]], path: Path) -> List[Dict[str, Any]]:
    """The frames with an ``img_id``: the number in the image's name where every frame has its own, else the index."""
    if not entries:
        raise UserError(f"{path}: 'frames' holds no frame; restore the file.")
    sizes = sorted({len(entry[COEFFICIENTS]) for entry in entries})
    if len(sizes) > 1:
        raise UserError(f"{path.parent}: frames have {sizes} numbers in {COEFFICIENTS!r}; give all the same.")
    digits = [re.findall(r"\d+", entry["image"].stem) for entry in entries]
    numbers = [int(found[-1]) for found in digits if found]
    if len(set(numbers)) < len(entries) or max(numbers) >= 1 << 63:
        numbers = list(range(len(entries)))
    return sorted(
        ({**entry, "img_id": number} for entry, number in zip(entries, numbers)), key=lambda entry: entry["img_id"]
    )


def _intrinsics(document: Any, path: Path, width: int) -> Tuple[Tuple[float, float], Tuple[float, float]]:
    """Focal lengths in pixels, with their signs, and the principal point as fraction of width and height."""
    values = document.get("intrinsics")
    if not values:
        focal = 0.5 * width / np.tan(0.5 * require_number(document, "camera_angle_x", path))
        return (focal, focal), (0.5, 0.5)
    try:
        fx, fy, cx, cy = (float(value) for value in values)
    except (TypeError, ValueError):
        fx = fy = cx = cy = np.nan
    if not (np.abs([fx, fy, cx, cy]) < LARGEST).all() or fx == 0 or fy == 0:
        raise UserError(f"{path}: 'intrinsics' is not four numbers fx, fy, cx, cy; correct it.")
    return (fx, fy), (cx, cy)


def _to_opengl(pose: np.ndarray, focal: Tuple[float, float]) -> np.ndarray:
    """The camera-to-head matrix of a camera with positive focal lengths that sees the same image.

    A ray through the pixel (x, y) has the direction ``((x - cx) / fx, -(y - cy) / fy, -1)``. A negative focal length
    turns an axis of the camera round, which leaves a mirrored camera; the head is then mirrored too, left to right.
    """
    turned = pose @ np.diag([np.sign(focal[0]), np.sign(focal[1]), 1.0, 1.0])
    return turned if np.linalg.det(turned[:3, :3]) > 0 else np.diag([-1.0, 1.0, 1.0, 1.0]) @ turned


def _face_rect(entry: Dict[str, Any], width: int, height: int, path: Path) -> Optional[Rect]:
    """``bbox``, fractions of top, bottom, left and right, as x, y, width, height in pixels."""
    if entry.get("bbox") is None:
        return None
    try:
        top, bottom, left, right = (float(value) for value in entry["bbox"])
    except (TypeError, ValueError):
        top = bottom = left = right = np.nan
    if not np.isfinite([top, bottom, left, right]).all():
        raise UserError(f"{path}: 'bbox' of {entry['file_path']} is not four numbers; correct it.")
    rect = (left * width, top * height, (right - left) * width, (bottom - top) * height)
    return rect if rect[2] > 0 and rect[3] > 0 else None


LAYOUT = Layout(
    name="nerface",
    looked_for=f"{PARTS[0]} with {COEFFICIENTS!r} in its frames, train/, {MASKS}/",
    matches=lambda root: mentions(root / PARTS[0], COEFFICIENTS),
    read=read,
)
"""The layout of NeRFace."""
