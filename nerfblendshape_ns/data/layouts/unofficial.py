"""The layout of the nerfblendshape-unofficial repository, a descendant of RAD-NeRF's (see :mod:`.numbered`).

``transforms_all.json``: ``focal_len cx cy``, frames with ``img_id transform_matrix face_rect lip_rect`` (x, y, width,
height); ``transforms_val.json`` repeats those that are not trained on. ``expr.npy`` indexed by ``img_id``, its last
three columns the head's pose angles; ``expr_min.npy`` and ``expr_max.npy``, perhaps with a leading neutral 1. An
``expr_names.json`` that the user adds names the coefficients.
"""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.layouts.clip import Clip, Layout
from nerfblendshape_ns.data.layouts.fields import require, require_frames
from nerfblendshape_ns.data.layouts.numbered import BACKGROUND, camera, read_expressions, read_frames

TRANSFORMS, HELD_OUT = "transforms_all.json", "transforms_val.json"


def read(root: Path) -> Clip:
    """Read a directory of the unofficial repository's layout.

    Raises:
        UserError: a file is missing or wrong.
    """
    path = root / TRANSFORMS
    document = file_io.load_json(path)
    entries = require_frames(document, path)
    frames, landmarks = read_frames(root, entries, path)
    source = root / contract.EXPRESSIONS
    expressions, names, basis_id, notes = read_expressions(root, frames, file_io.load_array(source), source)
    # Frames of gt_imgs/ show white in place of the room, so the clean plate is not what is behind them.
    on_white = frames[0].files.image.parent.name == "gt_imgs"
    background = root / BACKGROUND
    return Clip(
        root=root,
        layout=LAYOUT.name,
        frames=frames,
        **camera(document, path, frames[0].files.image),
        expressions=expressions,
        expression_names=names,
        basis_id=basis_id,
        landmarks=landmarks,
        background=background if background.exists() and not on_white else None,
        held_out_ids=_held_out(root),
        notes=notes,
    )


def _held_out(root: Path) -> Tuple[int, ...]:
    """``img_id`` of the frames in ``transforms_val.json``; empty where the file is missing or names none."""
    path = root / HELD_OUT
    if not path.is_file():
        return ()
    document = file_io.load_json(path)
    entries = require_frames(document, path) if require(document, "frames", path) else []
    return tuple(entry["img_id"] for entry in entries)


LAYOUT = Layout(
    name="unofficial",
    looked_for=f"{TRANSFORMS}, {contract.EXPRESSIONS}, ori_imgs/ or gt_imgs/ or head_imgs/, parsing/ or head_masks/",
    matches=lambda root: (root / TRANSFORMS).is_file(),
    read=read,
)
"""The layout of the nerfblendshape-unofficial repository."""
