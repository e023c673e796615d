"""The layout that ``nbs-process-data`` and ``nbs-synthetic`` write (see :mod:`nerfblendshape_ns.data.contract`)."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import numpy as np

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.expressions import load_expressions
from nerfblendshape_ns.data.frame_images import FrameFiles
from nerfblendshape_ns.data.layouts.clip import (
    Clip,
    ClipFrame,
    Layout,
    optional_rect,
    optional_rects,
    read_names,
    require,
    require_frames,
    require_number,
    require_pose,
    select_rows,
)
from nerfblendshape_ns.errors import UserError, collected, raise_or_collect

DISTORTION_KEYS = ("k1", "k2", "k3", "k4", "p1", "p2")


def read(root: Path) -> Clip:
    """Read a directory of this project's own layout.

    Raises:
        UserError: a file is missing or wrong.
    """
    path = root / contract.TRANSFORMS
    document = contract.load_json(path)
    entries = require_frames(document, path)
    if any(document.get(key) for key in DISTORTION_KEYS):
        raise_or_collect(
            UserError(f"{path} has lens distortion ({', '.join(DISTORTION_KEYS)}); undistort the frames first.")
        )
    img_ids = [entry["img_id"] for entry in entries]
    landmarks = collected(lambda: _read_landmarks(root), None)
    names, basis_id = collected(lambda: read_names(root), (None, "custom"))
    expressions, names = load_expressions(
        root,
        img_ids,
        names,
        # Frames dropped at the end of a clip leave rows that no frame has; the landmarks then have as many.
        expected_rows=max(img_ids) + 1 if landmarks is None else len(landmarks),
    )
    has_mattes = (root / contract.ALPHA).is_dir()
    frames = []
    for entry in entries:
        file_path = require(entry, "file_path", path)
        picture = Path(file_path).with_suffix(".png").name
        torso = root / contract.TORSO_IMAGES / picture
        frames.append(
            ClipFrame(
                img_id=entry["img_id"],
                files=FrameFiles(
                    image=root / file_path,
                    labels=root / contract.PARSING / picture,
                    head_only=bool(document.get("head_only", False)),
                    matte=root / contract.ALPHA / picture if has_mattes else None,
                    torso=torso if torso.exists() else None,
                ),
                camera_to_head=require_pose(entry, path),
                face_rect=optional_rect(entry, "face_rect", path),
                mouth_rect=optional_rect(entry, "lip_rect", path),
                eye_rects=optional_rects(entry, "eye_rects", path),
            )
        )
    background = root / contract.BACKGROUND
    return Clip(
        root=root,
        layout=LAYOUT.name,
        frames=tuple(frames),
        width=int(require_number(document, "w", path)),
        height=int(require_number(document, "h", path)),
        fl_x=require_number(document, "fl_x", path),
        fl_y=require_number(document, "fl_y", path),
        cx=require_number(document, "cx", path, positive=False),
        cy=require_number(document, "cy", path, positive=False),
        fps=require_number(document, "fps", path),
        expressions=expressions,
        expression_names=names,
        basis_id=basis_id,
        landmarks=None if landmarks is None else select_rows(landmarks, img_ids, root / contract.LANDMARKS)[..., :2],
        face_mesh=collected(lambda: _read_mesh(root), None),
        background=background if background.exists() else None,
    )


def _read_landmarks(root: Path) -> Optional[np.ndarray]:
    path = root / contract.LANDMARKS
    if not path.exists():
        return None
    landmarks = contract.load_array(path)
    if landmarks.ndim != 3 or landmarks.shape[2] < 2:
        raise UserError(f"{path} has shape {landmarks.shape}, not [frames, points, 2]; process the video again.")
    return landmarks


def _read_mesh(root: Path) -> Optional[np.ndarray]:
    path = root / contract.FACE_MESH
    if not path.exists():
        return None
    mesh = contract.load_array(path)
    if mesh.ndim != 2 or mesh.shape[1] != 3 or not np.isfinite(mesh).all():
        raise UserError(f"{path} is not a finite array of shape [points, 3]; process the video again or remove it.")
    return mesh.astype(np.float64)


LAYOUT = Layout(
    name="own",
    looked_for=f"{contract.TRANSFORMS}, {contract.EXPRESSIONS}, {contract.IMAGES}/, {contract.PARSING}/",
    matches=lambda root: (root / contract.TRANSFORMS).is_file(),
    read=read,
)
"""This project's own layout."""
