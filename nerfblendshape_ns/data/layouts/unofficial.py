"""The layout of the nerfblendshape-unofficial repository, a descendant of RAD-NeRF's.

``transforms_all.json`` (``focal_len cx cy``, frames with ``img_id transform_matrix face_rect lip_rect``), ``expr.npy``
indexed by ``img_id``, images named by ``img_id`` in ``ori_imgs/`` (full frames), ``gt_imgs/`` (person on white),
``head_imgs/`` (head on white), colour-coded labels in ``parsing/`` or head masks in ``head_masks/``, and ``bc.jpg``.
Its transforms are OpenGL camera-to-world already; that repository's own axis permutation and scale are not needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Tuple

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.expressions import load_expressions
from nerfblendshape_ns.data.frame_images import FrameFiles
from nerfblendshape_ns.data.layouts.clip import (
    Clip,
    ClipFrame,
    Layout,
    optional_rect,
    optional_rects,
    require_frames,
    require_number,
    require_pose,
)
from nerfblendshape_ns.errors import UserError

TRANSFORMS = "transforms_all.json"
DEFAULT_FPS = 25.0
BASIS_BY_SIZE = {46: "facewarehouse46", 79: "bfm79"}

IMAGE_FOLDERS = (("ori_imgs", False), ("gt_imgs", False), ("head_imgs", True))
"""Where frames may be, best first, and whether only the head is on them."""
LABEL_FOLDERS = (("parsing", False), ("head_masks", True))
"""Where labels may be, best first, and whether they are head masks."""

TORSO_FOLDER = "torso_imgs"


def read(root: Path) -> Clip:
    """Read a directory of the unofficial repository's layout.

    Raises:
        UserError: a file is missing or wrong.
    """
    path = root / TRANSFORMS
    document = contract.load_json(path)
    entries = require_frames(document, path)
    img_ids = [entry["img_id"] for entry in entries]
    image_folder, image_suffix, head_only = _find_folder(root, IMAGE_FOLDERS, img_ids[0])
    label_folder, label_suffix, is_mask = _find_folder(root, LABEL_FOLDERS, img_ids[0])
    expressions, names = load_expressions(root, img_ids, None)
    frames = []
    for entry in entries:
        img_id = entry["img_id"]
        labels = root / label_folder / f"{img_id}{label_suffix}"
        torso = root / TORSO_FOLDER / f"{img_id}.png"
        files = FrameFiles(
            image=root / image_folder / f"{img_id}{image_suffix}",
            labels=None if is_mask else labels,
            head_mask=labels if is_mask else None,
            coloured_labels=True,
            head_only=head_only,
            torso=torso if torso.exists() else None,
        )
        frames.append(
            ClipFrame(
                img_id=img_id,
                files=files,
                camera_to_head=require_pose(entry, path),
                face_rect=optional_rect(entry, "face_rect", path),
                mouth_rect=optional_rect(entry, "lip_rect", path),
                eye_rects=optional_rects(entry, "eye_rects", path),
            )
        )
    height, width = contract.load_image(frames[0].files.image).shape[:2]
    focal = require_number(document, "focal_len", path)
    background = root / "bc.jpg"
    return Clip(
        root=root,
        layout=LAYOUT.name,
        frames=tuple(frames),
        width=width,
        height=height,
        fl_x=focal,
        fl_y=focal,
        cx=require_number(document, "cx", path, positive=False),
        cy=require_number(document, "cy", path, positive=False),
        fps=require_number(document, "fps", path) if "fps" in document else DEFAULT_FPS,
        expressions=expressions,
        expression_names=names,
        basis_id=BASIS_BY_SIZE.get(expressions.shape[1], "custom"),
        background=background if background.exists() else None,
    )


def _find_folder(root: Path, folders: Tuple[Tuple[str, bool], ...], img_id: int) -> Tuple[str, str, bool]:
    """The first of ``folders`` that is there, the file suffix used in it, and its flag."""
    present: Optional[str] = None
    for folder, flag in folders:
        if not (root / folder).is_dir():
            continue
        present = present or folder
        for suffix in (".jpg", ".png"):
            if (root / folder / f"{img_id}{suffix}").exists():
                return folder, suffix, flag
    if present is not None:
        raise UserError(f"{root / present} has no {img_id}.jpg or {img_id}.png, the first frame; restore the file.")
    wanted = ", ".join(f"{folder}/" for folder, _ in folders)
    raise UserError(f"{root} has none of {wanted}; restore one of these folders.")


LAYOUT = Layout(
    name="unofficial",
    looked_for=f"{TRANSFORMS}, {contract.EXPRESSIONS}, ori_imgs/ or gt_imgs/ or head_imgs/, parsing/ or head_masks/",
    matches=lambda root: (root / TRANSFORMS).is_file(),
    read=read,
)
"""The layout of the nerfblendshape-unofficial repository."""
