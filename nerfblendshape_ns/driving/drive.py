"""Drives an avatar and writes the video: ``nbs-drive`` without its command line."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Tuple

import numpy as np
import torch
from rich.console import Console

from nerfblendshape_ns.avatar.avatar import Avatar, byte_image, open_avatar
from nerfblendshape_ns.common.console import progress_bars, say
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.media import has_sound
from nerfblendshape_ns.common.output_folders import UNFINISHED, check_unchanged, claimed_folder, publish
from nerfblendshape_ns.common.output_paths import check_file, files_among
from nerfblendshape_ns.common.smoothing import whittaker
from nerfblendshape_ns.common.version import __version__
from nerfblendshape_ns.common.video_writing import Sound, check_encoders, write_video
from nerfblendshape_ns.driving.frame_store import FrameStore, drive_key, frames_beside
from nerfblendshape_ns.driving.head_pose import PoseTrack, make_poses
from nerfblendshape_ns.driving.images import beside, make_background
from nerfblendshape_ns.driving.into_video import SourceVideo, open_source_video
from nerfblendshape_ns.driving.options import DEFAULT_FPS, OWN_SPLITS, DriveOptions
from nerfblendshape_ns.driving.person import AvatarPerson, open_person
from nerfblendshape_ns.driving.sequence import DriverSequence
from nerfblendshape_ns.driving.sources import SourceKind, mapped_sequence, open_driver, source_kind
from nerfblendshape_ns.expressions.retarget import CoefficientSpace, Retargeting, RetargetMode, retargeting
from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState
from nerfblendshape_ns.process_data.steps.step_record import video_key

NO_SOURCE = (
    "no sound: the video that the driver was made from is not recorded, missing or has changed; give --audio FILE."
)
TOOL = "nbs-drive"
"""Name in the record of a folder of frames."""


@dataclass(frozen=True)
class Drive:
    """Everything decided, nothing rendered yet."""

    person: AvatarPerson
    """Whose avatar is driven."""
    driver: DriverSequence
    """The driver at the video's frame rate."""
    expressions: np.ndarray
    """float64 ``[frames, basis]`` model coefficients."""
    poses: PoseTrack
    """Cameras."""
    background: Optional[np.ndarray]
    """float32 colour ``[3]`` or image ``[height, width, 3]``; None is the model's own."""
    mapping: Retargeting
    """How the driver's coefficients became this person's."""
    fps: float
    """Frames per second."""
    notes: Tuple[str, ...]
    """Notes for the user."""
    into: Optional[SourceVideo] = None
    """The video that the render is pasted into."""
    into_frames: Optional[np.ndarray] = None
    """int64 ``[frames]`` frame of the avatar's dataset that each frame is pasted into."""

    @property
    def num_frames(self) -> int:
        """Frames to render."""
        return len(self.expressions)


@dataclass(frozen=True)
class DriveResult:
    """What a drive made."""

    output: Path
    """The video, or the folder of frames."""
    num_frames: int
    """Frames in it."""
    num_rendered: int
    """Frames rendered by this call; the others were there from a killed one."""
    seconds: float
    """Time spent on those."""
    has_sound: bool
    """Whether sound was carried over."""
    notes: Tuple[str, ...]
    """Sentences for the user."""


def drive(options: DriveOptions, console: Optional[Console] = None) -> DriveResult:
    """Drive an avatar.

    Args:
        options: of ``nbs-drive``.
        console: where progress and the summary go; None is the terminal.

    Raises:
        UserError: an option, the avatar or the driver is bad; frames finished so far are kept for the next try.
    """
    console = console or Console()
    options.check()
    source_kind(options.by)  # Reported before the avatar is loaded.
    output, inputs = options.output, input_paths(options)
    is_video = options.is_video
    if is_video:
        check_encoders()
        check_file(output, options.overwrite, inputs)
    root = frames_beside(output) if is_video else output
    with claimed_folder(root, TOOL, inputs):
        if not is_video:
            check_unchanged(root, TOOL)
        plan = plan_drive(options, open_avatar(options.avatar), console)
        for note in plan.notes:
            say(console, f"note: {note}")
        store = FrameStore(root, _key(options, plan))
        store.discard_half_written()
        sound, sound_note = find_sound(options, plan)
        rendered, seconds = _render(options, plan, store, console)
        if is_video:
            check_file(output, options.overwrite, inputs)  # Hours may have passed.
            write_video(output, map(store.read, range(plan.num_frames)), plan.fps, sound)
        else:
            publish(store.folder, root, TOOL)
            sound = None
        # Frames of killed drives to this output; none is running, the folder is claimed.
        shutil.rmtree(root / UNFINISHED, ignore_errors=True)
    if is_video:
        with suppress(OSError):
            root.rmdir()
    notes = plan.notes + ((sound_note,) if sound_note and is_video else ())
    result = DriveResult(output, plan.num_frames, rendered, seconds, sound is not None, notes)
    _print_result(result, plan, sound_note if sound_note in notes else None, console)
    return result


def input_paths(options: DriveOptions) -> List[Path]:
    """Files and folders that a drive reads, as far as the options name them."""
    by = None if options.by in OWN_SPLITS else Path(options.by)
    audio = None if options.audio in ("auto", "none") else Path(options.audio)
    read = (by, audio, options.data, options.into, options.map)
    return [*files_among([options.avatar]), *(path for path in read if path is not None)]


def plan_drive(options: DriveOptions, avatar: Avatar, console: Console) -> Drive:
    """Decide all that is rendered.

    Args:
        options: of ``nbs-drive``.
        avatar: opened.
        console: for the progress of tracking a video.

    Raises:
        UserError: something the options name is missing, or does not fit the avatar.
    """
    person = open_person(avatar, options.data, options.size)
    background = make_background(options.background, person)
    kind, whole, notes = open_driver(options, person, background, console)
    if options.map is not None:
        whole, note = mapped_sequence(whole, options.map)
        notes.append(note)
    if options.side_by_side:
        whole.image_of(0)
    into = None if options.into is None else open_source_video(options.into, person)
    fps, end = options.fps or DEFAULT_FPS, options.end
    if into is not None:
        fps, last = options.fps or into.clip.fps, options.start + into.duration
        if kind != "own" and last < min(whole.duration, end or whole.duration):
            end = last
            notes.append(f"{into.path.name} shows {into.duration:.1f} seconds; the rest of the driver is left out.")
    driver = whole.resampled(fps, options.start, end)
    target = person.space
    source = target if kind in ("own", "keyframes") else CoefficientSpace(whole.names, whole.basis_id, whole.values)
    mapping = retargeting(source, target, retarget_mode(options, kind))
    if not options.clamp:
        notes.append("coefficients are not clamped: images may fall apart outside the training range.")
    notes += _matching_notes(mapping, kind)
    expressions = mapping.apply(whittaker(driver.values, options.smooth_expressions), options.gain, options.clamp)
    frames = None
    if into is None:
        if options.head_pose == "own" and avatar.track is None:
            raise UserError(
                f"{avatar.path} was exported without its clip's track, so --head-pose own has nothing to play; choose "
                "fixed or rotations."
            )
        own, theirs, pace = person.motion, driver.motion, avatar.fps / fps
        poses = make_poses(options.poses, len(driver.times), own, theirs, kind == "own", driver.label, pace)
    else:
        frames = into.frames_at(driver.times + (0.0 if kind == "own" else into.times[0] - driver.times[0]))
        poses = person.poses_of(frames)
    if poses.softened > 2.0:
        notes.append(
            f"the driver's head turns up to {poses.softened:.0f} degrees farther than in this person's clip; rotations "
            "are softened (--no-limit-poses keeps them, --head-pose fixed leaves them out)."
        )
    return Drive(person, driver, expressions, poses, background, mapping, fps, tuple(notes), into, frames)


def retarget_mode(options: DriveOptions, kind: SourceKind) -> RetargetMode:
    """``--retarget`` with auto decided: other people are mapped, what is meant for this person is taken as it is."""
    if options.retarget != "auto":
        return options.retarget
    return "range" if kind in ("dataset", "video", "sound") else "none"


def render_frame(options: DriveOptions, plan: Drive, frame: int) -> np.ndarray:
    """Render one frame of a drive.

    Returns:
        uint8 RGB ``[height, width, 3]``, wider where the driver is beside it; RGBA for ``--rgba``.
    """
    avatar = plan.person.avatar
    captured = torch.from_numpy(plan.poses.captured[frame]).float().flatten().to(avatar.device)
    state = DrivingState(torch.from_numpy(plan.expressions[frame]).float().to(avatar.device), captured)
    pose = torch.from_numpy(plan.poses.camera[frame]).float().flatten()
    camera = avatar.camera_of(pose, max(plan.person.size))
    if plan.into is not None and plan.into_frames is not None:
        black = torch.zeros(3, device=avatar.device)
        outputs = avatar.render(state, camera, None if plan.into.whole_person else black)
        return plan.into.paste(int(plan.into_frames[frame]), outputs)
    if options.rgba:
        outputs = avatar.render(state, camera)
        return byte_image(avatar.model.get_rgba_image(outputs))
    background = None if plan.background is None else torch.from_numpy(plan.background).to(avatar.device)
    render = byte_image(avatar.render(state, camera, background)["rgb"])
    return beside(plan.driver.image_of(frame), render) if options.side_by_side else render


def find_sound(options: DriveOptions, plan: Drive) -> Tuple[Optional[Sound], Optional[str]]:
    """The sound that belongs to the frames, and why there is none where that may surprise.

    Raises:
        UserError: the file given with ``--audio`` has no sound.
    """
    if options.audio == "none" or not options.is_video:
        return None, None
    driver, start = plan.driver, float(plan.driver.times[0])
    if options.audio != "auto":
        path = Path(options.audio)
        if not path.is_file() or not has_sound(path):
            raise UserError(f"--audio {path} is no file with sound; give a video or audio file, auto or none.")
        return Sound(path, start), None
    if driver.audio is not None and has_sound(driver.audio):
        return Sound(driver.audio, start), None
    if plan.into is not None and plan.into_frames is not None and has_sound(plan.into.path):
        return Sound(plan.into.path, float(plan.into.times[plan.into_frames[0]])), None
    if driver.audio is not None:
        return None, f"no sound: {driver.audio.name} has none."
    wanted = driver.motion is not None and driver.read_image is not None
    return None, NO_SOURCE if wanted else None


def _render(options: DriveOptions, plan: Drive, store: FrameStore, console: Console) -> Tuple[int, float]:
    """Render the frames that are not there yet; how many, and the time they took."""
    missing = [frame for frame in range(plan.num_frames) if not store.has(frame)]
    done_before = plan.num_frames - len(missing)
    if done_before:
        say(console, f"{done_before} of {plan.num_frames} frames exist from an earlier run")
    started = time.perf_counter()
    with progress_bars(console) as progress:
        task = progress.add_task("frames", total=plan.num_frames, completed=done_before)
        for frame in missing:
            store.write(frame, render_frame(options, plan, frame))
            progress.advance(task)
    return len(missing), time.perf_counter() - started


def _key(options: DriveOptions, plan: Drive) -> str:
    """Digest of all that the frames follow from."""
    avatar = plan.person.avatar
    status = avatar.path.stat()
    settings = {
        "version": __version__,
        "avatar": [str(avatar.path.resolve()), status.st_size, status.st_mtime_ns],
        "size": list(plan.person.size),
        "rgba": options.rgba,
        "beside": plan.driver.label if options.side_by_side else None,
    }
    arrays = [plan.expressions, plan.poses.camera, plan.poses.captured]
    if plan.background is not None:
        arrays.append(plan.background)
    if plan.into is not None and plan.into_frames is not None:
        settings["into"] = video_key(plan.into.path)
        arrays.append(plan.into_frames)
    if options.side_by_side and plan.driver.source_index is not None:
        arrays.append(plan.driver.source_index)
    return drive_key(settings, arrays)


def _matching_notes(mapping: Retargeting, kind: SourceKind) -> List[str]:
    notes = []
    if kind in ("own", "keyframes"):
        return notes
    if mapping.missing:
        notes.append(
            f"{len(mapping.missing)} of the avatar's {len(mapping.source)} coefficients are not in the driver and stay "
            f"neutral: {', '.join(mapping.missing)}."
        )
    if mapping.unused:
        notes.append(
            f"{len(mapping.unused)} of the driver's coefficients are unknown to this avatar: "
            f"{', '.join(mapping.unused)}."
        )
    return notes


def _print_result(result: DriveResult, plan: Drive, sound_note: Optional[str], console: Console) -> None:
    if sound_note:
        say(console, f"note: {sound_note}")
    height, width = plan.person.size
    speed = f", {result.num_rendered / result.seconds:.2f} frames per second" if result.num_rendered else ""
    say(
        console,
        f"{result.num_frames} frames of {width}x{height}, driven by {plan.driver.label}"
        f"{', with sound' if result.has_sound else ''}{speed}: {result.output}",
    )
