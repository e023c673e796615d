"""Small videos for the tests of data preparation, and where real ones may be."""

import os
from pathlib import Path
from typing import Callable

import cv2
import numpy as np


def write_video(
    path: Path,
    num_frames: int,
    size: tuple = (96, 96),
    fps: float = 25.0,
    picture: Callable[[int], np.ndarray] = None,  # type: ignore[assignment]
) -> Path:
    """An mp4 of ``size`` (width, height) whose frame ``i`` is ``picture(i)`` (RGB), by default grey that brightens."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
    for index in range(num_frames):
        if picture is None:
            frame = np.full((size[1], size[0], 3), 20 + 5 * index, np.uint8)
        else:
            frame = picture(index)
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def shared_folder() -> Path:
    return Path(os.environ.get("NBS_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
