"""Folders of coefficients: a dataset of any layout, and FLAME parameters as metrical-tracker, VHAP, INSTA and IMavatar
keep them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence

import numpy as np

from nerfblendshape_ns.coefficient_names.flame import FLAME_BASIS, read_flame_texts
from nerfblendshape_ns.common.arrays import load_arrays
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import load_json
from nerfblendshape_ns.data.frame_times import frame_times
from nerfblendshape_ns.data.layouts import is_dataset, read_clip
from nerfblendshape_ns.data.layouts.foreign import IMAVATAR_FILE, is_imavatar_file
from nerfblendshape_ns.expressions.tracks.array_files import SAVE_PLAIN
from nerfblendshape_ns.expressions.tracks.base import ExpressionReader, ExpressionTrack, make_track
from nerfblendshape_ns.expressions.tracks.flame_parameters import parameter_track


class DatasetReader(ExpressionReader):
    """A dataset directory of any layout that training reads."""

    name = "dataset"
    looked_for = "a dataset directory"

    def matches(self, path: Path) -> bool:
        """A directory that one of the layouts recognises."""
        return is_dataset(path)

    def read(self, path: Path, fps: Optional[float]) -> ExpressionTrack:
        """See :meth:`ExpressionReader.read`; rows are frames, whose times the dataset knows."""
        clip = read_clip(path)
        numbers = np.array([frame.img_id for frame in clip.frames], dtype=np.float64)
        times = frame_times(clip) if fps is None else numbers / fps
        track = make_track(path, clip.expression_names, clip.expressions, clip.basis_id, times=times, notes=clip.notes)
        return replace(track, fps=clip.fps if fps is None else fps)


class FlameTextReader(ExpressionReader):
    """INSTA's FLAME parameters: a folder with ``exp/00001.txt`` …, perhaps ``jaw/``, ``eyelids/`` and ``eyes/``."""

    name = "flame-text"
    looked_for = "a folder with exp/NUMBER.txt (FLAME, one file per frame)"

    def matches(self, path: Path) -> bool:
        """A directory with text files in ``exp/``."""
        return path.is_dir() and any((path / "exp").glob("*.txt"))

    def read(self, path: Path, fps: Optional[float]) -> ExpressionTrack:
        """See :meth:`ExpressionReader.read`."""
        stems = sorted((file.stem for file in (path / "exp").glob("*.txt")), key=lambda stem: (len(stem), stem))
        names, values = read_flame_texts(path, stems)
        return make_track(path, names, values, FLAME_BASIS, fps=fps)


class MetricalTrackerReader(ExpressionReader):
    """metrical-tracker's output: ``checkpoint/00001.frame`` and so on, FLAME parameters under ``flame``."""

    name = "metrical-tracker"
    looked_for = "a folder with checkpoint/NUMBER.frame (metrical-tracker)"

    def matches(self, path: Path) -> bool:
        """A directory with ``.frame`` files, in itself or in ``checkpoint/``."""
        return path.is_dir() and (any(path.glob("*.frame")) or any((path / "checkpoint").glob("*.frame")))

    def read(self, path: Path, fps: Optional[float]) -> ExpressionTrack:
        """See :meth:`ExpressionReader.read`."""
        folder = path if any(path.glob("*.frame")) else path / "checkpoint"
        frames = []
        for file in numbered_files(folder, "*.frame"):
            content = load_arrays(file, SAVE_PLAIN).get("flame")
            if not isinstance(content, dict) or "exp" not in content:
                raise UserError(f"{file} holds no FLAME parameters under 'flame'; track the video again.")
            frames.append(content)
        return parameter_track(folder, stack_frames(folder, frames, ("exp", "jaw", "eyelids", "eyes")), fps)


class FlameArchivesReader(ExpressionReader):
    """FLAME parameters as VHAP exports them: ``flame_param/00000.npz`` and so on, one file per frame."""

    name = "flame-archives"
    looked_for = "a folder with flame_param/NUMBER.npz (VHAP, one file per frame)"

    def matches(self, path: Path) -> bool:
        """A directory with ``.npz`` files in ``flame_param/``, or that is itself such a folder."""
        return path.is_dir() and bool(_flame_archives(path))

    def read(self, path: Path, fps: Optional[float]) -> ExpressionTrack:
        """See :meth:`ExpressionReader.read`."""
        files = _flame_archives(path)
        frames = [load_arrays(file, SAVE_PLAIN) for file in files]
        if "expr" not in frames[0]:
            raise UserError(f"{files[0]} has no 'expr', so it holds no FLAME parameters of VHAP; export it again.")
        return parameter_track(path, stack_frames(path, frames, ("expr", "jaw_pose", "eyes_pose", "eyelids")), fps)


class ImavatarReader(ExpressionReader):
    """FLAME parameters as IMavatar and PointAvatar keep them: one ``flame_params.json`` for each video."""

    name = "imavatar"
    looked_for = f"{IMAVATAR_FILE} (IMavatar, PointAvatar) or its folder"

    def matches(self, path: Path) -> bool:
        """Such a file under any name, or a directory with it."""
        return is_imavatar_file(path / IMAVATAR_FILE if path.is_dir() else path)

    def read(self, path: Path, fps: Optional[float]) -> ExpressionTrack:
        """See :meth:`ExpressionReader.read`."""
        file = path / IMAVATAR_FILE if path.is_dir() else path
        document = load_json(file)
        frames = document.get("frames") if isinstance(document, dict) else None
        if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
            raise UserError(f"{file} has no list of 'frames'; restore the file.")
        return parameter_track(file, stack_frames(file, frames, ("expression", "pose")), fps)


def numbered_files(folder: Path, pattern: str) -> List[Path]:
    """The files of a folder in order of the numbers that are their names."""
    return sorted(folder.glob(pattern), key=lambda file: (len(file.stem), file.stem))


def stack_frames(
    folder: Path, frames: Sequence[Mapping[str, np.ndarray]], keys: Sequence[str]
) -> Dict[str, np.ndarray]:
    """Parameters kept per frame as arrays ``[frames, numbers]``; a key that a frame lacks is left out.

    Raises:
        UserError: a parameter holds no numbers, or has other sizes in different frames.
    """
    stacked: Dict[str, np.ndarray] = {}
    for key in keys:
        if not all(key in frame for frame in frames):
            continue
        try:
            rows = [np.asarray(frame[key], dtype=np.float64).ravel() for frame in frames]
        except (TypeError, ValueError):
            raise UserError(f"{folder}: {key} is no array of numbers in every frame; track again.") from None
        sizes = sorted({len(row) for row in rows})
        if len(sizes) > 1:
            raise UserError(f"{folder}: {key} has {sizes} numbers in different frames; track again.")
        stacked[key] = np.stack(rows)
    return stacked


def _flame_archives(path: Path) -> List[Path]:
    inside = path / "flame_param"
    folder = inside if inside.is_dir() else path
    if folder is path and path.name != "flame_param":
        return []
    return [file for file in numbered_files(folder, "*.npz") if file.stem.isdigit()]
