"""Which pixels a batch holds: regions of the face by weight, and square patches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Iterable, List, NamedTuple, Tuple, Type

import cv2
import numpy as np
import torch
from jaxtyping import Int
from nerfstudio.configs.base_config import InstantiateConfig
from torch import Tensor

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset
from nerfblendshape_ns.data.labels import seam

CANDIDATES = 6
"""Pixels drawn for each ray that should be on the head; the first that is on it is taken."""


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

# Rows of a frame's table of boxes.
_FACE, _MOUTH, _FIRST_EYE, _SECOND_EYE, _TORSO, _HEAD, _IMAGE = range(7)


class RegionPixelSampler:
    """Draws pixels of single frames by region.

    Numbers of rays per region are fixed, not drawn, so every batch has the same shape. A region that a frame does not
    have (no rectangle) falls back to the head, and the head of a frame without one to the whole image.

    Args:
        config: weights.
        dataset: the dataset, loaded; its labels and rectangles are used.
    """

    config: RegionPixelSamplerConfig

    def __init__(self, config: RegionPixelSamplerConfig, dataset: NerfBlendshapeDataset):
        self.config = config
        self.height, self.width = dataset.image_size
        self._labels = dataset.labels.reshape(len(dataset), -1)
        weights = [getattr(config, name) for name in REGIONS]
        if min(weights) < 0 or sum(weights) <= 0:
            raise UserError("the pixel sampler's region weights must be 0 or more and not all 0.")
        self._weights = np.array(weights) / sum(weights)
        self._boxes = _boxes(dataset)
        self._ring = _Outline.of(_head_outline(labels.numpy()) for labels in dataset.labels)
        self._seam = _Outline.of(_seam_outline(labels.numpy()) for labels in dataset.labels)
        self._templates: Dict[int, Tuple[Tensor, Dict[str, int]]] = {}
        eye = config.patch_eyes / 2
        patch_weights = torch.tensor([config.patch_face, config.patch_mouth, eye, eye, config.patch_torso])
        self._patch_weights = patch_weights if patch_weights.sum() > 0 else torch.ones(len(patch_weights))

    def region_counts(self, num_rays: int) -> Dict[str, int]:
        """Number of rays of each region among ``num_rays`` rays of a frame, in the order they come."""
        wanted = self._weights * num_rays
        counts = np.floor(wanted).astype(int)
        # What rounding down left over goes to the regions that lost most.
        for region in np.argsort(counts - wanted, kind="stable")[: num_rays - counts.sum()]:
            counts[region] += 1
        return dict(zip(REGIONS, counts.tolist()))

    def sample(self, frame: int, num_rays: int, generator: torch.Generator) -> Int[Tensor, " rays"]:
        """Draw pixels of one frame.

        Args:
            frame: index in the dataset.
            num_rays: number of pixels.
            generator: source of the draws, on the CPU.

        Returns:
            int64 pixels, row times width plus column, ordered by region as in :meth:`region_counts`.
        """
        template, counts = self._template(num_rays)
        boxes = self._boxes[frame][template]
        positions = boxes[:, :2] + torch.rand(len(template), 2, generator=generator) * boxes[:, 2:]
        # A draw just below a box's far side may round up to it.
        columns = positions[:, 0].long().clamp(max=self.width - 1)
        pixels = positions[:, 1].long().clamp(max=self.height - 1) * self.width + columns
        num_picked = num_rays - counts["ring"] - counts["seam"] - counts["rest"]
        candidates = pixels[: num_picked * CANDIDATES].view(CANDIDATES, num_picked)
        labels = self._labels[frame][candidates]
        num_on_head = num_picked - counts["torso"]
        wanted = torch.cat([labels[:, :num_on_head] == Label.HEAD, _is_torso(labels[:, num_on_head:])], dim=1)
        first = wanted.to(torch.uint8).argmax(0, keepdim=True)
        chosen = candidates.gather(0, first)[0]
        ring = self._near(self._ring, frame, counts["ring"], generator)
        seam = self._near(self._seam, frame, counts["seam"], generator)
        return torch.cat([chosen, ring, seam, pixels[num_picked * CANDIDATES :]])

    def sample_patches(
        self, frame: int, num_patches: int, patch_size: int, generator: torch.Generator
    ) -> Int[Tensor, "patches size size"]:
        """Draw square patches of one frame round points of its mouth, eyes and face, wholly inside the image.

        Args:
            frame: index in the dataset.
            num_patches: number of patches.
            patch_size: side in pixels.
            generator: source of the draws, on the CPU.

        Returns:
            int64 pixels, row times width plus column.
        """
        region = torch.multinomial(self._patch_weights, num_patches, replacement=True, generator=generator)
        boxes = self._boxes[frame][region]
        centres = boxes[:, :2] + torch.rand(num_patches, 2, generator=generator) * boxes[:, 2:]
        corners = (centres - patch_size / 2).long()
        left = corners[:, 0].clamp(0, self.width - patch_size)
        top = corners[:, 1].clamp(0, self.height - patch_size)
        steps = torch.arange(patch_size)
        return (top[:, None, None] + steps[:, None]) * self.width + left[:, None, None] + steps

    def _template(self, num_rays: int) -> Tuple[Tensor, Dict[str, int]]:
        """Box of each draw: candidates for the rays on head and torso, then the rest; and the counts of regions."""
        if num_rays not in self._templates:
            counts = self.region_counts(num_rays)
            first_eye = (counts["eyes"] + 1) // 2
            picked = (
                [_FACE] * counts["face"]
                + [_MOUTH] * counts["mouth"]
                + [_FIRST_EYE] * first_eye
                + [_SECOND_EYE] * (counts["eyes"] - first_eye)
                + [_HEAD] * counts["head"]
                + [_TORSO] * counts["torso"]
            )
            template = torch.tensor(picked * CANDIDATES + [_IMAGE] * counts["rest"], dtype=torch.int64)
            self._templates[num_rays] = (template, counts)
        return self._templates[num_rays]

    def _near(self, outline: _Outline, frame: int, count: int, generator: torch.Generator) -> Int[Tensor, " rays"]:
        """Pixels near random points of an outline; of the whole image where a frame has none."""
        points = outline.of_frame(frame)
        if len(points) == 0:
            box = self._boxes[frame][_IMAGE]
            positions = (torch.rand(count, 2, generator=generator) * box[2:]).long()
        else:
            picked = torch.randint(len(points), (count,), generator=generator)
            half_width = self.config.ring_width * max(self.height, self.width)
            offsets = (torch.rand(count, 2, generator=generator) * 2 - 1) * half_width
            positions = (points[picked] + offsets).round().long()
        x, y = positions[:, 0].clamp(0, self.width - 1), positions[:, 1].clamp(0, self.height - 1)
        return y * self.width + x


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
        boxes[frame, :_TORSO] = torch.where(inside, torch.cat([low, high - low], dim=-1), head_box)
        boxes[frame, _TORSO] = _bounds(_is_torso(labels), image_box)
        boxes[frame, _HEAD], boxes[frame, _IMAGE] = head_box, image_box
    return boxes


def _bounds(mask: Tensor, otherwise: Tensor) -> Tensor:
    if not bool(mask.any()):
        return otherwise
    return torch.tensor(cv2.boundingRect(mask.numpy().astype(np.uint8)), dtype=torch.float32)


class _Outline(NamedTuple):
    """Points of all frames, one frame after the other."""

    points: Tensor
    starts: List[int]

    @classmethod
    def of(cls, masks: Iterable[np.ndarray]) -> _Outline:
        points, starts = [], [0]
        for mask in masks:
            y, x = np.nonzero(mask)
            points.append(np.stack([x, y], axis=-1).astype(np.int16))
            starts.append(starts[-1] + len(x))
        return cls(torch.from_numpy(np.concatenate(points)), starts)

    def of_frame(self, frame: int) -> Tensor:
        return self.points[self.starts[frame] : self.starts[frame + 1]]


def _head_outline(labels: np.ndarray) -> np.ndarray:
    """The head's outermost pixels."""
    head = (labels == Label.HEAD).astype(np.uint8)
    return head - cv2.erode(head, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)


def _seam_outline(labels: np.ndarray) -> np.ndarray:
    """Those of them that touch neck or torso."""
    return _head_outline(labels) * seam(labels)
