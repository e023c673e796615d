"""Folders of coefficients: a dataset of any layout, FLAME text files, and metrical-tracker's checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import numpy as np

from nerfblendshape_ns.data.flame_coefficients import FLAME_BASIS, read_flame_texts
from nerfblendshape_ns.data.layouts import LAYOUTS, read_clip
from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.expression_tracks.array_files import load_archive, parameter_track
from nerfblendshape_ns.expression_tracks.base import ExpressionSource, ExpressionTrack, make_track


class DatasetSource(ExpressionSource):
    """A dataset directory of any layout that training reads."""

    name = "dataset"
    looked_for = "a dataset directory"

    def matches(self, path: Path) -> bool:
        """A directory that one of the layouts recognises."""
        return path.is_dir() and any(layout.matches(path) for layout in LAYOUTS.values())

    def read(self, path: Path, fps: Optional[float]) -> ExpressionTrack:
        """See :meth:`ExpressionSource.read`; a dataset knows its own rate."""
        clip = read_clip(path)
        numbers = np.array([frame.img_id for frame in clip.frames], dtype=np.float64)
        return make_track(
            path, clip.expression_names, clip.expressions, clip.basis_id, times=numbers / clip.fps, fps=clip.fps
        )


class FlameTextSource(ExpressionSource):
    """INSTA's FLAME parameters: a folder with ``exp/00001.txt`` …, perhaps ``jaw/``, ``eyelids/`` and ``eyes/``."""

    name = "flame-text"
    looked_for = "a folder with exp/NUMBER.txt (FLAME, one file a frame)"

    def matches(self, path: Path) -> bool:
        """A directory with text files in ``exp/``."""
        return path.is_dir() and any((path / "exp").glob("*.txt"))

    def read(self, path: Path, fps: Optional[float]) -> ExpressionTrack:
        """See :meth:`ExpressionSource.read`."""
        stems = sorted((file.stem for file in (path / "exp").glob("*.txt")), key=lambda stem: (len(stem), stem))
        names, values = read_flame_texts(path, stems)
        return make_track(path, names, values, FLAME_BASIS, fps=fps)


class MetricalTrackerSource(ExpressionSource):
    """metrical-tracker's output: ``checkpoint/00001.frame`` and so on, FLAME parameters under ``flame``."""

    name = "metrical-tracker"
    looked_for = "a folder with checkpoint/NUMBER.frame (metrical-tracker)"

    def matches(self, path: Path) -> bool:
        """A directory with ``.frame`` files, in itself or in ``checkpoint/``."""
        return path.is_dir() and (any(path.glob("*.frame")) or any((path / "checkpoint").glob("*.frame")))

    def read(self, path: Path, fps: Optional[float]) -> ExpressionTrack:
        """See :meth:`ExpressionSource.read`."""
        folder = path if any(path.glob("*.frame")) else path / "checkpoint"
        frames = []
        for file in sorted(folder.glob("*.frame"), key=lambda file: (len(file.stem), file.stem)):
            content = load_archive(file).get("flame")
            if not isinstance(content, dict) or "exp" not in content:
                raise UserError(f"{file} holds no FLAME parameters under 'flame'; track the video again.")
            frames.append({key: np.asarray(value, dtype=np.float64).ravel() for key, value in content.items()})
        keys = [key for key in ("exp", "jaw", "eyelids", "eyes") if all(key in frame for frame in frames)]
        sizes = {key: {len(frame[key]) for frame in frames} for key in keys}
        uneven = [key for key in keys if len(sizes[key]) > 1]
        if uneven:
            raise UserError(
                f"{folder}: {uneven[0]} has {sorted(sizes[uneven[0]])} numbers in different frames; track again."
            )
        return parameter_track(folder, {key: np.stack([frame[key] for frame in frames]) for key in keys}, fps)
