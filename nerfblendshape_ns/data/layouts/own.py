"""The layout that ``nbs-process-data`` and ``nbs-synthetic`` write (see :mod:`nerfblendshape_ns.data.contract`)."""

from __future__ import annotations

from pathlib import Path

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError, collected, raise_or_collect
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.frame_images import FrameFiles
from nerfblendshape_ns.data.layouts.clip import Clip, ClipFrame, Layout
from nerfblendshape_ns.data.layouts.expression_arrays import load_expressions
from nerfblendshape_ns.data.layouts.face_points import mediapipe_only, read_landmarks, read_mesh
from nerfblendshape_ns.data.layouts.fields import (
    dataset_file,
    optional_rect,
    optional_rects,
    read_names,
    require,
    require_frames,
    require_number,
    require_pose,
    require_size,
    select_rows,
)

DISTORTION_KEYS = ("k1", "k2", "k3", "k4", "p1", "p2")


def read(root: Path) -> Clip:
    """Read a directory of this project's own layout.

    Raises:
        UserError: a file is missing or wrong.
    """
    path = root / contract.TRANSFORMS
    document = file_io.load_json(path)
    entries = require_frames(document, path)
    if any(document.get(key) for key in DISTORTION_KEYS):
        raise_or_collect(
            UserError(f"{path} has lens distortion ({', '.join(DISTORTION_KEYS)}); undistort the frames first.")
        )
    img_ids = [entry["img_id"] for entry in entries]
    landmarks, landmark_note = collected(lambda: read_landmarks(root), (None, None))
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
        image = dataset_file(root, require(entry, "file_path", path), path)
        label_name = f"{image.stem}.png"
        torso = root / contract.TORSO_IMAGES / label_name
        frames.append(
            ClipFrame(
                img_id=entry["img_id"],
                files=FrameFiles(
                    image=image,
                    labels=root / contract.PARSING / label_name,
                    head_only=bool(document.get("head_only", False)),
                    matte=root / contract.ALPHA / label_name if has_mattes else None,
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
        width=require_size(document, "w", path),
        height=require_size(document, "h", path),
        fl_x=require_number(document, "fl_x", path),
        fl_y=require_number(document, "fl_y", path),
        cx=require_number(document, "cx", path, positive=False),
        cy=require_number(document, "cy", path, positive=False),
        fps=require_number(document, "fps", path),
        expressions=expressions,
        expression_names=names,
        basis_id=basis_id,
        landmarks=mediapipe_only(
            None if landmarks is None else select_rows(landmarks, img_ids, root / contract.LANDMARKS)
        ),
        face_mesh=collected(lambda: read_mesh(root), None),
        background=background if background.exists() else None,
        held_out_ids=tuple(entry["img_id"] for entry in entries if entry.get("held_out") is True),
        notes=() if landmark_note is None else (landmark_note,),
    )


LAYOUT = Layout(
    name="own",
    looked_for=f"{contract.TRANSFORMS}, {contract.EXPRESSIONS}, {contract.IMAGES}/, {contract.PARSING}/",
    matches=lambda root: (root / contract.TRANSFORMS).is_file(),
    read=read,
)
"""This project's own layout."""
