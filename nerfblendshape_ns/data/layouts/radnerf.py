"""The layout of RAD-NeRF and ER-NeRF (see :mod:`.numbered`).

``transforms_train.json`` and ``transforms_val.json`` (the first 10/11 and the rest): ``focal_len cx cy``, frames with
``img_id aud_id transform_matrix``. These methods are driven by sound, so the coefficients come from an ``expr.npy``
(row = ``img_id``, names in ``expr_names.json``) that the user adds, else from the face tracker's ``track_params.pt``:
79 components of the Basel Face Model under ``exp``. Rectangles come from the 68 landmarks in
``ori_imgs/ID.lms``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import load_arrays
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.layouts.clip import Clip, ClipFrame, Layout
from nerfblendshape_ns.data.layouts.fields import require, require_frames, require_number
from nerfblendshape_ns.data.layouts.numbered import BACKGROUND, camera, read_expressions, read_frames

TRANSFORMS = ("transforms_train.json", "transforms_val.json")
TRACK = "track_params.pt"


def read(root: Path) -> Clip:
    """Read a directory of RAD-NeRF's layout; training and validation frames become one clip.

    Raises:
        UserError: a file is missing or wrong, or the two transforms files have different cameras.
    """
    path = root / TRANSFORMS[0]
    document, entries, held_out = _merge(root)
    frames, landmarks = read_frames(root, entries, path)
    expressions, names, basis_id, notes = _expressions(root, frames)
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
        background=background if background.exists() else None,
        held_out_ids=held_out,
        notes=notes,
    )


def _merge(root: Path) -> Tuple[Dict[str, Any], List[Dict[str, Any]], Tuple[int, ...]]:
    """One document, all frame entries in order of ``img_id``, and the ``img_id`` of those that are not for training."""
    paths = [root / name for name in TRANSFORMS if (root / name).is_file()]
    documents = [file_io.load_json(path) for path in paths or [root / TRANSFORMS[0]]]
    frames: List[Any] = []
    num_train = 0
    first: Dict[str, float] = {}
    for path, document in zip(paths, documents):
        # Either file may hold no frame, but not both.
        found = require(document, "frames", path)
        frames += found if isinstance(found, list) else []
        if path.name == TRANSFORMS[0]:
            num_train = len(frames)
        for key in ("focal_len", "cx", "cy"):
            value = require_number(document, key, path, positive=False)
            if value != first.setdefault(key, value):
                raise UserError(
                    f"{path}: {key!r} is {value!r} but {first[key]!r} in {paths[0].name}; all frames of a clip have "
                    "one camera, so correct it."
                )
    entries = require_frames({**documents[0], "frames": frames}, paths[0])
    trained = {id(entry) for entry in frames[:num_train]}
    return documents[0], entries, tuple(entry["img_id"] for entry in entries if id(entry) not in trained)


def _expressions(root: Path, frames: Sequence[ClipFrame]) -> Tuple[np.ndarray, Tuple[str, ...], str, Tuple[str, ...]]:
    """Coefficients ``[frames, basis]``, their names, the basis id, and notes."""
    source, tracked = root / contract.EXPRESSIONS, root / TRACK
    if source.exists():
        return read_expressions(root, frames, file_io.load_array(source), source)
    if tracked.exists():
        expressions, names, basis_id, notes = read_expressions(root, frames, _tracked(tracked), tracked)
        used = f"{tracked}: the face tracker's {len(names)} components of the Basel Face Model are used."
        return expressions, names, basis_id, (used, *notes)
    raise UserError(
        f"{root} has neither {contract.EXPRESSIONS} (coefficients, row = img_id) nor {TRACK}; add one, for "
        "instance the expr.npy that nbs-process-data makes of the same video at 25 frames per second."
    )


def _tracked(path: Path) -> np.ndarray:
    """The expression components in the face tracker's file, float32 ``[frames, components]``."""
    content = load_arrays(path, f"save its 'exp' as {contract.EXPRESSIONS}")
    if not isinstance(content.get("exp"), np.ndarray):
        raise UserError(f"{path} has no tensor 'exp'; track the video again or write {contract.EXPRESSIONS}.")
    return content["exp"].astype(np.float32)


LAYOUT = Layout(
    name="radnerf",
    looked_for=f"{TRANSFORMS[0]}, {contract.EXPRESSIONS} or {TRACK}, ori_imgs/ or gt_imgs/, parsing/",
    matches=lambda root: (root / TRANSFORMS[0]).is_file(),
    read=read,
)
"""The layout of RAD-NeRF and ER-NeRF."""
