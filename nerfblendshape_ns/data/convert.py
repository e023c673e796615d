"""Write a dataset of any layout as one of this project's own layout."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.output_folders import replaced_folder
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.frame_images import check_files, load_labels
from nerfblendshape_ns.data.frame_times import frame_times
from nerfblendshape_ns.data.layouts import Clip, ClipFrame, read_clip

TOOL = "nbs-convert"
"""Name in the record of a converted dataset."""
Progress = Callable[[int, int], None]
"""``progress(done, total)``, in frames."""


def convert(source: Path, target: Path, layout: str = "auto", progress: Optional[Progress] = None) -> Clip:
    """Copy a dataset into this project's own layout, all or nothing.

    Images are copied byte for byte; labels become 8-bit images of 0 to 4; frames are numbered from 0 without gaps, and
    each keeps its old number as ``source_id`` and, where times are uneven, its time. What this layout has no equivalent
    of (meshes, depth, sound) is left.

    Args:
        source: the dataset directory to read.
        target: the directory to write: a new or an empty one, or one that an earlier conversion wrote, which is
            replaced.
        layout: a name from :data:`~nerfblendshape_ns.data.layouts.LAYOUTS`, or ``auto``.
        progress: called after every frame.

    Returns:
        The clip that was read.

    Raises:
        UserError: ``target`` holds anything else, lies inside the source or cannot be written, or the source is wrong
            somewhere.
    """
    source, target = Path(source), Path(target)
    with replaced_folder(target, TOOL, [source], "target") as work:
        clip = read_clip(source, layout)
        _write(clip, work, progress)
    return clip


def _write(clip: Clip, root: Path, progress: Optional[Progress]) -> None:
    """Write all files of a clip into an empty directory."""
    head_only = any(frame.files.head_only for frame in clip.frames)
    entries: List[Dict[str, Any]] = []
    held_out = set(clip.held_out)
    for number, frame in enumerate(clip.frames):
        check_files(frame.files, (clip.height, clip.width))
        entries.append(_write_frame(root, number, frame))
        if number in held_out:
            entries[-1]["held_out"] = True
        if progress is not None:
            progress(number + 1, len(clip.frames))
    if clip.background is not None:
        file_io.save_image(root / contract.BACKGROUND, file_io.load_image(clip.background))
    if clip.landmarks is not None:
        file_io.save_array(root / contract.LANDMARKS, clip.landmarks)
    if clip.face_mesh is not None:
        file_io.save_array(root / contract.FACE_MESH, clip.face_mesh)
    times = frame_times(clip)
    if not np.allclose(np.diff(times), 1 / clip.fps, rtol=0.01):  # Numbers without gaps would not tell.
        file_io.save_array(root / contract.FRAME_TIMES, times)
    contract.save_expressions(root, clip.expressions, list(clip.expression_names), clip.basis_id)
    contract.save_transforms(
        root,
        width=clip.width,
        height=clip.height,
        fl_x=clip.fl_x,
        fl_y=clip.fl_y,
        cx=clip.cx,
        cy=clip.cy,
        fps=clip.fps,
        frames=entries,
        extra={"converted_from": clip.layout, **({"head_only": True} if head_only else {})},
    )


def _write_frame(root: Path, number: int, frame: ClipFrame) -> Dict[str, Any]:
    """Write one frame's images; gives its entry in ``transforms.json``."""
    stem = Path(contract.image_name(number)).stem
    image = f"{contract.IMAGES}/{stem}{frame.files.image.suffix.lower()}"
    _copy(frame.files.image, root / image)
    file_io.save_image(root / contract.PARSING / contract.parsing_name(number), load_labels(frame.files))
    if frame.files.matte is not None:
        _copy(frame.files.matte, root / contract.ALPHA / f"{stem}.png")
    if frame.files.torso is not None:
        _copy(frame.files.torso, root / contract.TORSO_IMAGES / f"{stem}.png")
    entry: Dict[str, Any] = {
        "file_path": image,
        "img_id": number,
        "source_id": frame.img_id,
        "transform_matrix": frame.camera_to_head.tolist(),
    }
    for key, rect in (("face_rect", frame.face_rect), ("lip_rect", frame.mouth_rect)):
        if rect is not None:
            entry[key] = list(rect)
    if frame.eye_rects:
        entry["eye_rects"] = [list(rect) for rect in frame.eye_rects]
    return entry


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(source, target)
