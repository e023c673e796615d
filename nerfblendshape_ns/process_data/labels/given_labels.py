"""Labels that the user brings: a folder of masks for the video's frames or for the dataset's images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, Iterable, List, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.labels import labels_from_colours, resize_labels

SUFFIXES = (".png", ".bmp", ".jpg", ".jpeg")
# A colour farther than this from 0 and 255 in a channel is no label's; JPEG's noise stays below it.
COLOUR_TOLERANCE = 70
MOST_FOREIGN_PIXELS = 0.02
FORMATS = (
    "8-bit labels 0 to 4 (background, head, neck, torso, something before the face) or RAD-NeRF's colours "
    "(white, blue, green, red)"
)


class GivenLabels:
    """A folder of masks, matched to the images of a clip by the number in the file names.

    Masks of the video's size belong to the video's frames and are cropped like these; masks of the images' size belong
    to the video's frames too, or, where there are as many as images, to the images. Numbers may start at 0 or 1.

    Args:
        folder: where the masks are.
        source_frames: number in the video of the frame that each image shows.
        frame_info: summary of the step ``frames``: sizes and crop window.

    Raises:
        UserError: the folder is missing or holds no mask, or a mask that is needed is not there.
    """

    def __init__(self, folder: Path, source_frames: np.ndarray, frame_info: Dict[str, Any]) -> None:
        self._frame_info = frame_info
        self._size = (frame_info["height"], frame_info["width"])
        by_number = find_masks(folder)
        of_images = _size_of_first(by_number) == self._size and _counts_to(len(source_frames), by_number)
        wanted = np.arange(len(source_frames)) if of_images else source_frames
        # Tools that count from 1 leave no number 0, wherever in the video the clip begins.
        offset = 1 if 0 not in by_number and 1 in by_number and int(wanted.max()) + 1 in by_number else 0
        missing = [int(number) for number in wanted if int(number) + offset not in by_number]
        if missing:
            what = "image" if of_images else "frame of the video"
            raise UserError(
                f"--parsing {folder} has no mask for {what} {missing[0]} ({len(missing)} of {len(wanted)} are "
                f"missing); a mask's file name ends in the number of its frame, such as {missing[0] + offset:06d}.png."
            )
        self._paths: List[Path] = [by_number[int(number) + offset] for number in wanted]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> np.ndarray:
        """Labels of image ``index``, uint8 ``[height, width]`` at the images' size.

        Raises:
            UserError: the mask cannot be decoded, or has another size, or other values or colours.
        """
        path = self._paths[index]
        labels = read_labels(path)
        if labels.shape == self._size:
            return labels
        source = (self._frame_info["source_height"], self._frame_info["source_width"])
        if labels.shape != source:
            raise UserError(
                f"{path} is {labels.shape[1]}x{labels.shape[0]} pixels; masks must have the video's size "
                f"({source[1]}x{source[0]}) or that of the dataset's images ({self._size[1]}x{self._size[0]})."
            )
        window = self._frame_info["window"]
        cut = labels[
            window["top"] : window["top"] + window["height"], window["left"] : window["left"] + window["width"]
        ]
        return resize_labels(cut, self._size)


def could_be_of_images(folder: Path, num_frames: int, frame_info: Dict[str, Any]) -> bool:
    """Whether masks can belong to the images that are left when frames without a face are dropped.

    Args:
        folder: of the masks.
        num_frames: images before any is dropped.
        frame_info: summary of the step ``frames``.

    Raises:
        UserError: as :func:`find_masks`, or the first mask cannot be decoded.
    """
    by_number = find_masks(folder)
    of_size = _size_of_first(by_number) == (frame_info["height"], frame_info["width"])
    return of_size and len(by_number) < num_frames and _counts_to(len(by_number), by_number)


def _size_of_first(masks: Dict[int, Path]) -> Tuple[int, ...]:
    """Height and width of the first mask."""
    return file_io.load_image(next(iter(masks.values())), cv2.IMREAD_UNCHANGED).shape[:2]


def _counts_to(count: int, numbers: Iterable[int]) -> bool:
    """Whether the numbers are as many as ``count``, from 0 or 1 without a gap."""
    return sorted(numbers) in (list(range(count)), list(range(1, count + 1)))


def no_head(folder: Path) -> str:
    """The message where no mask shows a head."""
    return f"no mask in --parsing {folder} has a pixel of head; masks are {FORMATS}."


def find_masks(folder: Path) -> Dict[int, Path]:
    """The mask files of a folder by the last number in their names.

    Raises:
        UserError: there is no such folder, it holds no mask, or two masks have one number.
    """
    if not folder.is_dir():
        raise UserError(f"--parsing {folder} is not a folder; give the folder with one mask for each frame.")
    masks: Dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        numbers = re.findall(r"\d+", path.stem)
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or not numbers:
            continue
        number = int(numbers[-1])
        if number in masks:
            raise UserError(
                f"--parsing {folder} has two masks for number {number}: {masks[number].name} and {path.name}; keep one."
            )
        masks[number] = path
    if not masks:
        raise UserError(
            f"--parsing {folder} holds no numbered image ({', '.join(SUFFIXES)}); masks are named by their frame's "
            "number, such as 000000.png."
        )
    return masks


def read_labels(path: Path) -> np.ndarray:
    """Read a mask of label numbers or of RAD-NeRF's colours.

    Raises:
        UserError: it cannot be decoded, or its values or colours are no labels.
    """
    mask = file_io.load_image(path, cv2.IMREAD_UNCHANGED)
    if mask.dtype != np.uint8:
        raise UserError(f"{path} has {mask.dtype.itemsize * 8} bits per channel; masks are {FORMATS}.")
    if mask.ndim == 3 and mask.shape[2] == 4:
        mask = mask[..., :3]
    # Some tools write plain labels with three equal channels.
    if mask.ndim == 3 and mask.max() <= max(Label) and (mask == mask[..., :1]).all():
        mask = mask[..., 0]
    if mask.ndim == 2:
        if mask.max() > max(Label):
            raise UserError(f"{path} has the value {int(mask.max())}; masks are {FORMATS}.")
        return mask
    return _labels_of_colours(mask, path)


def _labels_of_colours(colours: np.ndarray, path: Path) -> np.ndarray:
    off = np.minimum(colours, 255 - colours.astype(np.int16)).max(-1) > COLOUR_TOLERANCE
    full = colours > 127
    # Yellow, cyan and magenta are no labels either: one channel at most, or all.
    off |= full.sum(-1) == 2
    if off.mean() > MOST_FOREIGN_PIXELS:
        row, column = np.argwhere(off)[0]
        colour = tuple(int(value) for value in colours[row, column])
        raise UserError(
            f"{path} has colours such as {colour} (red, green, blue) at x {column}, y {row}; masks are {FORMATS}."
        )
    return labels_from_colours(colours)
