"""How large the labels of a clip are, and how steady."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

import cv2
import numpy as np

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.labels import occluded_fraction
from nerfblendshape_ns.process_data.labels.temporal_consensus import OpticalFlow

FLOW_SIZE = 256
"""Longer side of the images in which motion is measured."""
STEADY_LABELS = (Label.HEAD, Label.NECK, Label.TORSO)


class LabelStatistics:
    """Areas and steadiness of labels, gathered frame by frame.

    A person moves, so two frames' masks differ even where every label is right. The earlier labels are therefore also
    compared after they are warped along the optical flow: what differs then is flicker.
    """

    def __init__(self) -> None:
        self.areas: List[List[float]] = []
        """Per frame the fraction of the image that each label covers."""
        self.ious: Dict[str, List[float]] = {label.name.lower(): [] for label in STEADY_LABELS}
        """By lower-case name, intersection over union of the masks of each frame and the one before, without the first
        frame; NaN where neither has the label."""
        self.moved_ious: Dict[str, List[float]] = {name: [] for name in self.ious}
        """The same after the motion between the two frames is undone."""
        self.occluded: List[float] = []
        """Per frame the fraction of the head that something hides."""
        self._labels: Optional[np.ndarray] = None
        self._grey: Optional[np.ndarray] = None
        self._flow = OpticalFlow()

    def add(self, labels: np.ndarray, image: np.ndarray) -> None:
        """Take the next frame into account.

        Args:
            labels: uint8 ``[height, width]``.
            image: uint8 RGB ``[height, width, 3]``, the frame.
        """
        self.areas.append((np.bincount(labels.reshape(-1), minlength=len(Label)) / labels.size).tolist())
        self.occluded.append(occluded_fraction(labels))
        labels = np.where(labels == Label.OCCLUDED, np.uint8(Label.HEAD), labels)  # The head's outline goes on there.
        grey = _small_grey(image)
        if self._labels is not None and self._grey is not None:
            map_x, map_y = self._flow.maps(grey, self._grey, *labels.shape)
            moved = cv2.remap(
                self._labels, map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=(255,)
            )
            # What enters the image was not in the frame before, so it is not compared.
            inside = moved != 255
            for label in STEADY_LABELS:
                mask = labels == label
                self.ious[label.name.lower()].append(intersection_over_union(mask, self._labels == label))
                self.moved_ious[label.name.lower()].append(intersection_over_union(mask & inside, moved == label))
        self._labels, self._grey = labels, grey

    def summary(self) -> Dict[str, Any]:
        """Plain numbers for ``process.json``.

        ``areas``: mean fraction of the image by label; ``iou`` and ``iou_without_motion``: mean and least by label
        (None where the clip has none of it).
        """
        return {
            "areas": {name: round(area, 4) for name, area in self.mean_areas.items()},
            "iou": {name: _mean_and_least(values) for name, values in self.ious.items()},
            "iou_without_motion": {name: _mean_and_least(values) for name, values in self.moved_ious.items()},
        }

    def per_frame(self) -> Dict[str, Any]:
        """Plain numbers per frame for ``process.json``.

        ``head_change``: 1 - IoU of the head with the frame before, motion undone, 0 for the first frame;
        ``areas_by_frame``: fraction of the image by label, that of the head with what hides it; ``occluded``: fraction
        of the head that something hides.
        """
        change = [round(1 - value, 4) for value in np.nan_to_num(self.moved_ious["head"], nan=1.0).tolist()]
        areas = np.array(self.areas).reshape(-1, len(Label)).round(5)
        areas[:, Label.HEAD] += areas[:, Label.OCCLUDED]
        return {
            "head_change": [0.0, *change],
            "occluded": np.round(self.occluded, 4).tolist(),
            "areas_by_frame": {label.name.lower(): areas[:, label].tolist() for label in STEADY_LABELS},
        }

    @property
    def mean_areas(self) -> Dict[str, float]:
        """Mean fraction of the image that each label covers, by lower-case name."""
        means = np.mean(self.areas, axis=0)
        return {label.name.lower(): float(means[label]) for label in Label}


def _small_grey(image: np.ndarray) -> np.ndarray:
    scale = min(1.0, FLOW_SIZE / max(image.shape[:2]))
    # OpenCV's optical flow ends the process by a signal where a wide image is lower than 32 pixels.
    size = (max(32, round(image.shape[1] * scale)), max(32, round(image.shape[0] * scale)))
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)


def intersection_over_union(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks; NaN where both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else float("nan")


def _mean_and_least(values: List[float]) -> Optional[List[float]]:
    """Mean and least of the numbers that are not NaN, rounded; None where there is none."""
    known = [value for value in values if np.isfinite(value)]
    return [round(float(np.mean(known)), 4), round(float(np.min(known)), 4)] if known else None
