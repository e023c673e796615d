"""Cleanup of label images: one head with what hangs from it, no islands, no holes, no slivers."""

from __future__ import annotations

from typing import Optional, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.process_data.labels.face_layout import disc


def tidy_labels(labels: np.ndarray, face_point: Tuple[float, float], face_height: float) -> np.ndarray:
    """Remove errors of labels that no person can show.

    Slivers of head that run down between neck and clothes go to their neighbours; the head is the piece that holds the
    face, and pieces beside it (an earring, a pigtail below its tie); small pieces of neck, clothes and background are
    absorbed by what surrounds them.

    Args:
        labels: uint8 ``[height, width]``, values of :class:`~nerfblendshape_ns.data.contract.Label`.
        face_point: x and y in pixels of a point of the face.
        face_height: height of the face in pixels, the unit of the sizes here.

    Returns:
        uint8 ``[height, width]``.
    """
    labels = cut_slivers(labels, 0.02 * face_height)
    area = face_height * face_height
    labels = absorb_islands(labels, Label.HEAD, keep_point=face_point, near=0.1 * face_height)
    labels = absorb_islands(labels, Label.NECK, min_area=0.02 * area, keep_bottom=True)
    labels = absorb_islands(labels, Label.TORSO, min_area=0.05 * area, keep_bottom=True)
    return absorb_islands(labels, Label.BACKGROUND, min_area=0.01 * area)


def absorb_islands(
    labels: np.ndarray,
    label: int,
    *,
    min_area: Optional[float] = None,
    keep_point: Tuple[float, float] = (0.0, 0.0),
    near: float = 0.0,
    keep_bottom: bool = False,
) -> np.ndarray:
    """Relabel unwanted pieces of one label with the label most common around them.

    Args:
        labels: uint8 ``[height, width]``.
        label: whose pieces are meant.
        min_area: pieces of at least this many pixels stay; None keeps one piece only.
        keep_point: with ``min_area=None``, the piece at this x, y stays; the largest if another label lies there.
        near: with ``min_area=None``, larger pieces stay too if they are at most this many pixels from that one.
        keep_bottom: pieces that touch the lower border stay when they have at least a tenth of ``min_area``.

    Returns:
        uint8 ``[height, width]``, a copy where something changed.
    """
    mask = (labels == label).astype(np.uint8)
    if cv2.connectedComponents(mask, connectivity=4)[0] <= 2 and np.count_nonzero(mask) >= (min_area or 0):
        return labels
    # Sizes take three times as long as the number of pieces.
    count, pieces, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    areas = statistics[:, cv2.CC_STAT_AREA]
    if min_area is None:
        row = int(np.clip(keep_point[1], 0, labels.shape[0] - 1))
        column = int(np.clip(keep_point[0], 0, labels.shape[1] - 1))
        kept = int(pieces[row, column]) or 1 + int(areas[1:].argmax())
        wanted = {kept}
        if near >= 1 and (areas[1:] > near**2).sum() > 1:
            size = 2 * int(near) + 1
            around = cv2.dilate((pieces == kept).astype(np.uint8), np.ones((size, size), np.uint8)) > 0
            wanted |= {int(piece) for piece in np.unique(pieces[around]) if areas[piece] > near**2}
        unwanted = [piece for piece in range(1, count) if piece not in wanted]
    else:
        bottom = statistics[:, cv2.CC_STAT_TOP] + statistics[:, cv2.CC_STAT_HEIGHT] == labels.shape[0]
        needed = np.where(bottom & keep_bottom, 0.1 * min_area, min_area)
        unwanted = [piece for piece in range(1, count) if areas[piece] < needed[piece]]
    result = labels.copy() if unwanted else labels
    for piece in unwanted:
        left, top, width, height = statistics[piece, :4]
        window = (slice(max(0, top - 1), top + height + 1), slice(max(0, left - 1), left + width + 1))
        inside = (pieces[window] == piece).astype(np.uint8)
        rim = (cv2.dilate(inside, np.ones((3, 3), np.uint8)) > 0) & (inside == 0)
        votes = np.bincount(result[window][rim], minlength=len(Label))
        votes[label] = 0
        if votes.any():
            result[window][inside > 0] = votes.argmax()
    return result


def cut_slivers(labels: np.ndarray, radius: float) -> np.ndarray:
    """Relabel thin spikes of head between neck and clothes; strands of hair against either or the background stay.

    Args:
        labels: uint8 ``[height, width]``.
        radius: spikes up to about twice this many pixels wide go.

    Returns:
        uint8 ``[height, width]``.
    """
    kernel = disc(radius)
    head = (labels == Label.HEAD).astype(np.uint8)
    spikes = (head > 0) & (cv2.morphologyEx(head, cv2.MORPH_OPEN, kernel) == 0)
    if not spikes.any():
        return labels
    near = []
    for label in (Label.BACKGROUND, Label.NECK, Label.TORSO):
        mask = (labels == label).astype(np.uint8) * np.uint8(255)
        near.append(cv2.blur(mask, (2 * len(kernel) + 1,) * 2, borderType=cv2.BORDER_REPLICATE)[spikes].astype(int))
    background, neck, torso = near
    taken = (neck + torso > background) & (np.minimum(neck, torso) > 0.1 * (neck + torso))
    result = labels.copy()
    result[spikes] = np.where(taken, np.where(neck > torso, Label.NECK, Label.TORSO), Label.HEAD)
    return result
