"""Expression coefficients from a file in place of the tracker's, resampled at the clip's frames."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import List, Tuple

import numpy as np

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.tracks import ExpressionTrack
from nerfblendshape_ns.expressions.tracks.base import HOLD_SECONDS

# Of the files that hold coefficients in a folder, as far down as datasets have them.
_SUFFIXES, _LEVELS = {".json", ".npy", ".npz", ".frame", ".txt", ".pt"}, ("*", "*/*", "*/*/*")


def external_expressions(
    track: ExpressionTrack,
    path: Path,
    *,
    frame_times: np.ndarray,
    frame_numbers: np.ndarray,
    kept: np.ndarray,
    num_source: int,
    offset: float,
) -> Tuple[np.ndarray, List[str]]:
    """The coefficients of each frame of the clip.

    A track with a clock is interpolated at the frames' times in the video. Without one its rows must be the frames: of
    the dataset, of the dataset before frames without a face were left out, or of the whole video.

    Args:
        track: what was read from ``path``.
        path: the file, for messages.
        frame_times: ``[frames]`` seconds of each frame in the video.
        frame_numbers: ``[images]`` number in the video of every image that was made, before any was left out.
        kept: int ``[frames]`` which of the images the frames are.
        num_source: frames of the video, or -1 where only a part of it was decoded.
        offset: time in the track at which the video begins, in seconds.

    Returns:
        The coefficients as they are in the file, float32 ``[frames, basis]``, and warnings.

    Raises:
        UserError: the track does not cover the clip, or has no clock and another number of rows.
    """
    warnings = list(track.notes)
    if track.times is None:
        if offset:
            raise UserError(f"{path} has no clock, so --expressions-offset needs --expressions-fps as well; give both.")
        rows = _rows(track, path, frame_numbers, kept, num_source)
        values = track.values[rows]
    else:
        wanted = frame_times + offset
        before, after = -float(wanted[0]), float(wanted[-1]) - track.duration
        if max(before, after) > HOLD_SECONDS:
            raise UserError(
                f"{path} lasts from 0 to {track.duration:.2f} s but the clip needs {wanted[0]:.2f} to "
                f"{wanted[-1]:.2f} s of it; correct --expressions-offset or --expressions-fps, or cut the video with "
                "--start and --end."
            )
        held = np.flatnonzero((wanted < -1e-6) | (wanted > track.duration + 1e-6))
        # Less than one row beyond the end is the usual rounding of lengths.
        if max(before, after) > 1.5 / (track.fps or 1.0):
            warnings.append(
                f"{path.name} does not cover {len(held)} frames at the clip's ends; its end rows are held there."
            )
        values = track.at(wanted)
    return values.astype(np.float32), warnings


def content_key(path: Path) -> str:
    """A digest of an expression file's contents; of a folder, of its files' names, sizes and modification times."""
    digest = hashlib.sha256()
    if path.is_file():
        digest.update(path.read_bytes())
        for names in (path.with_name(f"{path.stem}_names.json"), path.with_name(f"{path.stem}_names.txt")):
            if names.is_file():
                digest.update(names.read_bytes())
    elif path.is_dir():
        for file in sorted(file for level in _LEVELS for file in path.glob(level) if file.suffix in _SUFFIXES):
            status = file.stat()
            digest.update(f"{file.relative_to(path)} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _rows(
    track: ExpressionTrack, path: Path, frame_numbers: np.ndarray, kept: np.ndarray, num_source: int
) -> np.ndarray:
    """The row of each frame in a track without a clock."""
    if len(track) == len(kept):
        return np.arange(len(kept))
    if len(track) == len(frame_numbers):
        return kept
    if len(track) == num_source:
        return frame_numbers[kept]
    counts = sorted({len(kept), len(frame_numbers), *([num_source] if num_source > 0 else [])})
    raise UserError(
        f"{path} has {len(track)} rows and no clock, but the clip has {' or '.join(map(str, counts))} frames; give its "
        "rows per second with --expressions-fps."
    )
