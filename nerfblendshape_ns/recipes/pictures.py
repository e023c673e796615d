"""The contact sheet of an evaluation, and images and sound of its videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable, Iterator, List, Mapping, Optional, Sequence

import cv2
import numpy as np
import torch
from nerfstudio.utils import colormaps

from nerfblendshape_ns.avatar.avatar import byte_image
from nerfblendshape_ns.common.contact_sheet import GAP, caption, side_by_side
from nerfblendshape_ns.common.file_io import save_image
from nerfblendshape_ns.common.media import has_sound
from nerfblendshape_ns.common.video_writing import Sound
from nerfblendshape_ns.data.frame_times import frame_times
from nerfblendshape_ns.data.layouts import read_clip
from nerfblendshape_ns.driving.own_dataset import source_video
from nerfblendshape_ns.evaluation.frames import ByteImage, RenderedFrame

TILE = 256
"""Frames smaller than this are enlarged by a whole factor, so that one can see them."""
DEPTH_OPACITY = 0.5
"""Depth is shown where at least so much of a ray is stopped."""


def write_sheet(path: Path, frames: Sequence[RenderedFrame]) -> None:
    """Write a contact sheet with one column per frame: truth (where there is one), render, depth.

    Args:
        path: a ``.png`` file.
        frames: at least one, all of one size.
    """
    depth_range = _depth_range(frames)
    columns = []
    for frame in frames:
        tiles = [] if frame.truth is None else [_tile(frame.truth)]
        tiles += [_tile(frame.render), _tile(_depth_picture(frame, *depth_range))]
        tiles = [np.pad(tile, ((0, GAP), (0, 0), (0, 0)), constant_values=255) for tile in tiles]
        columns.append(np.concatenate([caption(_title(frame), tiles[0].shape[1]), *tiles]))
    save_image(path, side_by_side(columns))


def video_images(frames: Iterable[RenderedFrame]) -> Iterator[ByteImage]:
    """The images of a video: truth beside render where there is a truth, the render alone elsewhere."""
    for frame in frames:
        parts = [] if frame.truth is None else [_tile(frame.truth)]
        yield np.concatenate([*parts, _tile(frame.render)], axis=1)


def _tile(pixels: ByteImage) -> ByteImage:
    """An image, enlarged by a whole factor where it is small."""
    factor = max(1, -(-TILE // max(pixels.shape[:2])))
    if factor == 1:
        return pixels
    return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def _depth_range(frames: Sequence[RenderedFrame]) -> List[Optional[float]]:
    seen = np.concatenate([frame.depth[frame.opacity > 255 * DEPTH_OPACITY] for frame in frames]).astype(np.float32)
    return [float(value) for value in np.percentile(seen, [2, 98])] if len(seen) else [None, None]


def _depth_picture(frame: RenderedFrame, near: Optional[float], far: Optional[float]) -> ByteImage:
    if near is None or far is None:
        return np.full((*frame.depth.shape[:2], 3), 255, np.uint8)
    far = max(far, near + 1e-6)
    depth, opacity = torch.from_numpy(frame.depth).float(), torch.from_numpy(frame.opacity).float() / 255
    return byte_image(colormaps.apply_depth_colormap(depth, opacity, near, far))


def _title(frame: RenderedFrame) -> str:
    return frame.label if frame.psnr is None else f"{frame.label}   {frame.psnr:.1f} dB"


def sound_of_split(metadata: Mapping[str, Any]) -> Optional[Sound]:
    """What was heard from a split's first frame on; None where the clip's video is gone or silent.

    Args:
        metadata: of the split's dataset, as the dataparser gives it.
    """
    root = Path(metadata["root"])
    video = source_video(root)
    if video is None or not has_sound(video):
        return None
    clip = read_clip(root, metadata["layout"])
    first = next(index for index, frame in enumerate(clip.frames) if frame.img_id == metadata["img_ids"][0])
    return Sound(video, float(frame_times(clip)[first]))
