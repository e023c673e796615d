"""The contact sheet and the images of the videos of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Iterable, Iterator, List, Optional, Sequence

import cv2
import numpy as np
from nerfstudio.utils import colormaps
from PIL import Image, ImageDraw

from nerfblendshape_ns.common.file_io import save_image
from nerfblendshape_ns.evaluation.frames import ByteImage, RenderedFrame, byte_image

TILE = 256
"""Frames smaller than this are enlarged by a whole factor, so that one can see them."""
CAPTION = 18
"""Height of a line of text in pixels."""
DEPTH_OPACITY = 0.5
"""Depth is shown where at least so much of a ray is stopped."""
GAP = 4
"""White pixels between two tiles."""


def write_sheet(path: Path, frames: Sequence[RenderedFrame]) -> None:
    """Write a picture with one column a frame: truth (where there is one), render, depth.

    Args:
        path: a ``.png`` file.
        frames: at least one, all of one size.
    """
    depth_range = _depth_range(frames)
    columns = []
    for frame in frames:
        tiles = [] if frame.truth is None else [_tile(frame.truth)]
        tiles += [_tile(frame.render), _tile(_depth_picture(frame, *depth_range))]
        column = [_text_line(_caption(frame), tiles[0].shape[1])]
        for tile in tiles:
            column += [tile, np.full((GAP, tile.shape[1], 3), 255, np.uint8)]
        columns += [np.concatenate(column), np.full((sum(len(part) for part in column), GAP, 3), 255, np.uint8)]
    height = max(len(column) for column in columns)
    padded = [np.pad(c, ((0, height - len(c)), (0, 0), (0, 0)), constant_values=255) for c in columns]
    save_image(path, np.concatenate(padded, axis=1))


def video_images(frames: Iterable[RenderedFrame]) -> Iterator[ByteImage]:
    """The images of a video: truth beside render where there is a truth, the render alone elsewhere."""
    for frame in frames:
        parts = [] if frame.truth is None else [_tile(frame.truth)]
        yield np.concatenate([*parts, _tile(frame.render)], axis=1)


def _tile(pixels: ByteImage) -> ByteImage:
    """A picture, enlarged by a whole factor where it is small."""
    factor = max(1, -(-TILE // max(pixels.shape[:2])))
    if factor == 1:
        return pixels
    return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def _depth_range(frames: Sequence[RenderedFrame]) -> List[Optional[float]]:
    seen = np.concatenate([frame.depth[frame.opacity > DEPTH_OPACITY].numpy() for frame in frames])
    return [float(value) for value in np.percentile(seen, [2, 98])] if len(seen) else [None, None]


def _depth_picture(frame: RenderedFrame, near: Optional[float], far: Optional[float]) -> ByteImage:
    if near is None or far is None:
        return np.full((*frame.depth.shape[:2], 3), 255, np.uint8)
    far = max(far, near + 1e-6)
    return byte_image(colormaps.apply_depth_colormap(frame.depth, frame.opacity, near, far))


def _caption(frame: RenderedFrame) -> str:
    return frame.label if frame.psnr is None else f"{frame.label}   {frame.psnr:.1f} dB"


def _text_line(text: str, width: int) -> np.ndarray:
    line = Image.new("RGB", (width, CAPTION), "white")
    ImageDraw.Draw(line).text((3, 3), text, fill="black")
    return np.asarray(line)
