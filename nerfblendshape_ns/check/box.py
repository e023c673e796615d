"""The head's box in head space, and whether poses, camera and masks agree on where the head is."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional, Set

import numpy as np

from nerfblendshape_ns.check.findings import Section
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.frame_numbers import name_frames, spread
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.frame_images import load_labels
from nerfblendshape_ns.data.head_box import head_box
from nerfblendshape_ns.data.labels import head_mask
from nerfblendshape_ns.data.layouts import Clip

SAMPLE = 40
"""Frames whose mask is compared with the projected box."""
COMMON_OFFSET = 0.6
"""Distance between masks and projected head, in head sizes, beyond which they do not belong together."""
SINGLE_OFFSET = 0.25
"""How much further one mask may lie away than the others."""


def check_box(clip: Clip, usable: Set[int], margin: float = 0.05) -> Section:
    """Estimate the head's box from the usable frames, as the dataparser does, and hold it against the masks.

    Args:
        clip: the clip.
        usable: positions of the frames whose files are whole.
        margin: of the box, as in the dataparser.
    """
    section = Section("head_box", topic="head box")
    if min(clip.width, clip.height, clip.fl_x, clip.fl_y) <= 0:
        return section
    good = [i for i in sorted(usable) if np.isfinite(clip.frames[i].camera_to_head).all()]
    if not good:
        return section
    landmarks = None if clip.landmarks is None else clip.landmarks[good]
    part = replace(clip, frames=tuple(clip.frames[i] for i in good), landmarks=landmarks)
    try:
        box = head_box(part, margin)
    except UserError as error:
        section.user_error(error)
        return section
    except np.linalg.LinAlgError:
        section.error("the head's box cannot be found", "process the video again")
        return section
    size, centre = box[1] - box[0], box.mean(0)
    section.figures.update({"low": box[0].tolist(), "high": box[1].tolist()})
    # A converted dataset keeps the unit that it came in.
    unit = " cm" if clip.layout == "own" and (clip.root / contract.PROCESS).is_file() else ""
    words = "{:.3g} x {:.3g} x {:.3g}{} round ({:.2g}, {:.2g}, {:.2g})".format(*size, unit, *centre)
    section.rows.append(("head box", words))
    inside = ((part.camera_to_head[:, :3, 3] > box[0]) & (part.camera_to_head[:, :3, 3] < box[1])).all(1)
    if not np.isfinite(box).all() or inside.any():
        section.error(
            "the camera would be inside the head's box"
            + (f" in {name_frames(part.img_ids[inside], 6)}" if inside.any() else ""),
            "check the unit of the poses' translations and the focal length",
        )
        return section
    _against_masks(section, part, centre)
    return section


def _against_masks(section: Section, clip: Clip, centre: np.ndarray) -> None:
    """Does each mask lie where its pose puts the head, as the other masks do?"""
    found = {index: mask_offset(clip, index, centre) for index in spread(len(clip.frames), SAMPLE)}
    seen = {index: offset for index, offset in found.items() if offset is not None}
    if not seen:
        return
    offsets = np.array(list(seen.values()))
    common = np.median(offsets, axis=0)
    distance = section.figures["mask_offset"] = float(np.linalg.norm(common))
    if distance > COMMON_OFFSET:
        section.error(
            f"the head masks lie {distance:.1f} head sizes away from where the poses put the head",
            "poses, intrinsics and masks do not belong together: check image size, focal length and the poses' axes",
        )
    frames = clip.img_ids[list(seen)][np.linalg.norm(offsets - common, axis=1) > SINGLE_OFFSET]
    if len(frames):
        section.warn(
            f"the mask does not lie where the pose puts the head in {name_frames(frames, 6)} (of {len(seen)} frames "
            "looked at)",
            "look at pose and mask of these frames",
            frames,
        )


def mask_offset(clip: Clip, index: int, centre: np.ndarray) -> Optional[np.ndarray]:
    """From the projected centre of the head to the middle of a frame's head mask.

    Args:
        clip: the clip.
        index: position of the frame.
        centre: ``[3]`` of the head, in head space.

    Returns:
        ``[2]`` right and down, in units of the root of the mask's area; None where there is no head, or it is behind
        the camera.
    """
    try:
        rows, columns = np.nonzero(head_mask(load_labels(clip.frames[index].files)))
    except UserError:
        return None
    if len(rows) == 0:
        return None
    pose = clip.frames[index].camera_to_head
    local = (centre - pose[:3, 3]) @ pose[:3, :3]
    if local[2] >= 0:
        return None
    return (np.array([columns.mean() + 0.5, rows.mean() + 0.5]) - clip.project(local)) / np.sqrt(len(rows))
