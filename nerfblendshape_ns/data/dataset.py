"""The dataset: images, soft head masks and labels, kept as 8-bit arrays."""

from __future__ import annotations

import math
import threading
from typing import Callable, Dict, List, Literal, Optional, Tuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, UInt8
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.data.datasets.base_dataset import InputDataset
from torch import Tensor

from nerfblendshape_ns.common.memory import uninitialised
from nerfblendshape_ns.common.parallel import num_cores, ordered_map
from nerfblendshape_ns.data.frame_images import FrameArrays, FrameFiles, Target, check_files, load_frame

BYTES_IN_MEMORY = 2**32
"""A larger cache lies in a temporary file, of which the system keeps in memory what there is room for."""


def head_on_white(frame: FrameArrays) -> Float[Tensor, "height width 3"]:
    """What a head is measured against: a frame of the head target, over white, 0…1."""
    return _on_white(torch.from_numpy(frame.image).float() / 255, torch.from_numpy(frame.alpha))


def _on_white(image: Float[Tensor, "height width 3"], alpha: UInt8[Tensor, "height width"]) -> Tensor:
    opacity = alpha.float()[..., None] / 255
    return image * opacity + (1 - opacity)


def truth_of_frame(files: FrameFiles, full_size: Tuple[int, int], size: Tuple[int, int], target: Target) -> Dict:
    """What a frame is measured against, with the keys of an item of :class:`NerfBlendshapeDataset`.

    Args:
        files: where the pixels are; the frame need not belong to a dataset.
        full_size: height and width of the files.
        size: height and width wanted.
        target: what is reconstructed.

    Raises:
        UserError: a file is missing, broken or has another size.
    """
    frame = head = load_frame(files, full_size, size, "head")
    truth = {"image": head_on_white(head)}
    if target == "frame":
        frame = load_frame(files, full_size, size, "frame")
        assert frame.torso is not None
        truth = {
            "image": torch.from_numpy(frame.image).float() / 255,
            "torso": torch.from_numpy(frame.torso).float() / 255,
            "head_image": head_on_white(head),
        }
    alpha, labels = torch.from_numpy(frame.alpha).float() / 255, torch.from_numpy(frame.labels)
    return {**truth, "alpha": alpha[..., None], "labels": labels[..., None]}


class NerfBlendshapeDataset(InputDataset):
    """Images of a clip at training size; read when first asked for, or all at once by :meth:`load`.

    The cache takes five bytes per pixel: colour, soft head mask, label; nine where the target is the whole frame, which
    needs the torso image too. More than :data:`BYTES_IN_MEMORY` of it lie in a temporary file.

    Args:
        dataparser_outputs: outputs of :class:`~nerfblendshape_ns.data.dataparser.NerfBlendshapeDataParser`.
        scale_factor: further scale of the images; cameras are rescaled with them.
    """

    def __init__(self, dataparser_outputs: DataparserOutputs, scale_factor: float = 1.0):
        super().__init__(dataparser_outputs, scale_factor)
        self.frame_files: List[FrameFiles] = self.metadata["frame_files"]
        self.target: Literal["head", "frame"] = self.metadata["target"]
        self._full_size: Tuple[int, int] = tuple(self.metadata["full_size"])
        self._lock = threading.Lock()
        self._loaded = np.zeros(len(self), dtype=bool)
        self._cache: Optional[Tuple[Tensor, Tensor, Tensor, Optional[Tensor]]] = None

    @property
    def image_size(self) -> Tuple[int, int]:
        """Height and width of the images."""
        return int(self.cameras.height[0]), int(self.cameras.width[0])

    @property
    def images(self) -> UInt8[Tensor, "frames height width 3"]:
        """Colours; call :meth:`load` first. For the head target those of the head itself under its soft edge."""
        return self._arrays()[0]

    @property
    def alpha(self) -> UInt8[Tensor, "frames height width"]:
        """Soft head mask, 255 is head; call :meth:`load` first."""
        return self._arrays()[1]

    @property
    def labels(self) -> UInt8[Tensor, "frames height width"]:
        """Values of :class:`~nerfblendshape_ns.data.contract.Label`; call :meth:`load` first."""
        return self._arrays()[2]

    @property
    def torso(self) -> Optional[UInt8[Tensor, "frames height width 4"]]:
        """Torso images, RGBA with colours not premultiplied; call :meth:`load` first. None for the head target."""
        return self._arrays()[3]

    @property
    def regions(self) -> Dict[str, Float[Tensor, "frames *rects 4"]]:
        """Rectangles of face, mouth and eyes in pixels of the images; see the dataparser."""
        height, width = self.metadata["image_size"]
        scale_y, scale_x = self.image_size[0] / height, self.image_size[1] / width
        factors = torch.tensor([scale_x, scale_y, scale_x, scale_y])
        return {name: rects * factors for name, rects in self.metadata["regions"].items()}

    def check_files(self) -> None:
        """Check that every image and label file is there, whole and of the clip's size; no pixels are read.

        Raises:
            UserError: a file is missing, cut short, or has another size.
        """
        self._for_all(lambda index: check_files(self.frame_files[index], self._full_size))

    def load(self) -> None:
        """Read all images that have not been read yet, on all cores.

        Raises:
            UserError: a file is missing, broken or has another size, or there is no room for the images.
        """
        self._arrays()
        self._for_all(self.ensure_loaded)

    def get_numpy_image(self, image_idx: int) -> npt.NDArray[np.uint8]:
        """The image that is reconstructed, uint8 ``[height, width, 3]``: head on white, or the frame."""
        return self.get_image_uint8(image_idx).numpy()

    def get_image_float32(self, image_idx: int) -> Float[Tensor, "image_height image_width num_channels"]:
        """The image that is reconstructed, 0…1: for the head target the head on white."""
        self.ensure_loaded(image_idx)
        image = self.images[image_idx].float() / 255
        return image if self.target == "frame" else _on_white(image, self.alpha[image_idx])

    def get_image_uint8(self, image_idx: int) -> UInt8[Tensor, "image_height image_width num_channels"]:
        """As :meth:`get_image_float32`, in 0…255."""
        return (self.get_image_float32(image_idx) * 255 + 0.5).to(torch.uint8)

    def get_metadata(self, data: Dict) -> Dict:
        """What is known of an image besides its colours.

        ``alpha`` [height, width, 1] soft head mask in 0…1 and ``labels`` [height, width, 1] uint8; for the frame target
        also ``torso`` [height, width, 4] in 0…1 and ``head_image`` [height, width, 3], the head on white as the head
        target has it.
        """
        image_idx = data["image_idx"]
        self.ensure_loaded(image_idx)
        metadata = {
            "alpha": self.alpha[image_idx].float()[..., None] / 255,
            "labels": self.labels[image_idx][..., None],
        }
        if self.torso is not None:
            metadata["torso"] = self.torso[image_idx].float() / 255
            head = load_frame(self.frame_files[image_idx], self._full_size, self.image_size, "head")
            metadata["head_image"] = head_on_white(head)
        return metadata

    def _arrays(self) -> Tuple[Tensor, Tensor, Tensor, Optional[Tensor]]:
        with self._lock:
            if self._cache is None:
                channels = (3, 1, 1, 4) if self.target == "frame" else (3, 1, 1)
                frames = (len(self), *self.image_size)
                in_memory = math.prod(frames) * sum(channels) <= BYTES_IN_MEMORY

                def array(*channels: int) -> Tensor:
                    return torch.from_numpy(uninitialised((*frames, *channels), np.uint8, in_memory))

                self._cache = array(3), array(), array(), array(4) if self.target == "frame" else None
            return self._cache

    def ensure_loaded(self, index: int) -> None:
        """Read one image unless it has been read.

        Raises:
            UserError: a file is missing, broken or has another size.
        """
        if self._loaded[index]:
            return
        frame = load_frame(self.frame_files[index], self._full_size, self.image_size, self.target)
        images, alpha, labels, torso = self._arrays()
        images[index] = torch.from_numpy(frame.image)
        alpha[index] = torch.from_numpy(frame.alpha)
        labels[index] = torch.from_numpy(frame.labels)
        if torso is not None and frame.torso is not None:
            torso[index] = torch.from_numpy(frame.torso)
        self._loaded[index] = True

    def _for_all(self, action: Callable[[int], None]) -> None:
        for _ in ordered_map(action, range(len(self)), num_cores()):
            pass

    def __getstate__(self) -> Dict:
        """Leave the lock out, so that the dataset can be copied and sent to workers."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: Dict) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
