"""The images and labels of a dataset as sequences that are read from disk on demand."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import cv2
import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.data import contract


class ImageFolder(Sequence[np.ndarray]):
    """The images: ``len()`` and ``[index]`` give uint8 RGB ``[height, width, 3]``."""

    def __init__(self, root: Path, num_frames: int) -> None:
        self.root = root
        self.num_frames = num_frames

    def __len__(self) -> int:
        return self.num_frames

    def __getitem__(self, index):  # type: ignore[override]
        """Read frame ``index``; slices are not supported, so that no caller loads a whole clip by accident."""
        if not -self.num_frames <= index < self.num_frames:
            raise IndexError(index)
        return self._read(int(index) % self.num_frames)

    def _read(self, index: int) -> np.ndarray:
        return file_io.load_image(self.root / contract.IMAGES / contract.image_name(index))


class LabelFolder(ImageFolder):
    """The labels in the same way: uint8 ``[height, width]``."""

    def _read(self, index: int) -> np.ndarray:
        return file_io.load_image(self.root / contract.PARSING / contract.parsing_name(index), cv2.IMREAD_UNCHANGED)
