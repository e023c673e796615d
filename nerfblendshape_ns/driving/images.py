"""What is behind the avatar and beside it."""

from __future__ import annotations

from typing import Optional, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.driving.person import AvatarPerson
from nerfblendshape_ns.model_components.torso.background import parse_background
from nerfblendshape_ns.models.torso import TorsoModel


def make_background(name: str, person: AvatarPerson) -> Optional[np.ndarray]:
    """The background of ``--background``.

    Args:
        name: ``own``, ``plate``, a colour as CSS writes it, or an image file.
        person: gives the size of the render and the clean plate.

    Returns:
        float32 in [0, 1], a colour ``[3]`` or an image ``[height, width, 3]``; None leaves it to the model.

    Raises:
        UserError: it is none of these, or the file cannot be read.
    """
    if name == "own":
        if person.avatar.kind != "head":
            return None
        name = "white"
    background = parse_background(name, "--background", "own, plate")
    if background.kind == "color":
        return np.array(background.color, dtype=np.float32) / 255
    if background.image is not None:
        image = background.image.numpy()
    elif isinstance(person.avatar.model, TorsoModel) and person.avatar.model.background.shows_plate:
        return None  # The model's own clean plate, which stays behind the torso when the camera moves.
    else:
        image = person.plate()
    return cover(image, person.size).astype(np.float32) / 255


def cover(image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Scale and crop an image about its middle so that it fills ``size`` (height, width) without distortion."""
    height, width = size
    scale = max(height / image.shape[0], width / image.shape[1])
    scaled = resize(image, (max(height, round(image.shape[0] * scale)), max(width, round(image.shape[1] * scale))))
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return scaled[top : top + height, left : left + width]


def resize(image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Scale an image to height and width, averaging where it gets smaller."""
    if image.shape[:2] == tuple(size):
        return image
    smaller = size[0] < image.shape[0]
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def beside(driver: np.ndarray, render: np.ndarray) -> np.ndarray:
    """The driver's image to the left of the render, at the render's height; both uint8 RGB."""
    height = render.shape[0]
    width = max(1, round(driver.shape[1] * height / driver.shape[0]))
    return np.concatenate([resize(driver, (height, width)), render], axis=1)
