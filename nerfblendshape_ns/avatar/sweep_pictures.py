"""The sheet and the video of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator, List, Optional, Tuple

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from nerfblendshape_ns.avatar.avatar import Avatar
from nerfblendshape_ns.avatar.sweep import CoefficientSweep, Sweep, by_change, render_expression, to_bytes
from nerfblendshape_ns.common.contact_sheet import BLACK, GAP, caption, side_by_side
from nerfblendshape_ns.common.file_io import save_image
from nerfblendshape_ns.common.video_writing import write_video

TILE = 144
"""Longer side of a picture on the sheet."""
VIDEO_TILE = 256
"""Smallest longer side of a picture in the video."""
RED, GREY = (200, 0, 0), (130, 130, 130)
MARGIN = 0.03
"""The sheet shows the head and so much of the picture's side beyond it."""
SEEN_SHARE = 0.01
"""An end of the range nearer to neutral than this share of it is not shown in the video."""


def write_sweep_sheet(path: Path, sweep: Sweep) -> None:
    """Write the sheet: a row for each coefficient with minimum, neutral, maximum and what changes.

    Rows go down one block of columns after the other, the strongest coefficient first; the heat is on one scale for
    all, so that weak coefficients look weak, its square root is drawn so that they can be seen.

    Args:
        path: a ``.png`` file.
        sweep: at least one coefficient.
    """
    scale, around = heat_scale(sweep), _head_window(sweep)
    neutral = _tile(sweep.neutral[around], TILE)
    rows = []
    for one in by_change(sweep):
        heat = heat_picture(one.heat, sweep.neutral, scale)
        pictures = [_tile(one.at_minimum[around], TILE), neutral, _tile(one.at_maximum[around], TILE)]
        pictures.append(_tile(heat[around], TILE))
        row = side_by_side(pictures)
        rows.append(np.concatenate([caption(_title(one), row.shape[1], BLACK if one.learnt else RED), row]))
    height, width = rows[0].shape[:2]
    # As near to a square as whole blocks allow.
    blocks = max(1, round((len(rows) * height / width) ** 0.5))
    per_block = -(-len(rows) // blocks)
    columns = []
    for start in range(0, len(rows), per_block):
        block = rows[start : start + per_block]
        block += [np.full_like(rows[0], 255)] * (per_block - len(block))
        titles = [caption(text, neutral.shape[1], GREY) for text in ("minimum", "neutral", "maximum", "change")]
        columns.append(np.concatenate([side_by_side(titles), *block]))
    save_image(path, np.pad(side_by_side(columns, 4 * GAP), ((GAP,) * 2, (GAP,) * 2, (0, 0)), constant_values=255))


def write_sweep_video(
    path: Path,
    avatar: Avatar,
    sweep: Sweep,
    frames_each: int,
    size: Optional[int] = None,
    fps: float = 25.0,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Write an ``.mp4``: one coefficient after the other goes to its maximum and back, then to its minimum and back.

    Args:
        path: the file.
        avatar: rendered anew between the ends.
        sweep: of the avatar.
        frames_each: frames from neutral to an end and back, at least 2.
        size: longer side of the rendered picture; None takes that of the training images.
        fps: frames per second.
        advance: called after each coefficient.
    """
    write_video(path, _video_frames(avatar, sweep, frames_each, size, advance), fps)


def heat_scale(sweep: Sweep) -> float:
    """The change that is drawn brightest: that of the strongest coefficient, bar a few pixels; in levels of 255."""
    return max(1.0, *(float(np.percentile(one.heat, 99.5)) for one in sweep.coefficients))


def heat_picture(
    heat: Float[np.ndarray, "height width"], neutral: UInt8[np.ndarray, "height width 3"], scale: float
) -> UInt8[np.ndarray, "height width 3"]:
    """A change in colours over a dim grey face."""
    share = np.clip(heat / scale, 0.0, 1.0) ** 0.5
    colour = cv2.cvtColor(cv2.applyColorMap(to_bytes(share), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    grey = 0.35 * cv2.cvtColor(neutral, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    return np.clip(grey * (1.0 - share[..., None]) + colour, 0, 255).astype(np.uint8)


def _video_frames(
    avatar: Avatar, sweep: Sweep, frames_each: int, size: Optional[int], advance: Callable[[], None]
) -> Iterator[np.ndarray]:
    """Render and heat side by side."""
    expression, scale = avatar.neutral().expression, heat_scale(sweep)
    neutral = render_expression(avatar, expression, size)
    shares = np.sin(np.linspace(0, np.pi / 2, max(2, frames_each // 2 + 1))) ** 2
    for one in by_change(sweep):
        index = avatar.names.index(one.name)
        for end in (one.maximum, one.minimum):
            if abs(end - one.neutral) <= SEEN_SHARE * (one.maximum - one.minimum):
                continue
            way: List[np.ndarray] = []
            for share in shares:
                value = one.neutral + float(share) * (end - one.neutral)
                moved = torch.clone(expression)
                moved[index] = value
                picture = render_expression(avatar, moved, size)
                heat = 255.0 * np.abs(picture - neutral).mean(-1)
                tiles = [to_bytes(picture), heat_picture(heat, to_bytes(neutral), scale)]
                row = side_by_side([_tile(tile, max(VIDEO_TILE, *tile.shape[:2])) for tile in tiles])
                way.append(np.concatenate([caption(f"{one.name} = {value:.3f}", row.shape[1], BLACK), row]))
            yield from way + way[-2::-1]
        advance()


def _head_window(sweep: Sweep) -> Tuple[slice, slice]:
    """Rows and columns of a square, where the picture has room for one, round the head and all that moves it."""
    moving = np.max([one.heat for one in sweep.coefficients], axis=0) > sweep.threshold
    shown = (sweep.head | moving).astype(np.uint8)
    # The largest piece: a stray speck far from the head is no reason to show everything.
    _, _, pieces, _ = cv2.connectedComponentsWithStats(shown)
    if len(pieces) < 2:  # Nothing but background.
        return slice(None), slice(None)
    left, top, width, height = pieces[1 + int(pieces[1:, cv2.CC_STAT_AREA].argmax())][:4]
    reach = max(width, height) / 2 + MARGIN * max(shown.shape)
    window = []
    for middle, length in zip((top + height / 2, left + width / 2), shown.shape):
        start = max(0, min(round(middle - reach), round(length - 2 * reach)))
        window.append(slice(start, min(length, start + max(1, round(2 * reach)))))
    return window[0], window[1]


def _title(one: CoefficientSweep) -> str:
    title = f"{one.name}  {one.minimum:.2f} … {one.maximum:.2f}   change {max(one.change):.0f}"
    return title if one.learnt else f"{title}   not learnt: {one.reasons[0]}"


def _tile(picture: np.ndarray, side: int) -> np.ndarray:
    """Scale so that the longer side is ``side``."""
    factor = side / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
