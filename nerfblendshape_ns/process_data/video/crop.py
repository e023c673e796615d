"""The fixed square to which a clip is cropped, chosen by where the face is over the whole clip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Sequence, Tuple, Union

import numpy as np

from nerfblendshape_ns.common.errors import UserError

# Height of the crop in face heights (brow line to chin as the 468 landmarks see it), enough for hair and shoulders.
CROP_FACE_HEIGHTS = 2.7
# Margins around the union of all faces, in face heights: for hair, for ears and hair, for the neck.
MARGIN_ABOVE, MARGIN_BESIDE, MARGIN_BELOW = 0.75, 0.6, 0.75
# A square frame of which the crop would keep this fraction of the side is left whole.
KEEP_WHOLE_FRACTION = 0.85
# The smallest output side that still shows a face.
MIN_SIDE = 64


@dataclass(frozen=True)
class FrameWindow:
    """The rectangle of the source frame that becomes an output image, and the output's size."""

    left: int
    """First source column kept."""
    top: int
    """First source row kept."""
    width: int
    """Columns kept."""
    height: int
    """Rows kept."""
    out_width: int
    """Width of the written image."""
    out_height: int
    """Height of the written image."""

    @property
    def scale(self) -> Tuple[float, float]:
        """Output pixels per source pixel, horizontally and vertically."""
        return self.out_width / self.width, self.out_height / self.height

    def principal_point(self, centre_x: float, centre_y: float) -> Tuple[float, float]:
        """The source's optical centre in output pixels; it may lie off the output's centre."""
        scale_x, scale_y = self.scale
        return (centre_x - self.left) * scale_x, (centre_y - self.top) * scale_y

    def to_output(self, points: np.ndarray) -> np.ndarray:
        """Points ``[..., 2]`` of the source in output pixels."""
        return (points - np.array([self.left, self.top])) * np.array(self.scale)


def fit_size(width: int, height: int, max_size: int) -> Tuple[int, int]:
    """Scale ``width`` x ``height`` down, never up, so that the longer side is at most ``max_size``; sides are even."""
    scale = min(1.0, max_size // 2 * 2 / max(width, height))
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def choose_window(
    face_boxes: Sequence[Sequence[float]], content: Tuple[int, int, int, int], crop: str, max_size: int
) -> FrameWindow:
    """The window of a clip inside ``content`` (left, top, width, height of the source without black bars).

    Args:
        face_boxes: as for :func:`face_window`, in pixels of the whole source.
        content: the source without black bars.
        crop: ``face`` for :func:`face_window`, ``none`` for all of it.
        max_size: largest output side in pixels. What is no larger is not scaled; an odd side loses a pixel.
    """
    left, top, width, height = content
    if crop == "face":
        window = face_window(np.asarray(face_boxes) - np.array([left, top, left, top]), width, height, max_size)
    else:
        window = _window(0, 0, width, height, max_size)
    return replace(window, left=window.left + left, top=window.top + top)


def face_window(
    face_boxes: Union[np.ndarray, Sequence[Sequence[float]]], width: int, height: int, max_size: int
) -> FrameWindow:
    """Choose the square window that holds head and shoulders in every frame.

    The side is the larger of :data:`CROP_FACE_HEIGHTS` typical face heights and what the union of all face boxes needs
    with a margin, at most the shorter side of the frame. The window is centred on the union horizontally and moved
    the least that keeps it inside the frame.

    Args:
        face_boxes: ``(x0, y0, x1, y1)`` in source pixels for some frames of the clip; at least one.
        width: source width in pixels.
        height: source height in pixels.
        max_size: largest output side in pixels.

    Returns:
        A square window inside the frame, or the whole frame where it is square already and nearly filled.

    Raises:
        UserError: the faces are too small to give a usable image.
    """
    boxes = np.asarray(face_boxes, dtype=np.float64).reshape(-1, 4)
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    face_height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    needed = (
        CROP_FACE_HEIGHTS * face_height,
        high[0] - low[0] + 2 * MARGIN_BESIDE * face_height,
        high[1] - low[1] + (MARGIN_ABOVE + MARGIN_BELOW) * face_height,
    )
    shorter = min(width, height)
    side = int(min(round(max(needed)), shorter))
    if width == height and side >= KEEP_WHOLE_FRACTION * width:
        return _window(0, 0, width, height, max_size)
    if side < MIN_SIDE:
        raise UserError(
            f"the face is only {face_height:.0f} pixels high, too small to track; record closer to the camera "
            "or at a higher resolution."
        )
    # The face sits a little above the middle, since there is more below it (neck, shoulders) than above (hair).
    centre_x = (low[0] + high[0]) / 2
    spare = side - (high[1] - low[1])
    top_wanted = low[1] - spare * MARGIN_ABOVE / (MARGIN_ABOVE + MARGIN_BELOW)
    left = int(np.clip(round(centre_x - side / 2), 0, width - side))
    top = int(np.clip(round(top_wanted), 0, height - side))
    return _window(left, top, side, side, max_size)


def _window(left: int, top: int, width: int, height: int, max_size: int) -> FrameWindow:
    if max(width, height) <= max_size:
        # Scaling by a single pixel would mix neighbours in the middle of the image, so the odd one is left out.
        width, height = max(2, width // 2 * 2), max(2, height // 2 * 2)
    out_width, out_height = fit_size(width, height, max_size)
    return FrameWindow(left, top, width, height, out_width, out_height)
