"""Label images: colour codes, downscaling, and the soft head mask that every part of the project shares."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple, Union

import cv2
import numpy as np

from nerfblendshape_ns.common.frame_numbers import name_frames
from nerfblendshape_ns.data.contract import Label

REFERENCE_SIZE = 512
"""Image size, in pixels of the longer side, that :data:`SOFT_ALPHA_SIGMA` is given for."""
SOFT_ALPHA_SIGMA = 1.5
"""Standard deviation of the head mask's soft edge in pixels of a 512-pixel image."""

SEAM_WIDTH = 0.03
"""Half the width of the band round the seam, as a fraction of the image's longer side."""


def head_mask(labels: np.ndarray) -> np.ndarray:
    """Where the head is, seen or with something before it.

    Args:
        labels: uint8 ``[height, width]`` values of :class:`~nerfblendshape_ns.data.contract.Label`.

    Returns:
        bool ``[height, width]``.
    """
    return (labels == Label.HEAD) | (labels == Label.OCCLUDED)


def soft_alpha(labels: np.ndarray) -> np.ndarray:
    """The head's opacity: the head label, blurred by 1.5 pixels of a 512-pixel image.

    Args:
        labels: ``[height, width]`` values of :class:`~nerfblendshape_ns.data.contract.Label`, at full resolution.

    Returns:
        float32 ``[height, width]`` in 0…1.
    """
    sigma = SOFT_ALPHA_SIGMA * max(labels.shape) / REFERENCE_SIZE
    return cv2.GaussianBlur(head_mask(labels).astype(np.float32), (0, 0), sigma)


def area_resize(image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Resize to ``size`` (height, width) by averaging areas."""
    if image.shape[:2] == tuple(size):
        return image
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)


def resize_labels(labels: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Downscale labels: each output pixel gets the label that covers most of it.

    Args:
        labels: uint8 ``[height, width]``.
        size: height and width of the result.

    Returns:
        uint8 ``[height, width]``.
    """
    if labels.shape == tuple(size):
        return labels
    fractions = [area_resize((labels == label).astype(np.float32), size) for label in Label]
    return np.argmax(np.stack(fractions), axis=0).astype(np.uint8)


def labels_from_colours(colours: np.ndarray) -> np.ndarray:
    """Labels from RAD-NeRF's colour-coded parsing image; each pixel takes the nearest colour of the code.

    Args:
        colours: uint8 RGB ``[height, width, 3]``: head blue, neck green, torso red, background white, or black as some
            masks leave it where nothing was found.

    Returns:
        uint8 ``[height, width]``.
    """
    # Each channel is full or empty in the code, so the three bits of a pixel say which colour it is.
    bits = (colours > 127).astype(np.uint8)
    label_of_bits = np.zeros((2, 2, 2), dtype=np.uint8)
    label_of_bits[0, 0, 1], label_of_bits[0, 1, 0], label_of_bits[1, 0, 0] = Label.HEAD, Label.NECK, Label.TORSO
    return label_of_bits[bits[..., 0], bits[..., 1], bits[..., 2]]


def labels_from_face_parsing(classes: np.ndarray, alpha: Optional[np.ndarray] = None) -> np.ndarray:
    """Labels from INSTA's ``seg_mask``: the class of a 19-class face parser times −10 plus 260 in the red channel.

    250 skin, 240 and 230 brows, 210 and 200 eyes, 190 glasses, 180 and 170 ears, 160 earring, 150 nose, 140 mouth, 130
    and 120 lips, 110 neck, 100 necklace, 90 cloth, 80 hair, 70 hat, 0 background.

    Args:
        classes: uint8 ``[height, width]``, the red channel.
        alpha: uint8 ``[height, width]``, the matte of head and neck; finer than the classes at hair. Where it sees the
            person and the parser nothing, the nearest label of head or neck is taken. None takes the classes alone.

    Returns:
        uint8 ``[height, width]``.
    """
    number = (classes.astype(np.int64) + 5) // 10
    labels = np.full(classes.shape, np.uint8(Label.BACKGROUND))
    labels[number >= 12] = Label.HEAD
    labels[(number == 8) | (number == 7)] = Label.HEAD
    labels[(number == 11) | (number == 10)] = Label.NECK
    labels[number == 9] = Label.TORSO
    if alpha is None:
        return labels
    person = (labels == Label.HEAD) | (labels == Label.NECK)
    opaque = alpha > 127
    labels[person & ~opaque] = Label.BACKGROUND
    known = person & opaque
    unknown = opaque & (labels == Label.BACKGROUND)
    if known.any() and unknown.any():
        labels[unknown] = nearest_known(labels, known)[0][unknown]
    return labels


def nearest_known(values: np.ndarray, known: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The value of the nearest known pixel, and how far away that is.

    Args:
        values: ``[height, width, ...]``.
        known: bool ``[height, width]``; without a known pixel all values are 0.

    Returns:
        Values of the same shape and type, and the distances in pixels, float32 ``[height, width]``.
    """
    away, nearest = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    value_of = np.zeros((nearest.max() + 1, *values.shape[2:]), dtype=values.dtype)
    value_of[nearest[known]] = values[known]
    return value_of[nearest], away


def extend_colours(image: np.ndarray, mask: np.ndarray, distance: float) -> np.ndarray:
    """Extend the colours inside a mask: each outside pixel within ``distance`` takes those of the nearest inside pixel.

    An image that shows the head alone on white has no colours under the soft edge of its mask; without this the white
    would bleed into the head's outline.

    Args:
        image: uint8 ``[height, width, 3]``.
        mask: bool ``[height, width]``.
        distance: how far, in pixels.

    Returns:
        uint8 ``[height, width, 3]``.
    """
    if not mask.any():
        return image
    colours, away = nearest_known(image, mask)
    return np.where((away <= distance)[..., None], colours, image)


def occluded_fraction(labels: np.ndarray) -> float:
    """Fraction of the head that something hides, of labels ``[height, width]``; 0 without a head."""
    hidden = np.count_nonzero(labels == Label.OCCLUDED)
    return hidden / np.count_nonzero(head_mask(labels)) if hidden else 0.0


def describe_occlusion(fractions: Sequence[float], img_ids: Union[Sequence[int], np.ndarray]) -> Optional[str]:
    """The frames in which something is before the face, and how much of the head it hides; None where nothing is.

    Args:
        fractions: :func:`occluded_fraction` of each frame.
        img_ids: numbers of the frames.
    """
    hidden = np.flatnonzero(fractions)
    if not len(hidden):
        return None
    return f"{name_frames([img_ids[frame] for frame in hidden], 4)} ({max(fractions):.1%} of the head at most)"


def seam(labels: np.ndarray) -> np.ndarray:
    """Where the head meets neck or torso: pixels of either that touch the other.

    Args:
        labels: uint8 ``[height, width]``.

    Returns:
        uint8 ``[height, width]``, 1 on the seam.
    """
    head, body = head_mask(labels), (labels == Label.NECK) | (labels == Label.TORSO)
    touching = np.ones((3, 3), np.uint8)
    near_head = cv2.dilate(head.astype(np.uint8), touching) > 0
    near_body = cv2.dilate(body.astype(np.uint8), touching) > 0
    return ((head & near_body) | (body & near_head)).astype(np.uint8)


def seam_ring(labels: np.ndarray) -> np.ndarray:
    """A band round the seam, both sides of it: where gaps and double edges would show.

    Args:
        labels: uint8 ``[height, width]``.

    Returns:
        bool ``[height, width]``; all False where head and torso do not touch.
    """
    line = seam(labels)
    if not line.any():
        return line > 0
    return cv2.distanceTransform(1 - line, cv2.DIST_L2, 5) <= SEAM_WIDTH * max(labels.shape)
