"""The layout of INSTA (Zielonka et al., CVPR 2023), which its scripts make of metrical-tracker's output.

``transforms.json``: ``w h fl_x fl_y cx cy`` as floats, frames **in no order** with ``file_path``
(``images/00001.png``), ``transform_matrix``, ``exp_path`` (``flame/exp/00001.txt``, 100 FLAME components),
``seg_mask_path``, ``mesh_path`` and ``depth_path``; ``transforms_train.json``, ``_test`` and ``_val`` are parts of it.
``transform_matrix`` is the inverse of an **OpenCV** extrinsic (x right, y down, z forward), in metres. The images are
RGBA, the matte of head and neck without clothes; ``seg_mask/`` holds face-parsing classes (see
:func:`~nerfblendshape_ns.data.labels.labels_from_face_parsing`).
Where ``flame/jaw``, ``flame/eyelids`` or ``flame/eyes`` are there too, they are read with the expression.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from nerfblendshape_ns.coefficient_names.flame import FLAME_BASIS, read_flame_texts
from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.frame_images import FrameFiles
from nerfblendshape_ns.data.layouts.clip import Clip, ClipFrame, Layout
from nerfblendshape_ns.data.layouts.expression_arrays import check_expressions
from nerfblendshape_ns.data.layouts.fields import (
    dataset_file,
    frame_rate,
    mentions,
    require,
    require_frames,
    require_number,
    require_pose,
    require_size,
)

PARTS = ("transforms_train.json", "transforms_test.json", "transforms_val.json")
"""Read together where ``transforms.json`` is missing; they overlap."""


def read(root: Path) -> Clip:
    """Read a directory of INSTA's layout.

    Raises:
        UserError: a file is missing or wrong.
    """
    document, path = _document(root)
    entries = require_frames({**document, "frames": _numbered(document, path)}, path)
    poses, opencv = _to_opengl(np.stack([require_pose(entry, path) for entry in entries]))
    texts = [dataset_file(root, entry["exp_path"], path) for entry in entries]
    folder = dataset_file(root, str(Path(entries[0]["exp_path"]).parent), path)
    names, table = read_flame_texts(folder.parent, [text.stem for text in texts])
    expressions, _ = check_expressions(table.astype(np.float32), folder, range(len(entries)), names)
    frames = tuple(
        ClipFrame(img_id=entry["img_id"], files=_files(root, entry, path), camera_to_head=pose)
        for entry, pose in zip(entries, poses)
    )
    width = require_size(document, "w", path)
    height = require_size(document, "h", path)
    fl_x = require_number(document, "fl_x", path)
    notes = []
    if not opencv:
        notes.append(f"{path}: the cameras are in OpenGL axes already (the head is in front of them) and are kept.")
    if not any(name.startswith("jaw") for name in names):
        notes.append(f"{root}: there is no flame/jaw, so what the jaw does is left to the expression components.")
    if frames[0].files.labels == frames[0].files.image:
        notes.append(f"{root}: there is no seg_mask/, so the neck counts as head.")
    return Clip(
        root=root,
        layout=LAYOUT.name,
        frames=frames,
        width=width,
        height=height,
        fl_x=fl_x,
        fl_y=require_number(document, "fl_y", path) if "fl_y" in document else fl_x,
        cx=require_number(document, "cx", path, positive=False) if "cx" in document else width / 2,
        cy=require_number(document, "cy", path, positive=False) if "cy" in document else height / 2,
        fps=frame_rate(document, path),
        expressions=expressions,
        expression_names=tuple(names),
        basis_id=FLAME_BASIS,
        notes=tuple(notes),
    )


def _document(root: Path) -> Tuple[Dict[str, Any], Path]:
    """The whole clip's transforms and the file they are from."""
    path = root / contract.TRANSFORMS
    if path.is_file():
        document = file_io.load_json(path)
        require(document, "frames", path)
        return document, path
    paths = [root / name for name in PARTS if (root / name).is_file()] or [path]
    documents = [file_io.load_json(part) for part in paths]
    seen: Dict[str, Any] = {}
    for part, document in zip(paths, documents):
        found = require(document, "frames", part)
        for entry in found if isinstance(found, list) else []:
            key = entry.get("file_path") if isinstance(entry, dict) else None
            seen.setdefault(str(key), entry)
    return {**documents[0], "frames": list(seen.values())}, paths[0]


def _numbered(document: Dict[str, Any], path: Path) -> List[Any]:
    """The frame entries with the number in their file's name as ``img_id``."""
    frames = document["frames"] if isinstance(document["frames"], list) else []
    entries = []
    for position, entry in enumerate(frames):
        if not isinstance(entry, dict):
            raise UserError(f"{path}: frame {position} of the list is no object; generate the dataset again.")
        for key in ("file_path", "exp_path"):
            if not isinstance(entry.get(key), str):
                raise UserError(f"{path}: frame {position} of the list has no {key!r}; generate the dataset again.")
        digits = re.findall(r"\d+", Path(entry["file_path"]).stem)
        if not digits or len(digits[-1]) > 18:
            raise UserError(
                f"{path}: {entry['file_path']} has no number in its name, so its position in the clip is unknown; "
                "number the images."
            )
        entries.append({**entry, "img_id": int(digits[-1])})
    return entries


def _to_opengl(poses: np.ndarray) -> Tuple[np.ndarray, bool]:
    """Camera-to-head matrices in OpenGL axes, and whether they came in OpenCV's.

    The head's origin lies before the camera, which looks along +z in OpenCV's axes and along −z in OpenGL's: files
    that other trackers wrote in this layout are recognised by that.
    """
    forward = (poses[:, :3, 2] * -poses[:, :3, 3]).sum(1)
    opencv = float(np.median(forward)) >= 0
    if opencv:
        poses = poses.copy()
        poses[:, :3, 1:3] *= -1.0
    return poses, opencv


def _files(root: Path, entry: Dict[str, Any], path: Path) -> FrameFiles:
    image = dataset_file(root, entry["file_path"], path)
    mask = dataset_file(root, entry.get("seg_mask_path", f"seg_mask/{image.name}"), path)
    labels = mask if mask.parent.is_dir() else image
    return FrameFiles(image=image, labels=labels, face_parsing=True, head_only=True)


def _matches(root: Path) -> bool:
    files = (root / name for name in (contract.TRANSFORMS, PARTS[0]))
    first = next((path for path in files if path.is_file()), None)
    return first is not None and mentions(first, "exp_path")


LAYOUT = Layout(
    name="insta",
    looked_for=f"{contract.TRANSFORMS} with 'exp_path' in its frames, images/ (RGBA), flame/exp/, seg_mask/",
    matches=_matches,
    read=read,
)
"""The layout of INSTA."""
