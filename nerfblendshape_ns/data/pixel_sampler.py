"""Which pixels a batch holds: regions of the face by weight, and square patches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Tuple, Type

import cv2
import numpy as np
import torch
from jaxtyping import Int
from nerfstudio.configs.base_config import InstantiateConfig
from torch import Tensor

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset
from nerfblendshape_ns.errors import UserError

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
    ring: float = 0.1
    """Weight of a ring round the head's outline, both sides of it."""
    rest: float = 0.15
    """Weight of the whole image."""
    ring_width: float = 0.03
    """Half the ring's width, as a share of the image's longer side."""
    patch_mouth: float = 0.5
    """Weight of the mouth as centre of a patch."""
    patch_eyes: float = 0.2
    """Weight of the eyes as centre of a patch."""
    patch_face: float = 0.3
    """Weight of the face as centre of a patch."""
    seed: int = 0
    """Seed of the draws; a batch depends on it and on the step alone."""


# Rows of a frame's table of boxes.
_FACE, _MOUTH, _FIRST_EYE, _SECOND_EYE, _HEAD, _IMAGE = range(6)


class RegionPixelSampler:
    """Draws pixels of single frames by region.

    Numbers of rays a region are fixed, not drawn, so every batch has the same shape. A region that a frame does not
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
        weights = [config.face, config.mouth, config.eyes, config.head, config.ring, config.rest]
        if min(weights) < 0 or sum(weights) <= 0:
            raise UserError("the pixel sampler's region weights must be 0 or more and not all 0.")
        self._weights = np.array(weights) / sum(weights)
        self._boxes, self._outlines, self._outline_starts = _tables(dataset)
        self._templates: Dict[int, Tuple[Tensor, int, int]] = {}
        patch_weights = torch.tensor(
            [config.patch_face, config.patch_mouth, config.patch_eyes / 2, config.patch_eyes / 2]
        )
        self._patch_weights = patch_weights if patch_weights.sum() > 0 else torch.ones(4)

    def region_counts(self, num_rays: int) -> Dict[str, int]:
        """Number of rays of each region among ``num_rays`` rays of a frame, in the order they come."""
        shares = self._weights * num_rays
        counts = np.floor(shares).astype(int)
        # What rounding down left over goes to the regions that lost most.
        for region in np.argsort(counts - shares, kind="stable")[: num_rays - counts.sum()]:
            counts[region] += 1
        return dict(zip(("face", "mouth", "eyes", "head", "ring", "rest"), counts.tolist()))

    def sample(self, frame: int, num_rays: int, generator: torch.Generator) -> Int[Tensor, " rays"]:
        """Draw pixels of one frame.

        Args:
            frame: index in the dataset.
            num_rays: number of pixels.
            generator: source of the draws, on the CPU.

        Returns:
            int64 pixels, row times width plus column, ordered by region as in :meth:`region_counts`.
        """
        template, num_on_head, num_ring = self._template(num_rays)
        boxes = self._boxes[frame][template]
        positions = boxes[:, :2] + torch.rand(len(template), 2, generator=generator) * boxes[:, 2:]
        pixels = positions[:, 1].long() * self.width + positions[:, 0].long()
        candidates = pixels[: num_on_head * CANDIDATES].view(CANDIDATES, num_on_head)
        on_head = self._labels[frame][candidates] == Label.HEAD
        first = on_head.to(torch.uint8).argmax(0, keepdim=True)
        chosen = candidates.gather(0, first)[0]
        return torch.cat([chosen, self._ring(frame, num_ring, generator), pixels[num_on_head * CANDIDATES :]])

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

    def _template(self, num_rays: int) -> Tuple[Tensor, int, int]:
        """Box of each draw: candidates for the rays on the head, then the rest; and the counts of head and ring."""
        if num_rays not in self._templates:
            counts = self.region_counts(num_rays)
            first_eye = (counts["eyes"] + 1) // 2
            on_head = (
                [_FACE] * counts["face"]
                + [_MOUTH] * counts["mouth"]
                + [_FIRST_EYE] * first_eye
                + [_SECOND_EYE] * (counts["eyes"] - first_eye)
                + [_HEAD] * counts["head"]
            )
            template = torch.tensor(on_head * CANDIDATES + [_IMAGE] * counts["rest"], dtype=torch.int64)
            self._templates[num_rays] = (template, len(on_head), counts["ring"])
        return self._templates[num_rays]

    def _ring(self, frame: int, count: int, generator: torch.Generator) -> Int[Tensor, " rays"]:
        start, end = self._outline_starts[frame], self._outline_starts[frame + 1]
        if start == end:
            box = self._boxes[frame][_IMAGE]
            positions = (torch.rand(count, 2, generator=generator) * box[2:]).long()
        else:
            picked = torch.randint(int(start), int(end), (count,), generator=generator)
            reach = self.config.ring_width * max(self.height, self.width)
            offsets = (torch.rand(count, 2, generator=generator) * 2 - 1) * reach
            positions = (self._outlines[picked] + offsets).round().long()
        x, y = positions[:, 0].clamp(0, self.width - 1), positions[:, 1].clamp(0, self.height - 1)
        return y * self.width + x


def _tables(dataset: NerfBlendshapeDataset) -> Tuple[Tensor, Tensor, List[int]]:
    """Boxes x, y, width, height ``[frames, 6, 4]``; outline pixels x, y of all frames; where each frame's start."""
    height, width = dataset.image_size
    regions = dataset.regions
    rects = torch.cat([regions["face"][:, None], regions["mouth"][:, None], regions["eyes"]], dim=1)
    boxes = torch.zeros(len(dataset), 6, 4)
    outlines, starts = [], [0]
    for frame in range(len(dataset)):
        head = (dataset.labels[frame].numpy() == Label.HEAD).astype(np.uint8)
        image_box = torch.tensor([0.0, 0.0, width, height])
        head_box = torch.tensor(cv2.boundingRect(head), dtype=torch.float32) if head.any() else image_box
        low = rects[frame, :, :2].clamp(min=0)
        high = torch.minimum(rects[frame, :, :2] + rects[frame, :, 2:], image_box[2:])
        inside = (high - low >= 1).all(-1, keepdim=True)
        boxes[frame, :4] = torch.where(inside, torch.cat([low, high - low], dim=-1), head_box)
        boxes[frame, _HEAD], boxes[frame, _IMAGE] = head_box, image_box
        edge = head - cv2.erode(head, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
        y, x = np.nonzero(edge)
        outlines.append(np.stack([x, y], axis=-1).astype(np.int16))
        starts.append(starts[-1] + len(x))
    return boxes, torch.from_numpy(np.concatenate(outlines)), starts
