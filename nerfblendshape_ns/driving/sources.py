"""Where a driver comes from: the avatar's own clip, a dataset, a video, a coefficient file, keyframes."""

from __future__ import annotations

from pathlib import Path
from typing import List, Literal, Optional, Tuple

import numpy as np
from rich.console import Console

from nerfblendshape_ns.data.contract import load_image
from nerfblendshape_ns.data.layouts import LAYOUTS, Clip, read_clip
from nerfblendshape_ns.driving.keyframes import keyframe_sequence, read_keyframes
from nerfblendshape_ns.driving.options import OWN_SPLITS, DriveOptions
from nerfblendshape_ns.driving.own_dataset import frame_times, source_video
from nerfblendshape_ns.driving.person import Person
from nerfblendshape_ns.driving.sequence import DriverSequence, HeadMotion
from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.expression_tracks import SOURCES, read_expression_track

SourceKind = Literal["own", "dataset", "video", "file", "keyframes"]
KEYFRAME_SUFFIXES = (".yaml", ".yml")


def source_kind(by: str) -> SourceKind:
    """What ``--by`` names.

    Raises:
        UserError: it is neither one of the words nor a path that exists.
    """
    if by in OWN_SPLITS:
        return "own"
    path = Path(by)
    if not path.exists():
        raise UserError(
            f"--by {by} is neither {', '.join(OWN_SPLITS)} nor a path that exists; give a dataset, a video, an "
            ".npy or .csv file of coefficients or a .yaml file of keyframes."
        )
    if path.suffix.lower() in KEYFRAME_SUFFIXES:
        return "keyframes"
    if path.is_dir() and any(layout.matches(path) for layout in LAYOUTS.values()):
        return "dataset"
    # What is left over is a video, or is told to be none when it is opened as one; folders are always coefficients.
    known = path.is_dir() or any(source.matches(path) for source in SOURCES.values())
    return "file" if known or path.suffix.lower() in (".npy", ".csv") else "video"


def open_driver(
    options: DriveOptions, person: Person, background: Optional[np.ndarray], console: Console
) -> Tuple[SourceKind, DriverSequence, List[str]]:
    """Open what ``--by`` names.

    Args:
        options: of ``nbs-drive``.
        person: whose avatar is driven.
        background: what is behind the avatar, for the truth of its own clip.
        console: for the progress of tracking a video.

    Returns:
        The kind, the driver's frames, and sentences for the user.

    Raises:
        UserError: the source is missing or wrong.
    """
    kind, path = source_kind(options.by), Path(options.by)
    if kind == "own":
        return kind, person.own_frames(options.by, background), []
    if kind == "dataset":
        return kind, dataset_sequence(path), []
    if kind == "file":
        sequence, notes = track_sequence(path, options)
        return kind, sequence, notes
    if kind == "keyframes":
        space = person.named_space
        neutral = np.clip(np.zeros(len(space.names)), space.low, space.high)
        sequence = keyframe_sequence(
            read_keyframes(path), space.names, neutral, space.high, space.basis_id, str(path), space.low, options.fps
        )
        return kind, sequence, []
    # MediaPipe is loaded only where a video has to be tracked.
    from nerfblendshape_ns.driving.video_driver import video_sequence

    cache = options.cache if options.cache is not None else options.output.parent / ".nbs-drive"
    return kind, video_sequence(path, cache, options.landmarker, console), []


def dataset_sequence(root: Path) -> DriverSequence:
    """All frames of another dataset as a driver.

    Raises:
        UserError: it is no dataset, or is damaged.
    """
    clip = read_clip(root)
    return DriverSequence(
        label=str(root),
        names=clip.expression_names,
        values=clip.expressions.astype(np.float64),
        times=frame_times(clip),
        basis_id=clip.basis_id,
        motion=HeadMotion.from_camera_poses(clip.camera_to_head),
        picture=lambda frame: frame_picture(clip, frame),
        audio=source_video(root),
    )


def frame_picture(clip: Clip, frame: int) -> np.ndarray:
    """The image of a clip's frame, uint8 RGB."""
    return load_image(clip.frames[frame].files.image)


def track_sequence(path: Path, options: DriveOptions) -> Tuple[DriverSequence, List[str]]:
    """A file of coefficients as a driver; its rows are 25 a second unless it or ``--source-fps`` says otherwise.

    Raises:
        UserError: the file cannot be read.
    """
    track, notes = read_expression_track(path, options.source_fps), []
    if track.times is None:
        track = track.with_fps(25.0)
        notes.append(f"{path.name} says nothing of time: taken for 25 rows a second; --source-fps sets it.")
    times = np.asarray(track.times, dtype=np.float64)
    sequence = DriverSequence(str(path), tuple(track.names), track.values.astype(np.float64), times, track.basis_id)
    return sequence, [*track.notes, *notes]
