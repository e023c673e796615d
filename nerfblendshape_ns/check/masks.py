"""Labels: areas, frames that stand out, jumps from frame to frame, heads cut at the border."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import List, Set, Tuple, Union

import numpy as np

from nerfblendshape_ns.check.findings import Section, Severity, count_of, from_errors
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.frame_numbers import gaps, name_frames
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.frame_images import load_labels
from nerfblendshape_ns.data.labels import describe_occlusion, head_mask, occluded_fraction
from nerfblendshape_ns.data.layouts import Clip

MAX_FRAMES = 800
"""Longer clips give stretches of neighbouring frames, spread evenly, with so many frames in all."""
LONGER_SIDE = 256
"""Masks are compared at about this size."""
AREA_FACTOR = 1.5
"""A head so many times larger or smaller than in the frames round it stands out."""
NEIGHBOURS = 7
STRETCH = 8
"""Frames of a stretch: most of the frames that a frame is compared with are then of its own one."""
JUMP_OVERLAP = 0.90
"""Heads of neighbouring frames that overlap less, once moved onto each other, have changed their shape."""
STABLE_OVERLAP = 0.97
BORDER_FRACTION = 0.05
"""Fraction of an image side that the head must cover there to count as cut."""
SMALL_HEAD = 0.05


@dataclass(frozen=True)
class SeenMask:
    """What is kept of a frame's labels."""

    areas: np.ndarray
    """``[labels]`` fraction of each label."""
    head: np.ndarray
    """bool ``[height, width]`` reduced head mask."""
    occluded: float
    """Fraction of the head that something hides."""
    contact: np.ndarray
    """``[3]`` fraction of the left, right and upper side that the head covers."""

    @property
    def middle(self) -> Tuple[float, float]:
        """Row and column of the head's centre of mass in the reduced mask."""
        rows, columns = np.nonzero(self.head)
        return (float(rows.mean()), float(columns.mean())) if len(rows) else (0.0, 0.0)


def check_masks(clip: Clip, usable: Set[int]) -> Tuple[Section, Set[int]]:
    """Check the labels of a clip.

    Args:
        clip: the clip.
        usable: positions of the frames whose files are whole.

    Returns:
        What was found, and the positions among ``usable`` whose labels cannot be used.
    """
    section = Section("masks")
    positions = chosen_positions(sorted(usable))
    with ThreadPoolExecutor() as pool:
        seen = list(pool.map(lambda position: _look(clip, position), positions))
    errors = [mask for mask in seen if isinstance(mask, UserError)]
    section.findings += from_errors(errors, "masks", clip.root)
    bad = {position for position, mask in zip(positions, seen) if isinstance(mask, UserError)}
    kept = [(position, mask) for position, mask in zip(positions, seen) if isinstance(mask, SeenMask)]
    if kept:
        numbers = clip.img_ids[[position for position, _ in kept]]
        masks = [mask for _, mask in kept]
        _areas(section, numbers, masks, sampled=len(positions) < len(usable))
        _overlaps(section, numbers, [position for position, _ in kept], masks)
        _borders(section, numbers, masks)
    return section, bad


def chosen_positions(positions: List[int]) -> List[int]:
    """All positions of a clip, or evenly spread stretches of neighbours of a long one."""
    if len(positions) <= MAX_FRAMES:
        return positions
    starts = np.linspace(0, len(positions) - STRETCH, MAX_FRAMES // STRETCH).astype(int)
    return [positions[index] for index in np.unique(starts[:, None] + np.arange(STRETCH)).tolist()]


def overlap(first: np.ndarray, second: np.ndarray, shift: Tuple[int, int] = (0, 0)) -> float:
    """Intersection over union of two masks, the second moved by ``shift`` rows and columns; 1 where both are empty."""
    rows, columns = shift
    height, width = first.shape
    moved = np.zeros_like(second)
    moved[max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)] = second[
        max(-rows, 0) : height + min(-rows, 0), max(-columns, 0) : width + min(-columns, 0)
    ]
    union = np.count_nonzero(first | moved)
    return np.count_nonzero(first & moved) / union if union else 1.0


def _look(clip: Clip, position: int) -> Union[SeenMask, UserError]:
    try:
        labels = load_labels(clip.frames[position].files)
    except UserError as error:
        return error
    head = head_mask(labels)
    step = max(1, max(labels.shape) // LONGER_SIDE)
    areas = np.bincount(labels.ravel(), minlength=len(Label)) / labels.size
    contact = np.array([head[:, 0].mean(), head[:, -1].mean(), head[0].mean()])
    return SeenMask(areas, head[step // 2 :: step, step // 2 :: step].copy(), occluded_fraction(labels), contact)


def _areas(section: Section, numbers: np.ndarray, masks: List[SeenMask], sampled: bool) -> None:
    areas = np.stack([mask.areas for mask in masks])
    names = [label.name.lower() for label in Label]
    section.figures["frames_read"] = len(masks)
    section.figures["areas"] = {
        name: {"mean": float(column.mean()), "min": float(column.min()), "max": float(column.max())}
        for name, column in zip(names, areas.T)
    }
    words = ", ".join(
        f"{name} {areas[:, i].mean():.0%} ({areas[:, i].min():.0%} to {areas[:, i].max():.0%})"
        for i, name in enumerate(names)
        if i != Label.BACKGROUND and areas[:, i].any()
    )
    section.rows.append(("mask areas", (words or "no label but background") + (" of a sample" if sampled else "")))
    fractions = [mask.occluded for mask in masks]
    section.figures["occluded"] = numbers[np.flatnonzero(fractions)].tolist()
    occlusion = describe_occlusion(fractions, numbers)
    if occlusion is not None:
        action = "training and figures leave these pixels out; film again without it if it is much"
        section.note(f"something is before the face in {occlusion}", action, section.figures["occluded"])
    head = areas[:, [Label.HEAD, Label.OCCLUDED]].sum(1)
    empty = head == 0
    if empty.all():
        section.error(
            "no frame has a head in its labels",
            "check the label values or colours; process the video again",
        )
        return
    if empty.any():
        section.warn(
            f"{count_of(int(empty.sum()), 'frame')} without a head in the labels: {name_frames(numbers[empty], 6)}",
            "training would learn an empty image there: drop these frames or process the video again",
            numbers[empty],
        )
    area_outliers(section, numbers, head, empty)
    if np.median(head) < SMALL_HEAD:
        section.warn(
            f"the head covers only {np.median(head):.1%} of the image",
            "crop the frames closer (nbs-process-data --crop face), so that pixels are not spent on background",
        )
    missing = [name for i, name in enumerate(names) if i in (Label.NECK, Label.TORSO) and not areas[:, i].any()]
    if missing:
        section.note(
            f"no frame has the label {' or '.join(missing)}",
            "the head does not need it; a torso can only learn what labels or torso_imgs/ show",
        )


def area_outliers(section: Section, numbers: np.ndarray, head: np.ndarray, empty: np.ndarray) -> None:
    """Report frames whose head is much larger or smaller than in the frames round them.

    Args:
        section: what is found goes here.
        numbers: of the frames, ``[frames]``.
        head: fraction of the image that the head covers, ``[frames]``.
        empty: bool ``[frames]``, which have no head and are reported already.
    """
    half = NEIGHBOURS // 2
    padded = np.pad(head, half, mode="edge")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, NEIGHBOURS), axis=1)
    factor = head / np.maximum(around, 1e-6)
    outlier = ~empty & ((factor > AREA_FACTOR) | (factor < 1 / AREA_FACTOR))
    section.figures["area_outliers"] = numbers[outlier].tolist()
    if outlier.any():
        worst = int(np.argmax(np.where(outlier, np.abs(np.log(np.maximum(factor, 1e-6))), 0.0)))
        section.warn(
            f"the head's area stands out in {name_frames(numbers[outlier], 6)}: at frame {numbers[worst]} it is "
            f"{factor[worst]:.2f} times that of the frames round it",
            "look at these masks; drop the frames or give better masks",
            numbers[outlier],
        )


def _overlaps(section: Section, numbers: np.ndarray, positions: List[int], masks: List[SeenMask]) -> None:
    plain: List[float] = []
    jumps: List[Tuple[int, float]] = []
    apart = gaps(numbers)
    for index in range(1, len(masks)):
        before, after = masks[index - 1], masks[index]
        if positions[index] != positions[index - 1] + 1 or apart[index - 1]:
            continue
        if before.head.shape != after.head.shape or not (before.head.any() and after.head.any()):
            continue
        plain.append(overlap(before.head, after.head))
        shift = (round(before.middle[0] - after.middle[0]), round(before.middle[1] - after.middle[1]))
        aligned = max(plain[-1], overlap(before.head, after.head, shift))
        if aligned < JUMP_OVERLAP:
            jumps.append((int(numbers[index]), aligned))
    if not plain:
        return
    mean = float(np.mean(plain))
    section.figures["consecutive_iou"] = {"mean": mean, "min": float(min(plain))}
    section.figures["jumps"] = [frame for frame, _ in jumps]
    section.rows.append(
        ("mask stability", f"heads of neighbouring frames overlap by {mean:.3f}, least {min(plain):.3f}")
    )
    if jumps:
        frame, least = min(jumps, key=lambda jump: jump[1])
        section.warn(
            f"the head's mask changes its shape from one frame to the next at {name_frames([f for f, _ in jumps], 6)} "
            f"(overlap {least:.2f} at frame {frame})",
            "look at these masks: hair or collar that changes its label blurs the avatar's outline; a cut in the video "
            "must be taken out",
            [f for f, _ in jumps],
        )
    elif mean < STABLE_OVERLAP:
        section.note(
            f"neighbouring head masks overlap by {mean:.3f} on average: fast motion or flickering masks",
            "look at the masks as a video; 0.98 and more is usual for a calm head",
        )


def _borders(section: Section, numbers: np.ndarray, masks: List[SeenMask]) -> None:
    contact = np.stack([mask.contact for mask in masks]) > BORDER_FRACTION
    fraction = contact.mean(0)
    section.figures["cut_at_border"] = dict(zip(("left", "right", "top"), fraction.tolist()))
    if contact.any():
        words = [f"{side} in {value:.0%}" for side, value in zip(("left", "right", "top"), fraction) if value > 0]
        frames = numbers[contact.any(1)]
        section.add(
            Severity.WARNING if contact.any(1).mean() > 0.05 else Severity.NOTE,
            f"the head is cut by the image's border ({', '.join(words)} of the frames): {name_frames(frames, 6)}",
            "what is outside cannot be learnt: film or crop with more room round the head",
            frames,
        )
