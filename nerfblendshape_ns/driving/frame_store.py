"""Rendered frames on disk while a drive is under way, so that a killed one goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Dict, List

import cv2
import numpy as np

from nerfblendshape_ns.data.contract import write_atomically
from nerfblendshape_ns.errors import UserError

PATTERN = "%06d.png"
"""File names of the frames, for ffmpeg."""


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
    """A hidden folder beside the output that holds the finished frames as PNG files.

    Args:
        output: the file or folder that is being made.
        key: of :func:`drive_key`.
    """

    def __init__(self, output: Path, key: str) -> None:
        self.output = output
        self.folder = output.with_name(f".{output.name}.{key}.frames")

    def path(self, frame: int) -> Path:
        """File of a frame."""
        return self.folder / (PATTERN % frame)

    def has(self, frame: int) -> bool:
        """Whether a frame is finished; half-written ones have another name."""
        return self.path(frame).exists()

    def write(self, frame: int, image: np.ndarray) -> None:
        """Store a frame.

        Args:
            frame: its number.
            image: uint8 RGB ``[height, width, 3]`` or RGBA ``[height, width, 4]``.

        Raises:
            UserError: the file cannot be written.
        """
        order = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR

        def save(temporary: Path) -> None:
            if not cv2.imwrite(str(temporary), cv2.cvtColor(image, order), [cv2.IMWRITE_PNG_COMPRESSION, 3]):
                raise UserError(f"could not write {self.path(frame)}; is the disk full or the folder read-only?")

        write_atomically(self.path(frame), save)

    def publish_folder(self) -> None:
        """Let the frames become the output folder, in place of frames that an earlier drive left there.

        Raises:
            UserError: the output holds files that no drive has written.
        """
        check_output_folder(self.output)
        if self.output.exists():
            shutil.rmtree(self.output)
        os.replace(self.folder, self.output)

    def clean(self) -> None:
        """Remove the frames of this drive and those that killed drives to the same output left."""
        for folder in self.output.parent.glob(f".{self.output.name}.*.frames"):
            shutil.rmtree(folder, ignore_errors=True)


def check_output_folder(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but numbered PNG frames.

    Raises:
        UserError: it is a file, or holds something else.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; give --output a folder for PNG frames, or a name that ends in .mp4.")
    for entry in folder.iterdir():
        if entry.suffix != ".png" or not entry.stem.isdecimal():
            raise UserError(f"{folder} holds {entry.name}, which is no frame of a drive; give --output another folder.")
