"""Rendered frames on disk while a drive is under way, so that a killed one goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from nerfblendshape_ns.common.file_io import load_image, save_image
from nerfblendshape_ns.common.output_folders import UNFINISHED


def drive_key(settings: Dict[str, Any], arrays: List[np.ndarray]) -> str:
    """A digest of all that the frames follow from: other settings, expressions or poses give another folder.

    Args:
        settings: plain JSON values.
        arrays: coefficients, poses and the like.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]


class FrameStore:
    """A folder that holds the finished frames as PNG files until all are there.

    Args:
        root: the folder of frames that is being made, or for a video :func:`frames_beside` it.
        key: of :func:`drive_key`; frames of another key are left alone.
    """

    def __init__(self, root: Path, key: str) -> None:
        self.folder = root / UNFINISHED / key

    def path(self, frame: int) -> Path:
        """File of a frame."""
        return self.folder / f"{frame:06d}.png"

    def has(self, frame: int) -> bool:
        """Whether a frame is finished; half-written ones have another name."""
        return self.path(frame).exists()

    def write(self, frame: int, image: np.ndarray) -> None:
        """Store a frame, uint8 RGB ``[height, width, 3]`` or RGBA ``[height, width, 4]``.

        Raises:
            UserError: the file cannot be written.
        """
        save_image(self.path(frame), image)

    def read(self, frame: int) -> np.ndarray:
        """The RGB of a finished frame, uint8 ``[height, width, 3]``.

        Raises:
            UserError: the file cannot be read.
        """
        return load_image(self.path(frame))

    def discard_half_written(self) -> None:
        """Remove what a killed drive was writing, so that it does not come among the frames."""
        for path in self.folder.glob(".*"):
            path.unlink()


def frames_beside(video: Path) -> Path:
    """The hidden folder for the frames of a video that is being made."""
    return video.with_name(f".{video.name}.frames")
