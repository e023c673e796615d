"""Decides all of a drive before anything is rendered: whose expressions, head poses, background, rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Tuple

import numpy as np
from rich.console import Console

from nerfblendshape_ns.avatar.avatar import Avatar
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.smoothing import whittaker
from nerfblendshape_ns.driving.head_pose import PoseTrack, make_poses
from nerfblendshape_ns.driving.images import make_background
from nerfblendshape_ns.driving.into_video import SourceVideo, open_source_video
from nerfblendshape_ns.driving.options import DEFAULT_FPS, DriveOptions
from nerfblendshape_ns.driving.person import AvatarPerson, open_person
from nerfblendshape_ns.driving.sequence import DriverSequence
from nerfblendshape_ns.driving.sources import SourceKind, mapped_sequence, open_driver
from nerfblendshape_ns.expressions.retarget import CoefficientSpace, Retargeting, RetargetMode, retargeting


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
    fps: float
    """Frames per second."""
    notes: Tuple[str, ...]
    """Notes for the user."""
    into: Optional[SourceVideo] = None
    """The video that the render is pasted into."""
    into_frames: Optional[np.ndarray] = None
    """int64 ``[frames]`` frame of the avatar's dataset that each frame is pasted into."""
    faceless: Optional[np.ndarray] = None
    """float64 ``[frames]`` seconds at which that video shows no face, so that its own frame stands; NaN elsewhere."""

    @property
    def num_frames(self) -> int:
        """Frames to render."""
        return len(self.expressions)


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
    into = None if options.into is None else open_source_video(options.into, person)
    fps, end = options.fps or (DEFAULT_FPS if into is None else into.clip.fps), options.end
    kind, whole, notes = open_driver(options, person, background, fps, console)
    if options.map is not None:
        whole, note = mapped_sequence(whole, options.map)
        notes.append(note)
    if options.side_by_side:
        whole.image_of(0)
    if into is not None:
        last = options.start + into.duration
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
    frames = faceless = None
    if into is None:
        if options.head_pose == "own" and avatar.track is None:
            raise UserError(
                f"{avatar.path} was exported without its clip's track, so --head-pose own has nothing to play; choose "
                "fixed or rotations."
            )
        own, theirs, pace = person.motion, driver.motion, avatar.fps / fps
        poses = make_poses(options.poses, len(driver.times), own, theirs, kind == "own", driver.label, pace)
    else:
        instants = driver.times + (0.0 if kind == "own" else into.times[0] - driver.times[0])
        frames, faceless = into.frames_at(instants), into.faceless_at(instants)
        poses = person.poses_of(frames)
    if poses.softened > 2.0:
        notes.append(
            f"the driver's head turns up to {poses.softened:.0f} degrees farther than in this person's clip; rotations "
            "are limited (--no-limit-poses keeps them, --head-pose fixed leaves them out)."
        )
    return Drive(person, driver, expressions, poses, background, fps, tuple(notes), into, frames, faceless)


def retarget_mode(options: DriveOptions, kind: SourceKind) -> RetargetMode:
    """``--retarget`` with auto decided: other people are mapped, what is meant for this person is taken as it is."""
    if options.retarget != "auto":
        return options.retarget
    return "range" if kind in ("dataset", "video", "sound") else "none"


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
