"""How large the labels of a clip are, and how steady."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional

import cv2
import numpy as np

from nerfblendshape_ns.data.contract import Label

FLOW_SIZE = 256
"""Longer side of the pictures in which motion is measured."""
STEADY_LABELS = (Label.HEAD, Label.NECK, Label.TORSO)


@dataclass
class LabelStatistics:
    """Areas and steadiness of labels, gathered frame by frame.

    A person moves, so two frames' masks differ even where every label is right. With the pictures given, the earlier
    labels are also carried along the optical flow before they are compared: what differs then is flicker.
    """

    areas: List[List[float]] = field(default_factory=list)
    """Share of the image of each label, for each frame."""
    ious: Dict[str, List[float]] = field(default_factory=lambda: {label.name.lower(): [] for label in STEADY_LABELS})
    """By lower-case name, intersection over union of the masks of each frame and the one before, without the first
    frame; NaN where neither has the label."""
    moved_ious: Dict[str, List[float]] = field(
        default_factory=lambda: {label.name.lower(): [] for label in STEADY_LABELS}
    )
    """The same after the motion between the two frames is undone; empty where no pictures were given."""
    _labels: Optional[np.ndarray] = field(default=None, repr=False)
    _grey: Optional[np.ndarray] = field(default=None, repr=False)
    _flow: Any = field(default_factory=lambda: cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST), repr=False)

    def add(self, labels: np.ndarray, image: Optional[np.ndarray] = None) -> None:
        """Take the next frame into account.

        Args:
            labels: uint8 ``[height, width]``.
            image: uint8 RGB ``[height, width, 3]``, the frame.
        """
        self.areas.append((np.bincount(labels.reshape(-1), minlength=len(Label)) / labels.size).tolist())
        grey = None if image is None else _small_grey(image)
        if self._labels is not None:
            for label in STEADY_LABELS:
                self.ious[label.name.lower()].append(overlap(labels == label, self._labels == label))
            if grey is not None and self._grey is not None:
                self._compare_without_motion(labels, self._labels, grey)
        self._labels, self._grey = labels, grey

    def _compare_without_motion(self, labels: np.ndarray, before: np.ndarray, grey: np.ndarray) -> None:
        height, width = labels.shape
        flow = self._flow.calc(grey, self._grey, None)
        # The motion is smooth: measured small, applied at full size.
        flow = cv2.resize(flow, (width, height)) * (np.array([width, height]) / grey.shape[::-1])
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        map_x, map_y = columns + flow[..., 0].astype(np.float32), rows + flow[..., 1].astype(np.float32)
        carried = cv2.remap(before, map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=(255,))
        # What comes into the picture has no past to be compared with.
        inside = carried != 255
        for label in STEADY_LABELS:
            self.moved_ious[label.name.lower()].append(overlap((labels == label) & inside, carried == label))

    def summary(self) -> Dict[str, Any]:
        """Plain numbers for ``process.json``.

        ``areas``: mean share of the image by label; ``iou`` and ``iou_without_motion``: mean and least by label (None
        where the clip has none of it); ``head_iou_mean``, ``head_iou_min``.
        """
        means = np.mean(self.areas, axis=0) if self.areas else np.zeros(len(Label))
        return {
            "areas": {label.name.lower(): round(float(means[label]), 4) for label in Label},
            "iou": {name: mean_and_least(values) for name, values in self.ious.items()},
            "iou_without_motion": {name: mean_and_least(values) for name, values in self.moved_ious.items()},
            "head_iou_mean": round(self.mean_iou, 4),
            "head_iou_min": round(self.min_iou, 4),
        }

    def by_frame(self) -> Dict[str, Any]:
        """Plain numbers of each frame for ``process.json``.

        ``head_change``: 1 - IoU of the head with the frame before, motion undone where pictures were given, 0 for the
        first frame; ``areas_by_frame``: share of the picture by label.
        """
        head = self.moved_ious["head"] or self.ious["head"]
        areas = np.array(self.areas).reshape(-1, len(Label)).round(5)
        return {
            "head_change": [0.0] + [round(1 - value, 4) for value in np.nan_to_num(head, nan=1.0).tolist()],
            "areas_by_frame": {label.name.lower(): areas[:, label].tolist() for label in STEADY_LABELS},
        }

    @property
    def mean_iou(self) -> float:
        """Mean of the head's :attr:`ious`; 1 for a single frame."""
        return _or_one(self.ious["head"], np.nanmean)

    @property
    def min_iou(self) -> float:
        """Least of the head's :attr:`ious`; 1 for a single frame."""
        return _or_one(self.ious["head"], np.nanmin)

    @property
    def mean_areas(self) -> Dict[str, float]:
        """Mean share of the image of each label, by lower-case name."""
        means = np.mean(self.areas, axis=0) if self.areas else np.zeros(len(Label))
        return {label.name.lower(): float(means[label]) for label in Label}


def _small_grey(image: np.ndarray) -> np.ndarray:
    scale = min(1.0, FLOW_SIZE / max(image.shape[:2]))
    # The flow needs pictures of some size.
    size = (max(16, round(image.shape[1] * scale)), max(16, round(image.shape[0] * scale)))
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks; NaN where both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else float("nan")


def mean_and_least(values: List[float]) -> Optional[List[float]]:
    """Mean and least of the numbers that are not NaN, rounded; None where there is none."""
    known = [value for value in values if np.isfinite(value)]
    return [round(float(np.mean(known)), 4), round(float(np.min(known)), 4)] if known else None


def _or_one(values: List[float], reduce: Callable[..., Any]) -> float:
    return float(reduce(values)) if np.isfinite(values).any() else 1.0
