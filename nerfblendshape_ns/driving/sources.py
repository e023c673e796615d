"""Where a driver comes from: the avatar's own clip, a dataset, a video, sound, a coefficient file, keyframes."""

from __future__ import annotations

import codecs
import mimetypes
from dataclasses import replace
from pathlib import Path
from typing import List, Literal, Optional, Tuple

import numpy as np
from rich.console import Console

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_BASIS, ARKIT_NAMES
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import load_image
from nerfblendshape_ns.data.frame_times import frame_times
from nerfblendshape_ns.data.layouts import foreign_dataset, is_dataset, read_clip
from nerfblendshape_ns.driving.keyframes import keyframe_sequence, read_keyframes
from nerfblendshape_ns.driving.options import DEFAULT_FPS, OWN_SPLITS, DriveOptions
from nerfblendshape_ns.driving.own_dataset import source_video
from nerfblendshape_ns.driving.person import AvatarPerson
from nerfblendshape_ns.driving.sequence import DriverSequence, HeadMotion
from nerfblendshape_ns.expressions.basis_map import load_map
from nerfblendshape_ns.expressions.live.frame import turn_of_angles
from nerfblendshape_ns.expressions.speech import speak
from nerfblendshape_ns.expressions.tracks import READERS, read_expression_track

SourceKind = Literal["own", "dataset", "video", "sound", "file", "keyframes"]
KEYFRAME_SUFFIXES = (".yaml", ".yml")
SOUND_SUFFIXES = (".wav", ".mp3", ".flac", ".m4a", ".aac", ".ogg", ".oga", ".opus", ".wma", ".aif", ".aiff")
NO_TEXT = "without --text the loudness of the sound alone opens the jaw; the lips form no words."


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
            f"--by {by} is neither {', '.join(OWN_SPLITS)} nor a path that exists; give a dataset, a video, a sound, a "
            "file of coefficients such as .npy or .csv, or a .yaml file of keyframes."
        )
    if path.suffix.lower() in KEYFRAME_SUFFIXES:
        return "keyframes"
    if path.suffix.lower() in SOUND_SUFFIXES:
        return "sound"
    if is_dataset(path) and foreign_dataset(path) is None:
        return "dataset"
    # Anything else is opened as a video. Folders are always coefficients, and so are files that cannot be a video: the
    # message that they are of no known kind lists the known ones.
    known = path.is_dir() or any(source.matches(path) for source in READERS.values())
    return "file" if known or _is_no_video(path) else "video"


def _is_no_video(path: Path) -> bool:
    """Whether a file not named as a video begins as none does: with text, or as a zip archive or a pickle."""
    if (mimetypes.guess_type(path.name)[0] or "").startswith("video/"):
        return False
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith((b"PK", b"\x80")):
        return True
    try:
        # The incremental decoder takes a last character that is cut off.
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return b"\0" not in start


def open_driver(
    options: DriveOptions, person: AvatarPerson, background: Optional[np.ndarray], fps: float, console: Console
) -> Tuple[SourceKind, DriverSequence, List[str]]:
    """Open what ``--by`` names.

    Args:
        options: of ``nbs-drive``.
        person: whose avatar is driven.
        background: what is behind the avatar, for the ground truth of its own clip.
        fps: of the result, at which keyframes are sampled.
        console: for the progress of tracking a video.

    Returns:
        The kind, the driver's frames, and notes for the user.

    Raises:
        UserError: the source is missing or wrong.
    """
    kind, path = source_kind(options.by), Path(options.by)
    for given, said, wanted in (
        (options.names is not None, "--names says what a file's columns are", "file"),
        (options.source_fps is not None, "--source-fps is the rate of a file's rows", "file"),
        (options.text is not None, "--text is what a sound file says", "sound"),
        (not options.idle, "--no-idle is about the face that a sound file is given", "sound"),
    ):
        if given and kind != wanted:
            raise UserError(f"{said}, but --by {options.by} is no such file; leave it out.")
    if options.map is not None and kind in ("own", "keyframes"):
        raise UserError(
            f"--map is for another basis' coefficients, but --by {options.by} has the avatar's; leave it out."
        )
    if kind == "own":
        return kind, person.own_frames(options.by, background), []
    if kind == "dataset":
        return kind, dataset_sequence(path), []
    if kind == "file":
        sequence, notes = track_sequence(path, options)
        return kind, sequence, notes
    if kind == "sound":
        return kind, speech_sequence(path, options), [] if options.text is not None else [NO_TEXT]
    if kind == "keyframes":
        return kind, keyframe_sequence(read_keyframes(path), person.space, str(path), fps), []
    # MediaPipe is loaded only where a video has to be tracked.
    from nerfblendshape_ns.driving.video_driver import video_sequence

    cache = options.cache if options.cache is not None else options.output.parent / ".nbs-drive"
    sequence, notes = video_sequence(path, cache, options.landmarker, options.offline, console)
    return kind, sequence, notes


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
        read_image=lambda frame: load_image(clip.frames[frame].files.image),
        audio=source_video(root),
    )


def speech_sequence(path: Path, options: DriveOptions) -> DriverSequence:
    """What a sound file lets hear as a driver.

    Raises:
        UserError: the sound cannot be read, or ``--text`` not be spoken.
    """
    speech = speak(path, options.text, options.idle)
    motion = None
    if speech.angles is not None:
        turns = np.stack([turn_of_angles(*angles) for angles in speech.angles])
        motion = HeadMotion(turns, np.tile([0.0, 0.0, -1.0], (len(turns), 1)), np.eye(3))
    return DriverSequence(str(path), ARKIT_NAMES, speech.values, speech.times, ARKIT_BASIS, motion, audio=path)


def mapped_sequence(driver: DriverSequence, path: Path) -> Tuple[DriverSequence, str]:
    """A driver in another basis, and a sentence about how much of it is lost.

    Args:
        driver: whose coefficients the map takes.
        path: a file of ``nbs-basis-map``.

    Raises:
        UserError: the file is none, or maps other coefficients.
    """
    chosen = load_map(path, driver.names)
    mapped = replace(
        driver,
        names=chosen.target_names,
        values=chosen.apply(driver.names, driver.values),
        basis_id=chosen.target_basis,
    )
    lost = f"{path.name} takes the driver to {chosen.target_basis}; {100 * chosen.error:.0f} % of the motion is not "
    return mapped, lost + "predicted where the map was tested."


def track_sequence(path: Path, options: DriveOptions) -> Tuple[DriverSequence, List[str]]:
    """A file of coefficients as a driver; its rows are 25 per second unless it or ``--source-fps`` says otherwise.

    Raises:
        UserError: the file cannot be read.
    """
    track, notes = read_expression_track(path, options.source_fps, options.names), []
    if track.times is None:
        track = track.with_fps(DEFAULT_FPS)
        notes.append(
            f"{path.name} has no times: {DEFAULT_FPS:g} rows per second are assumed; --source-fps sets the rate."
        )
    times = np.asarray(track.times, dtype=np.float64)
    sequence = DriverSequence(str(path), tuple(track.names), track.values.astype(np.float64), times, track.basis_id)
    return sequence, [*track.notes, *notes]
