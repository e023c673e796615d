"""Agreement of a frame's label probabilities with those of its neighbours in time, along the optical flow."""

from __future__ import annotations

from typing import List, Tuple

import cv2
import numpy as np

RADIUS = 3
"""Neighbouring frames on either side over which label probabilities are averaged."""
TOLERANCE = 10.0
"""Difference of grey levels (0..255) at which a neighbour's weight falls to 61 %."""


class OpticalFlow:
    """Warps images along the optical flow between two frames (DIS, Kroeger et al., ECCV 2016)."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def maps(self, grey: np.ndarray, other: np.ndarray, height: int, width: int) -> Tuple[np.ndarray, np.ndarray]:
        """Where each pixel of one frame lies in another, for :func:`cv2.remap`.

        Args:
            grey: uint8, the frame.
            other: uint8 of the same size, the other frame.
            height: rows of the images that are warped.
            width: columns of those. Motion is smooth: it may be measured small and applied at full size.

        Returns:
            x and y, float32 ``[height, width]``.
        """
        flow = self._flow.calc(grey, other, None)  # type: ignore[call-overload]
        if flow.shape[:2] != (height, width):
            flow = cv2.resize(flow, (width, height))
        x, y = cv2.split(flow)
        x *= np.float32(width / grey.shape[1])
        y *= np.float32(height / grey.shape[0])
        x += np.arange(width, dtype=np.float32)
        y += np.arange(height, dtype=np.float32)[:, None]
        return x, y


def temporal_consensus(
    flow: OpticalFlow, greys: List[np.ndarray], probabilities: List[np.ndarray], centre: int
) -> np.ndarray:
    """Mean of one frame's label probabilities and its neighbours', each first warped along the optical flow.

    Neighbours count less the further they are in time, and where their colours disagree with the frame's after the
    motion is undone (occlusions, lost flow).

    Args:
        flow: one that no other thread uses meanwhile.
        greys: uint8 ``[height, width]`` frames, up to :data:`RADIUS` on either side of the wanted one, in time order.
        probabilities: float32 ``[num_labels, height, width]`` of the same frames.
        centre: index of the wanted frame among them.

    Returns:
        float32 ``[num_labels, height, width]``, summing to 1 where the inputs do.
    """
    height, width = greys[centre].shape
    # Labels last, as OpenCV warps them.
    total = cv2.merge(list(probabilities[centre]))
    weights = np.ones((height, width), dtype=np.float32)
    for index, (grey, neighbour) in enumerate(zip(greys, probabilities)):
        if index == centre:
            continue
        map_x, map_y = flow.maps(greys[centre], grey, height, width)
        seen = cv2.remap(grey, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        difference = cv2.GaussianBlur(cv2.absdiff(seen, greys[centre]).astype(np.float32), (0, 0), 1.5)
        in_time = np.float32(np.exp(-0.5 * ((index - centre) / (0.6 * RADIUS + 0.4)) ** 2))
        weight = in_time * np.exp(np.float32(-0.5 / TOLERANCE**2) * difference**2)
        layers = cv2.merge(list(neighbour))
        warped = cv2.remap(layers, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        total += cv2.multiply(warped, cv2.merge([weight] * len(neighbour)))
        weights += weight
    return np.stack(cv2.split(total)) / weights
