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

from nerfblendshape_ns.avatar.avatar import byte_image, open_avatar
from nerfblendshape_ns.common.console import progress_bars, say
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.media import has_sound
from nerfblendshape_ns.common.output_folders import UNFINISHED, check_unchanged, claimed_folder, publish
from nerfblendshape_ns.common.output_paths import check_file, files_among
from nerfblendshape_ns.common.version import __version__
from nerfblendshape_ns.common.video_writing import Sound, check_encoders, write_video
from nerfblendshape_ns.driving.frame_store import FrameStore, drive_key, frames_beside
from nerfblendshape_ns.driving.images import beside
from nerfblendshape_ns.driving.options import OWN_SPLITS, DriveOptions
from nerfblendshape_ns.driving.plan import Drive, plan_drive
from nerfblendshape_ns.driving.sources import source_kind
from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState
from nerfblendshape_ns.process_data.steps.step_record import video_key

NO_SOURCE = (
    "no sound: the video that the driver was made from is not recorded, missing or has changed; give --audio FILE."
)
TOOL = "nbs-drive"
"""Name in the record of a folder of frames."""


@dataclass(frozen=True)
class DriveResult:
    """What a drive made."""

    output: Path
    """The video, or the folder of frames."""
    num_frames: int
    """Frames in it."""
    size: Tuple[int, ...]
    """Their height and width."""
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
        size = store.read(0).shape[:2]
        if is_video:
            check_file(output, options.overwrite, inputs)  # Hours may have passed.
            write_video(output, map(store.read, range(plan.num_frames)), plan.fps, sound)
        else:
            publish(store.folder, root, TOOL)
        # Frames of killed drives to this output; none is running, the folder is claimed.
        shutil.rmtree(root / UNFINISHED, ignore_errors=True)
    if is_video:
        with suppress(OSError):
            root.rmdir()
    if sound_note:
        say(console, f"note: {sound_note}")
    notes = plan.notes + ((sound_note,) if sound_note else ())
    result = DriveResult(output, plan.num_frames, size, rendered, seconds, sound is not None, notes)
    _print_result(result, plan.driver.label, console)
    return result


def input_paths(options: DriveOptions) -> List[Path]:
    """Files and folders that a drive reads, as far as the options name them."""
    by = None if options.by in OWN_SPLITS else Path(options.by)
    audio = None if options.audio in ("auto", "none") else Path(options.audio)
    read = (by, audio, options.data, options.into, options.map)
    return [*files_among([options.avatar]), *(path for path in read if path is not None)]


def render_frame(options: DriveOptions, plan: Drive, frame: int) -> np.ndarray:
    """Render one frame of a drive.

    Returns:
        uint8 RGB ``[height, width, 3]``, wider where the driver is beside it; RGBA for ``--rgba``.
    """
    if plan.into is not None and plan.faceless is not None and np.isfinite(plan.faceless[frame]):
        return plan.into.image_at(float(plan.faceless[frame]))
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
        arrays += [plan.into_frames] if plan.faceless is None else [plan.into_frames, plan.faceless]
    if options.side_by_side and plan.driver.source_index is not None:
        arrays.append(plan.driver.source_index)
    return drive_key(settings, arrays)


def _print_result(result: DriveResult, driver: str, console: Console) -> None:
    height, width = result.size
    speed = f", {result.num_rendered / result.seconds:.2f} frames per second" if result.num_rendered else ""
    say(
        console,
        f"{result.num_frames} frames of {width}x{height}, driven by {driver}"
        f"{', with sound' if result.has_sound else ''}{speed}: {result.output}",
    )
