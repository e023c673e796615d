"""The clean plate: the scene without the person, from the frames that cover the least of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import cv2
import numpy as np

from nerfblendshape_ns.common.frame_numbers import spread
from nerfblendshape_ns.data.contract import Label

MARGIN = 0.02
"""How far from the person a pixel must be, as a fraction of the image's longer side."""
MAX_CANDIDATES = 600
"""Most frames whose labels are compared; they are spread evenly over the clip."""
CANDIDATE_SIZE = 64
"""Longer side of the small masks by which frames are compared for what they uncover."""
MAX_SAMPLES = 96
"""Most frames whose colours are sampled."""
MIN_VIEWS = 3
"""Where a pixel has fewer views well away from the person, those just outside the mask are used as well."""
STRAY_HAIR = 2.0
"""How many times farther from the head than from the body a pixel must be: no label holds stray hairs."""
SAMPLE_BYTES = 256 * 2**20
"""Most memory for those frames: of large frames fewer are sampled."""
ROW_BLOCK_BYTES = 64 * 2**20
"""The median is taken over blocks of rows of about this size."""


@dataclass(frozen=True)
class CleanPlate:
    """The scene without the person."""

    colours: np.ndarray
    """uint8 RGB ``[height, width, 3]``."""
    seen: np.ndarray
    """bool ``[height, width]``: some frame shows this pixel; False where it is filled in from its surroundings."""

    @property
    def never_seen(self) -> float:
        """Fraction of the pixels that no frame shows."""
        return float(1.0 - self.seen.mean())


def clean_plate(frames: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> CleanPlate:
    """Estimate the background behind the person.

    Half of the frames used are spread over the clip, the others are those that uncover what is seldom seen. Each pixel
    is the median of its colours over the sampled frames in which it is well away from the person. What is never seen is
    filled from its surroundings.

    Args:
        frames: uint8 RGB ``[height, width, 3]`` images by index.
        labels: uint8 ``[height, width]`` by index, values of :class:`~nerfblendshape_ns.data.contract.Label`.
    """
    height, width = np.asarray(frames[0]).shape[:2]
    num_samples = min(len(labels), MAX_SAMPLES, max(MIN_VIEWS, SAMPLE_BYTES // (height * width * 3)))
    picks = choose_frames(labels, num_samples)
    clearance = MARGIN * max(height, width)
    far = np.empty((len(picks), height, width), dtype=bool)
    near = np.empty_like(far)
    images = np.empty((len(picks), height, width, 3), dtype=np.uint8)
    for row, pick in enumerate(picks):
        images[row] = frames[int(pick)]
        distance = _distance_from_person(labels[int(pick)])
        far[row], near[row] = distance > clearance, distance > clearance / 2
    usable = np.where((far.sum(0) >= MIN_VIEWS)[None], far, near)
    plate = np.zeros((height, width, 3), dtype=np.uint8)
    rows = max(1, ROW_BLOCK_BYTES // (len(picks) * width * 3 * 4))
    for top in range(0, height, rows):
        block = slice(top, top + rows)
        plate[block] = _masked_median(images[:, block], usable[:, block])
    seen = usable.any(0)
    return CleanPlate(inpaint(plate, ~seen), seen)


def choose_frames(labels: Sequence[np.ndarray], num_samples: int) -> np.ndarray:
    """Which frames to sample the background from: half spread over the clip, half by what they uncover.

    A person who leans aside for a second uncovers in that second what no other frame shows.

    Args:
        labels: as for :func:`clean_plate`.
        num_samples: how many frames to choose.

    Returns:
        Ascending int ``[chosen]``, at most ``num_samples``.
    """
    candidates = np.array(spread(len(labels), MAX_CANDIDATES))
    if len(candidates) <= num_samples:
        return candidates
    uncovered = np.stack([_small_background(labels[int(candidate)]) for candidate in candidates])
    even = spread(len(candidates), max(1, num_samples // 2))
    chosen = np.zeros(len(candidates), dtype=bool)
    chosen[even] = True
    views = uncovered[even].sum(0)
    for _ in range(num_samples - len(even)):
        # A second view is worth a quarter of the first, a third one a ninth.
        gain = uncovered @ (1.0 / (1.0 + views) ** 2)
        best = int(np.where(chosen, -1.0, gain).argmax())
        chosen[best] = True
        views += uncovered[best]
    return candidates[chosen]


def _small_background(labels: np.ndarray) -> np.ndarray:
    """Where a frame shows nothing but background, flat float32, in a small image."""
    scale = min(1.0, CANDIDATE_SIZE / max(labels.shape))
    size = (max(1, round(labels.shape[1] * scale)), max(1, round(labels.shape[0] * scale)))
    person = (labels != Label.BACKGROUND).astype(np.float32)
    return (cv2.resize(person, size, interpolation=cv2.INTER_AREA) < 0.01).astype(np.float32).reshape(-1)


def _distance_from_person(labels: np.ndarray) -> np.ndarray:
    """Distance of each pixel from the person in pixels; from the head it counts divided by :data:`STRAY_HAIR`."""
    distance = np.full(labels.shape, np.inf, dtype=np.float32)
    for mask, factor in ((labels == Label.HEAD, 1 / STRAY_HAIR), (labels > Label.HEAD, 1.0)):
        if mask.any():
            away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
            np.minimum(distance, factor * away, out=distance)
    return distance


def _masked_median(images: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Median over the first axis of the usable pixels; 0 where there is none.

    The lower of the two middle values is taken, so that every channel has a value that was there.
    """
    median = np.zeros(images.shape[1:], dtype=np.uint8)
    seen = usable.any(0)
    # 256 sorts behind every colour, so that the first `count` entries are the usable ones.
    chosen = usable[:, seen]
    values = np.where(chosen[..., None], images[:, seen], np.int16(256)).astype(np.int16)
    values = np.sort(np.ascontiguousarray(values.transpose(1, 2, 0)), axis=-1)
    middle = (chosen.sum(0) - 1) // 2
    median[seen] = np.take_along_axis(values, middle[:, None, None], axis=-1)[..., 0]
    return median


def inpaint(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fill a hole smoothly from its rim by a pull-push pyramid.

    Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4. The holes here are as large as a person: methods that
    march inwards from the rim leave streaks there, this one a soft gradient.

    Args:
        image: uint8 RGB ``[height, width, 3]``.
        hole: bool ``[height, width]``, True where ``image`` has no value.

    Returns:
        uint8 RGB ``[height, width, 3]``, unchanged outside the hole; mid-grey where there is nothing but hole.
    """
    if not hole.any():
        return image.copy()
    if hole.all():
        return np.full_like(image, 128)
    filled = _pull_push(image.astype(np.float32), (~hole).astype(np.float32))
    return np.where(hole[..., None], np.clip(np.rint(filled), 0, 255).astype(np.uint8), image)


def _pull_push(colours: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Colours where the weight is 1, interpolated from the coarser level of the pyramid where it is less."""
    height, width = weights.shape
    if min(height, width) <= 2 or weights.min() > 0.999:
        total = max(float(weights.sum()), 1e-6)
        mean = (colours * weights[..., None]).sum((0, 1)) / total
        return np.where(weights[..., None] > 0.999, colours, mean).astype(np.float32)
    small = ((width + 1) // 2, (height + 1) // 2)
    small_weights = cv2.resize(weights, small, interpolation=cv2.INTER_AREA)
    small_colours = cv2.resize(colours * weights[..., None], small, interpolation=cv2.INTER_AREA)
    small_colours /= np.maximum(small_weights, 1e-6)[..., None]
    # A coarse pixel with a quarter of its area known already has a colour to trust.
    coarse = _pull_push(small_colours, np.minimum(small_weights * 4, 1.0))
    smooth = cv2.GaussianBlur(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), (0, 0), 1.0)
    return colours * weights[..., None] + smooth * (1 - weights[..., None])
