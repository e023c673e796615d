"""What is behind the person: a clean plate, a colour, or a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import ImageColor
from torch import Tensor, nn

from nerfblendshape_ns.data.contract import load_image
from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.model_components.torso_plane import sample_plate

PLATE = "plate"


class Backdrop(nn.Module):
    """Colours at torso coordinates.

    Clean plate and picture are part of the state, so that a checkpoint needs neither dataset nor file to render.

    Args:
        plate: ``[height, width, 3]`` the clean plate, or None where the dataset has none.
        choice: what is shown at first, as :meth:`choose` takes it.
        picture: ``[height, width, 3]`` what ``choice`` shows where that is a picture which is known already.
    """

    def __init__(
        self,
        plate: Optional[UInt8[Tensor, "height width 3"]],
        choice: str = PLATE,
        picture: Optional[UInt8[Tensor, "height width 3"]] = None,
    ) -> None:
        super().__init__()
        self.plate: Optional[Tensor]
        self.picture: Optional[Tensor]
        self.color: Tensor
        self.register_buffer("plate", plate)
        self.register_buffer("picture", picture)
        self.register_buffer("color", torch.ones(3), persistent=False)
        self.choice = choice
        if picture is None:
            self.choose(choice)

    @property
    def shows_plate(self) -> bool:
        """Whether the true background is shown."""
        return self.choice == PLATE and self.plate is not None

    def choose(self, choice: str) -> None:
        """Change what is shown.

        Args:
            choice: "plate", a colour as CSS writes it ("white", "#00ff00", "rgb(0, 255, 0)"), or an image file, which
                is stretched over the captured picture.

        Raises:
            UserError: it is none of these.
        """
        picture, color = None, torch.ones(3)
        if choice != PLATE:
            if Path(choice).is_file():
                picture = torch.from_numpy(load_image(Path(choice)))
            else:
                color = _parse_color(choice)
        device = self.color.device
        self.picture = None if picture is None else picture.to(device)
        self.color = color.to(device)
        self.choice = choice

    def forward(self, coordinates: Float[Tensor, "rays 2"]) -> Float[Tensor, "rays 3"]:
        """Colours in [0, 1] at torso coordinates (shares of the captured picture)."""
        shown = self.plate if self.choice == PLATE else self.picture
        if shown is None:
            return self.color.expand(len(coordinates), 3)
        return sample_plate(shown, coordinates)


def load_plate(path: Optional[Path], size: tuple[int, int]) -> Optional[UInt8[Tensor, "height width 3"]]:
    """Read a clean plate at the size that is trained; None gives None.

    Raises:
        UserError: the file is missing or broken.
    """
    if path is None:
        return None
    image = cv2.resize(load_image(Path(path)), (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(image))


def _parse_color(text: str) -> Tensor:
    try:
        return torch.tensor(ImageColor.getrgb(text)[:3]) / 255.0
    except ValueError:
        raise UserError(
            f"background {text!r} is neither 'plate', a colour such as 'white' or '#00ff00', nor the path of an image "
            "that exists; give one of these."
        ) from None
