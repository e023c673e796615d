"""The head's box in head space, and whether poses, camera and masks agree on where the head is."""

from __future__ import annotations

from dataclasses import replace
from typing import List, Optional, Set

import numpy as np

from nerfblendshape_ns.check.findings import Section, Severity
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.frame_images import load_labels
from nerfblendshape_ns.data.frame_numbers import name_frames
from nerfblendshape_ns.data.head_box import head_box
from nerfblendshape_ns.data.layouts import Clip
from nerfblendshape_ns.errors import UserError

SAMPLE = 40
"""Frames whose mask is compared with the projected box."""
AGREEMENT = 0.8
"""Share of a mask that must lie inside the projected box."""


def check_box(clip: Clip, usable: Set[int], margin: float = 0.05) -> Section:
    """Estimate the head's box from the usable frames, as the dataparser does, and hold it against the masks.

    Args:
        clip: the clip.
        usable: positions of the frames whose files are whole.
        margin: of the box, as in the dataparser.
    """
    section = Section("head_box")
    if min(clip.width, clip.height, clip.fl_x, clip.fl_y) <= 0:
        return section
    good = [i for i in sorted(usable) if np.isfinite(clip.frames[i].camera_to_head).all()]
    if not good:
        return section
    landmarks = None if clip.landmarks is None else clip.landmarks[good]
    part = replace(clip, frames=tuple(clip.frames[i] for i in good), landmarks=landmarks)
    try:
        box = head_box(part, margin)
    except (UserError, np.linalg.LinAlgError) as error:
        message, _, action = str(error).rpartition("; ")
        section.add(
            Severity.ERROR, "head box", message or "the head's box cannot be found", action or "process the video again"
        )
        return section
    size, centre = box[1] - box[0], box.mean(0)
    section.figures.update({"low": box[0].tolist(), "high": box[1].tolist()})
    unit = " cm" if clip.layout == "own" else ""
    section.rows.append(
        (
            "head box",
            "{:.3g} x {:.3g} x {:.3g}".format(*size) + f"{unit} round " + "({:.2g}, {:.2g}, {:.2g})".format(*centre),
        )
    )
    inside = ((part.camera_to_head[:, :3, 3] > box[0]) & (part.camera_to_head[:, :3, 3] < box[1])).all(1)
    if not np.isfinite(box).all() or inside.any():
        section.add(
            Severity.ERROR,
            "head box",
            "the camera would be inside the head's box" + (f" in {_names(part, inside)}" if inside.any() else ""),
            "check the unit of the poses' translations and the focal length",
        )
        return section
    _against_masks(section, part, box)
    return section


def _against_masks(section: Section, clip: Clip, box: np.ndarray) -> None:
    """Does each mask lie where its pose puts the box?"""
    picked = np.unique(np.linspace(0, len(clip.frames) - 1, min(SAMPLE, len(clip.frames))).round().astype(int))
    shares: List[float] = []
    numbers: List[int] = []
    for index in picked:
        share = covered_share(clip, int(index), box)
        if share is not None:
            shares.append(share)
            numbers.append(clip.frames[int(index)].img_id)
    if not shares:
        return
    away = np.array(shares) < AGREEMENT
    section.figures["masks_inside_box"] = float(np.mean(shares))
    if away.mean() > 0.5:
        section.add(
            Severity.ERROR,
            "head box",
            f"the head masks do not lie where the poses put the head (on average {np.mean(shares):.0%} inside)",
            "poses, intrinsics and masks do not belong together: check image size, focal length and the poses' axes",
        )
    elif away.any():
        frames = np.array(numbers)[away]
        section.add(
            Severity.WARNING,
            "head box",
            f"the mask leaves the head's box in {name_frames(frames, 6)} (of {len(shares)} frames looked at)",
            "look at pose and mask of these frames",
            frames,
        )


def covered_share(clip: Clip, index: int, box: np.ndarray) -> Optional[float]:
    """Share of a frame's head mask inside the rectangle round its projected head box; None where there is no head."""
    try:
        rows, columns = np.nonzero(load_labels(clip.frames[index].files) == Label.HEAD)
    except UserError:
        return None
    if len(rows) == 0:
        return None
    pose = clip.frames[index].camera_to_head
    corners = np.array([[box[i, 0], box[j, 1], box[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    local = (corners - pose[:3, 3]) @ pose[:3, :3]
    depth = np.maximum(-local[:, 2], 1e-6)
    across, down = clip.cx + clip.fl_x * local[:, 0] / depth, clip.cy - clip.fl_y * local[:, 1] / depth
    inside = (columns + 0.5 > across.min()) & (columns + 0.5 < across.max())
    inside &= (rows + 0.5 > down.min()) & (rows + 0.5 < down.max())
    return float(inside.mean())


def _names(clip: Clip, chosen: np.ndarray) -> str:
    return name_frames([clip.frames[int(index)].img_id for index in np.flatnonzero(chosen)], 6)
