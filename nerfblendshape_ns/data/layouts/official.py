"""The layout of the authors' NeRFBlendShape-code (see :mod:`.numbered`).

``transforms.json``: ``h w fx fy cx cy``, frames with ``img_id transform_matrix exp_ori`` (46 coefficients of
FaceWarehouse, some releases with a neutral 1 in front).
``head_imgs/ID.jpg`` (the head on ``bc.jpg``), ``ori_imgs/ID.jpg`` with ``ID.lms`` (478 landmarks), ``parsing/ID.png``;
``max_46.txt`` and ``min_46.txt``, the range over the frames before the last 500, which are only checked here: the range
in use is that of the training split in use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.coefficient_names.unnamed import basis_of_size
from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.layouts.clip import Clip, Layout
from nerfblendshape_ns.data.layouts.expression_arrays import check_expressions, check_ranges
from nerfblendshape_ns.data.layouts.fields import frame_rate, mentions, require_frames, require_number, require_size
from nerfblendshape_ns.data.layouts.numbered import BACKGROUND, IMAGE_FOLDERS, read_frames, tidy_expressions

COEFFICIENTS = "exp_ori"


def read(root: Path) -> Clip:
    """Read a directory of the official layout.

    Raises:
        UserError: a file is missing or wrong.
    """
    path = root / contract.TRANSFORMS
    document = file_io.load_json(path)
    entries = require_frames(document, path)
    _require_images(root)
    frames, landmarks = read_frames(root, entries, path)
    poses = np.stack([frame.camera_to_head for frame in frames])
    found, _ = check_expressions(_coefficients(entries, path), path, range(len(entries)))
    expressions, names, _, notes = tidy_expressions(found, poses, path)
    _check_range_texts(root, names)
    background = root / BACKGROUND
    return Clip(
        root=root,
        layout=LAYOUT.name,
        frames=frames,
        width=require_size(document, "w", path),
        height=require_size(document, "h", path),
        fl_x=require_number(document, "fx", path),
        fl_y=require_number(document, "fy", path),
        cx=require_number(document, "cx", path, positive=False),
        cy=require_number(document, "cy", path, positive=False),
        fps=frame_rate(document, path),
        expressions=expressions,
        expression_names=names,
        basis_id=basis_of_size(len(names)),
        landmarks=landmarks,
        background=background if background.exists() else None,
        notes=notes,
    )


def _require_images(root: Path) -> None:
    """The authors' smaller download has the video in place of the images."""
    if any((root / folder).is_dir() for folder, _ in IMAGE_FOLDERS):
        return
    videos = sorted(path.name for path in root.glob("*.mp4"))
    if videos:
        raise UserError(
            f"{root} has the video {videos[0]} but no ori_imgs/ and parsing/; take the authors' preprocessed download, "
            "or run nbs-process-data on the video."
        )


def _coefficients(entries: Sequence[Dict[str, Any]], path: Path) -> np.ndarray:
    """``exp_ori`` of each frame, float32 ``[frames, coefficients]``."""
    rows: List[np.ndarray] = []
    for entry in entries:
        name = f"{path}: frame {entry['img_id']}"
        try:
            row = np.asarray(entry[COEFFICIENTS], dtype=np.float32)
        except KeyError:
            raise UserError(f"{name} has no {COEFFICIENTS!r}; drop the frame or add its coefficients.") from None
        except (TypeError, ValueError):
            row = np.zeros(0)
        if row.ndim != 1 or row.size == 0 or (rows and len(row) != len(rows[0])):
            wanted = f"{len(rows[0])} numbers as the first frame's" if rows else "a list of numbers"
            raise UserError(f"{name} has a {COEFFICIENTS!r} that is not {wanted}; extract the coefficients again.")
        if not np.isfinite(row).all():
            raise UserError(f"{name} has numbers in {COEFFICIENTS!r} that are not finite; drop the frame.")
        rows.append(row)
    return np.stack(rows).astype(np.float32)


def _check_range_texts(root: Path, names: Sequence[str]) -> None:
    """Check ``min_K.txt`` and ``max_K.txt`` where both are there."""
    found: Dict[str, Tuple[Path, np.ndarray]] = {}
    for kind in ("min", "max"):
        path = root / f"{kind}_{len(names)}.txt"
        others = sorted(root.glob(f"{kind}_*.txt"))
        if not path.exists() and others:
            path = others[0]
        if not path.exists():
            return
        try:
            found[kind] = path, np.array(path.read_text(encoding="utf-8").split(), dtype=np.float64)
        except (ValueError, UnicodeDecodeError):
            raise UserError(
                f"{path} does not hold one number per coefficient; remove it, the range is computed from the training "
                "frames."
            ) from None
    (low_path, low), (high_path, high) = found["min"], found["max"]
    check_ranges((low_path, high_path), (low, high), names)


LAYOUT = Layout(
    name="official",
    looked_for=f"{contract.TRANSFORMS} with {COEFFICIENTS!r} in its frames, ori_imgs/ or head_imgs/, parsing/",
    matches=lambda root: mentions(root / contract.TRANSFORMS, COEFFICIENTS),
    read=read,
)
"""The layout of NeRFBlendShape-code."""
