"""Which pixels a batch holds: regions of the face by weight, and square patches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Dict, Optional, Sequence, Tuple, Type

import cv2
import numpy as np
import torch
from jaxtyping import Int
from nerfstudio.configs.base_config import InstantiateConfig
from torch import Tensor

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset
from nerfblendshape_ns.data.labels import head_mask, seam
from nerfblendshape_ns.ops import pixel_sampling_kernels as kernels


@dataclass
class RegionPixelSamplerConfig(InstantiateConfig):
    """How the rays of a frame are shared among its regions; the weights are relative."""

    _target: Type = field(default_factory=lambda: RegionPixelSampler)
    """Target class to instantiate."""
    face: float = 0.15
    """Weight of the face's rectangle."""
    mouth: float = 0.15
    """Weight of the mouth's rectangle."""
    eyes: float = 0.1
    """Weight of the eyes' rectangles."""
    head: float = 0.35
    """Weight of the head mask."""
    torso: float = 0.0
    """Weight of the labels of neck and torso."""
    ring: float = 0.1
    """Weight of a ring round the head's outline, both sides of it."""
    seam: float = 0.15
    """Weight of the part of that ring where the head meets neck or torso."""
    rest: float = 0.15
    """Weight of the whole image."""
    ring_width: float = 0.03
    """Half the ring's width, as a fraction of the image's longer side."""
    patch_mouth: float = 0.5
    """Weight of the mouth as centre of a patch."""
    patch_eyes: float = 0.2
    """Weight of the eyes as centre of a patch."""
    patch_face: float = 0.3
    """Weight of the face as centre of a patch."""
    patch_torso: float = 0.0
    """Weight of neck and torso as centre of a patch."""
    seed: int = 0
    """Seed of the draws; a batch depends on it and on the step alone."""


REGIONS = ("face", "mouth", "eyes", "head", "torso", "ring", "seam", "rest")
"""What rays are shared among, in the order they come in."""


class RegionPixelSampler:
    """Draws pixels of frames by region.

    Numbers of rays per region are fixed, not drawn, so every batch has the same shape. A region that a frame does not
    have (no rectangle) falls back to the head, and the head of a frame without one to the whole image.

    Args:
        config: weights.
        dataset: the dataset, loaded; its labels and rectangles are used.
        labels: the dataset's labels ``[frames, pixels]`` on the device where pixels are to be drawn; None draws on the
            CPU.
    """

    config: RegionPixelSamplerConfig

    def __init__(
        self, config: RegionPixelSamplerConfig, dataset: NerfBlendshapeDataset, labels: Optional[Tensor] = None
    ):
        self.config = config
        self.height, self.width = dataset.image_size
        self._labels = dataset.labels.flatten(1) if labels is None else labels
        device = self._labels.device
        weights = [getattr(config, name) for name in REGIONS]
        if min(weights) < 0 or sum(weights) <= 0:
            raise UserError("the pixel sampler's region weights must be 0 or more and not all 0.")
        self._weights = np.array(weights) / sum(weights)
        self._boxes = _boxes(dataset).to(device)
        outlines = [_head_outline, _seam_outline]
        points, starts = zip(*(_points(dataset, outline) for outline in outlines))
        starts = torch.stack([starts[0], starts[1] + len(points[0])])
        self._outline, self._outline_starts = torch.cat(points).to(device), starts.int().to(device)
        self._reach = config.ring_width * max(self.height, self.width)
        self._templates: Dict[Tuple[int, ...], Tuple[Tensor, Tensor]] = {}
        eye = config.patch_eyes / 2
        patch_weights = torch.tensor([config.patch_face, config.patch_mouth, eye, eye, config.patch_torso])
        if not patch_weights.sum() > 0:
            patch_weights = torch.ones(len(patch_weights))
        self._patch_weights = (patch_weights.cumsum(0) / patch_weights.sum()).to(device)

    def region_counts(self, num_rays: int) -> Dict[str, int]:
        """Number of rays of each region among ``num_rays`` rays of a frame, in the order they come."""
        wanted = self._weights * num_rays
        counts = np.floor(wanted).astype(int)
        # What rounding down left over goes to the regions that lost most.
        for region in np.argsort(counts - wanted, kind="stable")[: num_rays - counts.sum()]:
            counts[region] += 1
        return dict(zip(REGIONS, counts.tolist()))

    def sample(self, frame: int, num_rays: int, generator: torch.Generator) -> Int[Tensor, " rays"]:
        """Draw pixels of one frame; see :meth:`draw`."""
        return self.draw(torch.tensor([frame]), [num_rays], generator)

    def draw(
        self,
        frames: Int[Tensor, "frames"],
        counts: Sequence[int],
        generator: torch.Generator,
        num_patches: int = 0,
        patch_size: int = 1,
    ) -> Int[Tensor, " rays"]:
        """Draw pixels of some frames, one frame after the other.

        Args:
            frames: indices in the dataset.
            counts: numbers of pixels of the frames; those of patches are among them.
            generator: source of the draws, on the CPU.
            num_patches: square patches of the first frame round points of its mouth, eyes and face, wholly inside the
                image. They come first, one after the other, each row by row.
            patch_size: their side in pixels.

        Returns:
            int64 pixels, row times width plus column; of each frame ordered by region as in :meth:`region_counts`.
        """
        patch_rays = num_patches * patch_size**2
        regions, ray_frame = self._template(patch_rays, *counts)
        pixels = torch.empty(len(regions), dtype=torch.int64, device=regions.device)
        seed = int(torch.randint(2**31 - 1, (1,), generator=generator).numpy()[0])
        drawn_from = (frames.to(regions.device), ray_frame, regions, patch_size, patch_rays, self._patch_weights)
        tables = (self._boxes, self._labels, self._outline, self._outline_starts, self._reach)
        kernels.draw(len(pixels), (), (seed, self.width, self.height, *drawn_from, *tables, pixels))
        return pixels

    def _template(self, patch_rays: int, *counts: int) -> Tuple[Tensor, Tensor]:
        """The region that each ray is drawn from, and which of the frames it belongs to; both int32."""
        key = (patch_rays, *counts)
        if key not in self._templates:
            regions = [kernels.IMAGE] * patch_rays  # Not read.
            for index, count in enumerate(counts):
                numbers = self.region_counts(count - patch_rays * (index == 0))
                first_eye = (numbers["eyes"] + 1) // 2
                for region, number in (
                    (kernels.FACE, numbers["face"]),
                    (kernels.MOUTH, numbers["mouth"]),
                    (kernels.FIRST_EYE, first_eye),
                    (kernels.SECOND_EYE, numbers["eyes"] - first_eye),
                    (kernels.HEAD, numbers["head"]),
                    (kernels.TORSO, numbers["torso"]),
                    (kernels.RING, numbers["ring"]),
                    (kernels.SEAM, numbers["seam"]),
                    (kernels.IMAGE, numbers["rest"]),
                ):
                    regions += [region] * number
            device = self._labels.device
            codes = torch.tensor([int(region) for region in regions], dtype=torch.int32)
            self._templates[key] = (codes.to(device), frame_of_rays(counts).to(device))
        return self._templates[key]


def frame_of_rays(counts: Sequence[int]) -> Int[Tensor, "rays"]:
    """Which of some frames each ray belongs to, int32, from the numbers of their rays."""
    return torch.repeat_interleave(torch.arange(len(counts), dtype=torch.int32), torch.tensor(counts))


def _is_torso(labels: Tensor) -> Tensor:
    return (labels == Label.NECK) | (labels == Label.TORSO)


def _boxes(dataset: NerfBlendshapeDataset) -> Tensor:
    """Boxes x, y, width, height ``[frames, 7, 4]`` of the regions."""
    height, width = dataset.image_size
    regions = dataset.regions
    rects = torch.cat([regions["face"][:, None], regions["mouth"][:, None], regions["eyes"]], dim=1)
    image_box = torch.tensor([0.0, 0.0, width, height])
    boxes = torch.zeros(len(dataset), 7, 4)
    for frame in range(len(dataset)):
        labels = dataset.labels[frame]
        head_box = _bounds(labels == Label.HEAD, image_box)
        low = rects[frame, :, :2].clamp(min=0)
        high = torch.minimum(rects[frame, :, :2] + rects[frame, :, 2:], image_box[2:])
        inside = (high - low >= 1).all(-1, keepdim=True)
        boxes[frame, : int(kernels.TORSO)] = torch.where(inside, torch.cat([low, high - low], dim=-1), head_box)
        boxes[frame, int(kernels.TORSO)] = _bounds(_is_torso(labels), image_box)
        boxes[frame, int(kernels.HEAD)], boxes[frame, int(kernels.IMAGE)] = head_box, image_box
    return boxes


def _bounds(mask: Tensor, otherwise: Tensor) -> Tensor:
    if not bool(mask.any()):
        return otherwise
    return torch.tensor(cv2.boundingRect(mask.numpy().astype(np.uint8)), dtype=torch.float32)


def _points(
    dataset: NerfBlendshapeDataset, outline: Callable[[np.ndarray], np.ndarray]
) -> Tuple[Int[Tensor, "points 2"], Int[Tensor, "frames_and_end"]]:
    """Pixels x, y (int16) of an outline in all frames, one frame after the other, and the first of each."""
    points, starts = [], [0]
    for labels in dataset.labels:
        y, x = np.nonzero(outline(labels.numpy()))
        points.append(np.stack([x, y], axis=-1).astype(np.int16))
        starts.append(starts[-1] + len(x))
    return torch.from_numpy(np.concatenate(points)), torch.tensor(starts)


def _head_outline(labels: np.ndarray) -> np.ndarray:
    """The head's outermost pixels."""
    head = head_mask(labels).astype(np.uint8)
    return head - cv2.erode(head, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)


def _seam_outline(labels: np.ndarray) -> np.ndarray:
    """Those of them that touch neck or torso."""
    return _head_outline(labels) * seam(labels)
