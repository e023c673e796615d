"""What is behind the person: a clean plate, a colour, or an image."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Optional, Tuple

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import ImageColor
from torch import Tensor, nn

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import load_image
from nerfblendshape_ns.model_components.torso.torso_plane import sample_image

PLATE, IMAGE = "plate", "image"


@dataclass(frozen=True)
class BackgroundChoice:
    """What is to be shown behind a person."""

    kind: Literal["plate", "color", "image"] = PLATE
    """The clean plate (white where there is none), :attr:`color` or :attr:`image`."""
    color: Tuple[int, int, int] = (255, 255, 255)
    """Red, green and blue from 0 to 255."""
    image: Optional[UInt8[Tensor, "height width 3"]] = None
    """RGB, stretched over the captured image."""


def parse_background(text: str, option: str, words: str = PLATE) -> BackgroundChoice:
    """What the user asks for in an option.

    Args:
        text: ``plate``, a colour as CSS writes it (``white``, ``#00ff00``, ``rgb(0, 255, 0)``), or an image file.
        option: its name, for messages.
        words: all words that it takes, for messages.

    Raises:
        UserError: it is none of these, or the file is no image.
    """
    if text == PLATE:
        return BackgroundChoice()
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
        return BackgroundChoice("color", (red, green, blue))
    except ValueError:
        pass
    if os.path.isfile(text):
        return BackgroundChoice(IMAGE, image=torch.from_numpy(load_image(Path(text))))
    raise UserError(
        f"{option} {text!r} is neither {words}, a colour such as white or #00ff00, nor an image file that exists; give "
        "one of these."
    )


def saved_background(kind: Any, image: Optional[Tensor]) -> BackgroundChoice:
    """The background that a checkpoint or avatar file names; no file is ever read for it.

    Args:
        kind: ``plate``, ``image`` or ``#rrggbb``, as :attr:`Background.saved` gives it.
        image: ``[height, width, 3]`` from its tensors.

    Raises:
        UserError: it is none of these, or the image is missing.
    """
    if kind == PLATE:
        return BackgroundChoice()
    if isinstance(kind, str) and re.fullmatch("#[0-9a-f]{6}", kind):
        return BackgroundChoice("color", (int(kind[1:3], 16), int(kind[3:5], 16), int(kind[5:7], 16)))
    if kind != IMAGE:
        raise UserError(
            f"its description names the background {kind!r}, which is neither plate, image nor a colour such as "
            "#00ff00; train or export again."
        )
    if image is None:
        raise UserError("the image behind the person is missing from it; train or export again.")
    return BackgroundChoice(IMAGE, image=image)


class Background(nn.Module):
    """Colours at torso coordinates.

    Clean plate and image are part of the state, so that a checkpoint needs neither dataset nor file to render.

    Args:
        plate: ``[height, width, 3]`` the clean plate, or None where the dataset has none.
        background: what is shown.
    """

    def __init__(self, plate: Optional[UInt8[Tensor, "height width 3"]], background: BackgroundChoice) -> None:
        super().__init__()
        self.plate: Optional[Tensor]
        self.image: Optional[Tensor]
        self.color: Tensor
        self.kind = background.kind
        self.register_buffer("plate", plate)
        self.register_buffer("image", background.image)
        self.register_buffer("color", torch.tensor(background.color) / 255.0, persistent=False)

    @property
    def shows_plate(self) -> bool:
        """Whether the clip's own background is shown."""
        return self.kind == PLATE and self.plate is not None

    @property
    def saved(self) -> str:
        """What a description says of it: ``plate``, ``image`` or ``#rrggbb``, never where an image came from."""
        if self.kind != "color":
            return self.kind
        return "#" + "".join(f"{round(255 * value):02x}" for value in self.color.tolist())

    def forward(self, coordinates: Float[Tensor, "rays 2"]) -> Float[Tensor, "rays 3"]:
        """Colours in [0, 1] at torso coordinates (fractions of the captured image)."""
        shown = {PLATE: self.plate, IMAGE: self.image}.get(self.kind)
        if shown is None:
            return self.color.expand(len(coordinates), 3)
        return sample_image(shown, coordinates)


def load_plate(path: Optional[Path], size: tuple[int, int]) -> Optional[UInt8[Tensor, "height width 3"]]:
    """Read a clean plate at the size that is trained; None gives None.

    Raises:
        UserError: the file is missing or broken.
    """
    if path is None:
        return None
    image = cv2.resize(load_image(Path(path)), (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(image))
