"""What the dataset is: layout, frames, camera, and which frames train, validate and test."""

from __future__ import annotations

import math
import os
from typing import List, Optional, Tuple

import numpy as np

from nerfblendshape_ns.check.findings import Section, count_of
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.frame_numbers import name_frames
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.frame_times import frame_times
from nerfblendshape_ns.data.layouts import Clip
from nerfblendshape_ns.data.splits import Protocol, Splits, protocol_name, split_frames

FEW_TRAINING_FRAMES = 100
MOST_SPARSE = 20
"""Numbers, for each frame, that count frames; of more no list is made of those that are left out."""
PLAUSIBLE_VIEW_ANGLES = (5.0, 100.0)
"""Degrees of the longer side's field of view; what cameras that film faces have."""


def check_overview(clip: Clip) -> Section:
    """Layout, number of frames, gaps between them, and the camera."""
    section = Section("clip", topic="camera")
    numbers = clip.img_ids.tolist()
    seconds = len(numbers) / clip.fps if clip.fps > 0 else math.nan
    section.figures.update(
        {
            "layout": clip.layout,
            "frames": len(numbers),
            "width": clip.width,
            "height": clip.height,
            "fps": clip.fps,
            "seconds": seconds,
            "first": numbers[0],
            "last": numbers[-1],
        }
    )
    size = f"{clip.width}x{clip.height} pixels"
    time = f", {clip.fps:g} frames per second, {seconds:.1f} s" if clip.fps > 0 else ""
    section.rows.append(("dataset", f"layout {clip.layout}: {count_of(len(numbers), 'frame')} of {size}{time}"))
    counted = numbers[-1] - numbers[0] < MOST_SPARSE * len(numbers)
    absent = sorted({*range(numbers[0], numbers[-1])} - {*numbers}) if counted else []
    section.figures["gaps"] = absent
    if not counted:
        section.note(
            f"the numbers of the {count_of(len(numbers), 'frame')} run from {numbers[0]} to {numbers[-1]}, as where "
            "they are times",
            "nothing has to be done: frames follow one another in the order of their numbers",
            topic="frames",
        )
    if absent:
        section.note(
            f"the numbers run from {numbers[0]} to {numbers[-1]} and leave out {count_of(len(absent), 'frame')} "
            f"({name_frames(absent, 6)})",
            "nothing has to be done: rows are found by number; the clip's time jumps there",
            absent,
            topic="frames",
        )
    for note in clip.notes:
        words = note.rstrip(".").replace(f"{clip.root}{os.sep}", "")
        section.note(words, "nothing has to be done", topic="layout")
    if clip.fps > 0:
        try:
            frame_times(clip)
        except UserError as error:
            section.user_error(error, topic="frames")
    _camera(section, clip)
    return section


def check_splits(
    clip: Clip,
    test_frames: Optional[int] = None,
    val_frames: Optional[int] = None,
    protocol: Protocol = "tail10",
) -> Tuple[Section, Optional[Splits]]:
    """Which frames train, validate and test; None where there are too few."""
    section = Section("splits")
    try:
        splits = split_frames(len(clip.frames), test_frames, val_frames, protocol, clip.held_out)
    except UserError as error:
        section.user_error(error)
        return section, None
    words: List[str] = []
    section.figures["protocol"] = protocol_name(protocol, test_frames)
    for name, positions in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        first, last = clip.img_ids[positions[[0, -1]]].tolist()
        section.figures[name] = {"frames": len(positions), "first": first, "last": last}
        words.append(f"{name} {len(positions):,} ({first} to {last})")
    section.rows.append(("splits", f"protocol {section.figures['protocol']}: {', '.join(words)}"))
    if len(splits.train) < FEW_TRAINING_FRAMES:
        section.warn(
            f"only {count_of(len(splits.train), 'frame')} to train on: few expressions and views",
            f"a clip of ten seconds or more serves better; at least {FEW_TRAINING_FRAMES} training frames",
        )
    return section, splits


def _camera(section: Section, clip: Clip) -> None:
    intrinsics = (clip.width, clip.height, clip.fl_x, clip.fl_y)
    if min(intrinsics) <= 0:
        return  # The reader has said so.
    angle = math.degrees(2 * math.atan(max(clip.width / clip.fl_x, clip.height / clip.fl_y) / 2))
    section.figures["view_angle_degrees"] = angle
    words = f"focal length {clip.fl_x:.0f} px (view angle {angle:.0f} degrees), principal point "
    section.rows.append(("camera", words + f"({clip.cx:.0f}, {clip.cy:.0f})"))
    if clip.layout == "own" and (clip.root / contract.PROCESS).is_file():
        return  # These tools know their crop, which may be a small part of the video and far from its middle.
    if not PLAUSIBLE_VIEW_ANGLES[0] <= angle <= PLAUSIBLE_VIEW_ANGLES[1]:
        section.warn(
            f"a view angle of {angle:.1f} degrees is unusual for a camera that films a face",
            "check that the focal length is in pixels of these images",
        )
    aside = np.hypot(clip.cx - clip.width / 2, clip.cy - clip.height / 2) / max(clip.width, clip.height)
    if aside > 0.5:
        section.warn(
            f"the principal point ({clip.cx:.0f}, {clip.cy:.0f}) is far from the middle of {clip.width}x{clip.height} "
            "images",
            "check that it is in pixels of these images; after a crop the crop's corner must be taken off",
        )
    if abs(clip.fl_x / clip.fl_y - 1) > 0.1:
        section.warn(
            f"the focal lengths differ much: {clip.fl_x:.0f} across and {clip.fl_y:.0f} up",
            "check whether the images were stretched",
        )
