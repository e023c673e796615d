"""Small videos for the tests of data preparation, and where real ones may be."""

import itertools
import os
from pathlib import Path
from typing import Callable

import cv2
import numpy as np

from nerfblendshape_ns.common import video_writing
from nerfblendshape_ns.process_data.video import frames


def write_video(
    path: Path,
    num_frames: int,
    size: tuple = (96, 96),
    fps: float = 25.0,
    picture: Callable[[int], np.ndarray] = None,  # type: ignore[assignment]
) -> Path:
    """An mp4 of ``size`` (width, height); frame ``i`` is ``picture(i)`` (RGB), by default a chequer that brightens."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
    for index in range(num_frames):
        if picture is None:
            frame = chequer(20 + 5 * index, size)
        else:
            frame = picture(index)
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def cut_video(source: Path, path: Path, num_frames: int) -> Path:
    """The first frames of a video, without its sound."""
    images = (image for _, _, image in itertools.islice(frames.decode(source), num_frames))
    video_writing.write_video(path, images, frames.probe_video(source).fps)
    return path


def chequer(level: int, size: tuple, contrast: int = 18, tile: int = 16) -> np.ndarray:
    """RGB squares whose mean is ``level``: a picture that shows something."""
    rows, columns = np.mgrid[: size[1], : size[0]] // tile
    signs = 2 * ((rows + columns) % 2) - 1
    return np.repeat((level + contrast * signs)[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)


def shared_folder() -> Path:
    return Path(os.environ.get("NBS_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
