"""From a frame's files to the arrays that training uses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import image_size, load_image
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.labels import (
    REFERENCE_SIZE,
    SOFT_ALPHA_SIGMA,
    area_resize,
    extend_colours,
    head_mask,
    labels_from_colours,
    labels_from_face_parsing,
    resize_labels,
    soft_alpha,
)
from nerfblendshape_ns.data.mattes import foreground_colours, head_alpha
from nerfblendshape_ns.data.torso_image import torso_image

Target = Literal["head", "frame"]
"""What is reconstructed: the head alone, or the whole frame."""


@dataclass(frozen=True)
class FrameFiles:
    """Where the pixels of one frame are."""

    image: Path
    """The frame, or the head on white if ``head_only``."""
    labels: Optional[Path] = None
    """Label image."""
    head_mask: Optional[Path] = None
    """Head mask, white on black; used where there are no labels."""
    matte: Optional[Path] = None
    """Matte: 8-bit opacity of the person; makes the head mask's soft edge where it is given."""
    coloured_labels: bool = False
    """Whether the label image uses RAD-NeRF's colours instead of the values of ``Label``."""
    head_only: bool = False
    """Whether the image shows the head alone on white."""
    face_parsing: bool = False
    """Whether the label image holds INSTA's face-parsing classes, cut out by the alpha of ``image``; the labels may be
    ``image`` itself, whose alpha alone then says where the head is."""
    torso: Optional[Path] = None
    """Torso image where the dataset has one: RGBA, the torso with what the head hides of it painted on."""

    @property
    def labels_by_value(self) -> bool:
        """Whether there is a label image that holds the values of ``Label``."""
        return self.labels is not None and not self.coloured_labels and not self.face_parsing


@dataclass(frozen=True)
class FrameArrays:
    """The pixels of one frame at training size."""

    image: np.ndarray
    """uint8 RGB ``[height, width, 3]``; for the head target the colours of the head itself under its soft edge."""
    alpha: np.ndarray
    """uint8 ``[height, width]`` soft head mask, 255 is head."""
    labels: np.ndarray
    """uint8 ``[height, width]`` values of ``Label``."""
    torso: Optional[np.ndarray] = None
    """uint8 RGBA ``[height, width, 4]`` torso image, for the frame target only."""


def load_torso(files: FrameFiles, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The torso image of a frame at full size: the dataset's own where it has one, else made from the labels.

    Args:
        files: where the pixels are.
        image: the frame.
        labels: its labels.

    Raises:
        UserError: the file cannot be decoded, has no alpha or another size, or there is nothing to make it from.
    """
    if files.torso is not None:
        torso = load_image(files.torso, cv2.IMREAD_UNCHANGED)
        if torso.dtype != np.uint8 or torso.shape != (*image.shape[:2], 4):
            raise UserError(
                f"{files.torso} is not an 8-bit RGBA image of {image.shape[1]}x{image.shape[0]} pixels; write it again "
                "or remove it, and the torso is cut out by the labels."
            )
        return torso
    if files.labels is None:
        raise UserError(
            f"there are neither labels of neck and torso nor a torso image for {files.image}; a torso needs parsing/ "
            "(nbs-process-data writes it) or torso_imgs/."
        )
    return torso_image(image, labels)


def load_labels(files: FrameFiles) -> np.ndarray:
    """The labels of a frame at full size, uint8 ``[height, width]``.

    Raises:
        UserError: the file is missing, cannot be decoded or holds other values than the labels.
    """
    if files.labels is None:
        if files.head_mask is None:
            raise _no_labels_error(files)
        mask = load_image(files.head_mask, cv2.IMREAD_GRAYSCALE)
        return np.where(mask > 127, np.uint8(Label.HEAD), np.uint8(Label.BACKGROUND))
    if files.face_parsing:
        return _load_face_parsing(files.image, files.labels)
    if files.coloured_labels:
        return labels_from_colours(load_image(files.labels))
    labels = load_image(files.labels, cv2.IMREAD_UNCHANGED)
    if labels.ndim != 2 or labels.dtype != np.uint8 or labels.max() > max(Label):
        raise UserError(
            f"{files.labels} is not an 8-bit single-channel image of the labels 0 to {int(max(Label))}; "
            "process the video again."
        )
    return labels


def _load_face_parsing(image: Path, labels: Path) -> np.ndarray:
    """Labels from INSTA's classes and the alpha of the image."""
    pixels = load_image(image, cv2.IMREAD_UNCHANGED)
    alpha = pixels[..., 3] if pixels.ndim == 3 and pixels.shape[2] == 4 else None
    if alpha is not None and alpha.dtype == np.uint16:
        alpha = (alpha >> 8).astype(np.uint8)
    if labels == image:
        if alpha is None:
            raise UserError(f"{image} has no alpha and there is no seg_mask beside it; restore one of them.")
        return np.where(alpha > 127, np.uint8(Label.HEAD), np.uint8(Label.BACKGROUND))
    classes = load_image(labels)
    if alpha is not None and alpha.shape != classes.shape[:2]:
        raise _size_error(labels, (classes.shape[1], classes.shape[0]), (alpha.shape[0], alpha.shape[1]))
    return labels_from_face_parsing(classes[..., 0], alpha)


def load_matte(files: FrameFiles) -> Optional[np.ndarray]:
    """The matte of a frame at full size, uint8 ``[height, width]``, or None where the frame has none.

    Raises:
        UserError: the file is missing, cannot be decoded or is not an 8-bit single-channel image.
    """
    if files.matte is None:
        return None
    matte = load_image(files.matte, cv2.IMREAD_UNCHANGED)
    if matte.ndim != 2 or matte.dtype != np.uint8:
        raise UserError(
            f"{files.matte} is not an 8-bit single-channel image; restore the file, or remove the folder "
            f"{files.matte.parent} to do without mattes."
        )
    return matte


def load_frame(files: FrameFiles, full_size: Tuple[int, int], size: Tuple[int, int], target: Target) -> FrameArrays:
    """Read a frame and bring it to training size.

    Args:
        files: where the pixels are.
        full_size: height and width that the files must have.
        size: height and width wanted.
        target: for ``head`` the colours under the head's soft edge are averaged with the mask as weight, so that
            ``alpha * image + 1 - alpha`` at the small size is the average of the head on white at full size, with no
            background in it. For ``frame`` the torso image comes along.

    Raises:
        UserError: a file is missing, cannot be decoded, or has another size.
    """
    image = load_image(files.image)
    labels, matte = load_labels(files), load_matte(files)
    for path, array in ((files.image, image), (files.labels or files.head_mask, labels), (files.matte, matte)):
        if array is not None and array.shape[:2] != tuple(full_size):
            raise _size_error(path, (array.shape[1], array.shape[0]), full_size)
    if files.head_only:
        # The outermost pixels are left out: JPEG has mixed them with the white beside them.
        inner = cv2.erode(head_mask(labels).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        image = extend_colours(image, inner, 1 + 4 * SOFT_ALPHA_SIGMA * max(full_size) / REFERENCE_SIZE)
    full_alpha = soft_alpha(labels) if matte is None else head_alpha(labels, matte)
    if matte is not None and target == "head" and not files.head_only:
        image = foreground_colours(image, matte)
    alpha = area_resize(full_alpha, size)
    small = area_resize(image, size)
    if target == "head" and tuple(size) != tuple(full_size):
        weighted = area_resize(image * full_alpha[..., None], size)
        seen = alpha > 1 / 255
        small = small.copy()
        small[seen] = np.clip(weighted[seen] / alpha[seen, None] + 0.5, 0, 255).astype(np.uint8)
    torso = None
    if target == "frame":
        full_torso = load_torso(files, image, labels)
        torso = _resize_rgba(full_torso, size)
        # Datasets with head masks alone know of the torso by its image only.
        labels = np.where((labels == Label.BACKGROUND) & (full_torso[..., 3] > 127), np.uint8(Label.TORSO), labels)
    return FrameArrays(small, (alpha * 255 + 0.5).astype(np.uint8), resize_labels(labels, size), torso)


def _resize_rgba(image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Average areas, colours weighted by their alpha."""
    if image.shape[:2] == tuple(size):
        return image
    alpha = image[..., 3:].astype(np.float32)
    weighted = area_resize(image[..., :3] * alpha, size)
    small_alpha = area_resize(alpha, size)[..., None]
    colours = weighted / np.maximum(small_alpha, 1e-3)
    return np.clip(np.dstack([colours, small_alpha]) + 0.5, 0, 255).astype(np.uint8)


def check_files(files: FrameFiles, full_size: Tuple[int, int]) -> None:
    """Check that a frame's files are there, whole and of the right size, by their headers and last bytes.

    Raises:
        UserError: a file is missing, is no image, is cut short, or has another size.
    """
    labels = files.labels or files.head_mask
    if labels is None:
        raise _no_labels_error(files)
    optional = [path for path in (files.matte, files.torso) if path is not None]
    for path in [files.image, labels, *optional]:
        if not path.exists():
            raise UserError(f"{path} does not exist; restore the file or process the video again.")
        size = image_size(path)
        if size is None:
            raise UserError(f"{path} cannot be decoded as an image; restore the file or process the video again.")
        if size != (full_size[1], full_size[0]):
            raise _size_error(path, size, full_size)


def _no_labels_error(files: FrameFiles) -> UserError:
    return UserError(
        f"there are neither labels nor a head mask for {files.image}; process the video again, or add head masks where "
        "the dataset's layout has them (docs/datasets.md)."
    )


def _size_error(path: Optional[Path], size: Tuple[int, int], full_size: Tuple[int, int]) -> UserError:
    return UserError(
        f"{path} is {size[0]}x{size[1]} pixels but the clip's frames are {full_size[1]}x{full_size[0]}; all frames and "
        "labels must have one size, so process the video again."
    )
