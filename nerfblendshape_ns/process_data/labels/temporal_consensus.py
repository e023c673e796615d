"""Agreement of a frame's label probabilities with those of its neighbours in time, along the optical flow."""

from __future__ import annotations

from typing import List

import cv2
import numpy as np


class TemporalConsensus:
    """Averages label probabilities over a window of frames, each neighbour first carried along the optical flow.

    Neighbours count less the further they are in time, and where their colours disagree with the frame's after the
    motion is undone (occlusions, lost flow).

    Args:
        radius: neighbours on either side.
        tolerance: grey-level difference (0..255) at which a neighbour's say falls to 61 %.
    """

    def __init__(self, radius: int, tolerance: float = 10.0) -> None:
        self._radius = radius
        self._tolerance = tolerance
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def combine(self, greys: List[np.ndarray], probabilities: List[np.ndarray], centre: int) -> np.ndarray:
        """Probabilities of one frame after asking its neighbours.

        Args:
            greys: uint8 ``[height, width]`` frames of the window, in time order.
            probabilities: float32 ``[num_labels, height, width]`` of the same frames.
            centre: position of the wanted frame in the window.

        Returns:
            float32 ``[num_labels, height, width]``, summing to 1 where the inputs do.
        """
        height, width = greys[centre].shape
        total = probabilities[centre].copy()
        weights = np.ones((height, width), dtype=np.float32)
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        for index, (grey, neighbour) in enumerate(zip(greys, probabilities)):
            if index == centre:
                continue
            flow = self._flow.calc(greys[centre], grey, None)  # type: ignore[call-overload]
            map_x, map_y = columns + flow[..., 0], rows + flow[..., 1]
            seen = cv2.remap(grey, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            difference = cv2.GaussianBlur(cv2.absdiff(seen, greys[centre]).astype(np.float32), (0, 0), 1.5)
            in_time = np.exp(-0.5 * ((index - centre) / (0.6 * self._radius + 0.4)) ** 2)
            weight = (in_time * np.exp(-0.5 * (difference / self._tolerance) ** 2)).astype(np.float32)
            carried = cv2.remap(
                np.ascontiguousarray(neighbour.transpose(1, 2, 0)),
                map_x,
                map_y,
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            total += weight * carried.transpose(2, 0, 1)
            weights += weight
        return total / weights
