"""Guided image filtering with a colour guide, and its fast form that filters small and applies large.

K. He, J. Sun, X. Tang, "Guided Image Filtering", TPAMI 2013, equations 19-21; K. He, J. Sun, "Fast Guided Filter",
arXiv:1505.00996, 2015. The headless OpenCV wheel has no ``ximgproc``, so it is written with box filters.
"""

from __future__ import annotations

from typing import Sequence

import cv2
import numpy as np


class ColourGuide:
    """The part of the guided filter that depends on the guide alone, computed once for several filtered images.

    Args:
        guide: float32 ``[height, width, 3]`` in 0..1.
        radius: half the side of the box window, in pixels of the guide.
        epsilon: variance of the guide (squared colour units) under which a window counts as flat and is averaged.
    """

    def __init__(self, guide: np.ndarray, radius: int, epsilon: float) -> None:
        self._window = (2 * radius + 1, 2 * radius + 1)
        # One array per channel: sums over channels of interleaved ones take several times longer.
        self._guide = cv2.split(np.asarray(guide, dtype=np.float32))
        self._mean = [self._box(channel) for channel in self._guide]
        pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
        rr, rg, rb, gg, gb, bb = (
            self._box(self._guide[first] * self._guide[second]) - self._mean[first] * self._mean[second]
            for first, second in pairs
        )
        rr, gg, bb = rr + epsilon, gg + epsilon, bb + epsilon
        # Inverse of the symmetric 3 x 3 covariance of each window, by cofactors.
        cofactor_rr, cofactor_rg, cofactor_rb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
        determinant = rr * cofactor_rr + rg * cofactor_rg + rb * cofactor_rb
        cofactor_gg, cofactor_gb, cofactor_bb = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
        cofactors = (cofactor_rr, cofactor_rg, cofactor_rb, cofactor_gg, cofactor_gb, cofactor_bb)
        self._inverse = [cofactor / determinant for cofactor in cofactors]

    def _box(self, image: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(image, -1, self._window, borderType=cv2.BORDER_REFLECT)

    def filter(self, image: np.ndarray) -> np.ndarray:
        """Filter one float32 image ``[height, width]``; returns the same shape."""
        return self.upsample(image, self._guide)

    def upsample(self, image: np.ndarray, large_guide: Sequence[np.ndarray]) -> np.ndarray:
        """Filter a small image and bring it to the size of a large guide, whose edges it then follows.

        Args:
            image: float32 ``[height, width]``, at the size of this guide.
            large_guide: the same picture, a float32 ``[large_height, large_width]`` in 0..1 for each channel.

        Returns:
            float32 ``[large_height, large_width]``.
        """
        # A local linear model of the image on the guide, then its mean over the windows that see a pixel.
        mean_image = self._box(image)
        red, green, blue = (
            self._box(channel * image) - mean * mean_image for channel, mean in zip(self._guide, self._mean)
        )
        rr, rg, rb, gg, gb, bb = self._inverse
        slopes = [
            rr * red + rg * green + rb * blue,
            rg * red + gg * green + gb * blue,
            rb * red + gb * green + bb * blue,
        ]
        offset = mean_image - _weighted_sum(slopes, self._mean)
        size = large_guide[0].shape[::-1]
        *slopes, offset = (
            cv2.resize(self._box(layer), size, interpolation=cv2.INTER_LINEAR) for layer in (*slopes, offset)
        )
        return _weighted_sum(slopes, large_guide) + offset


def _weighted_sum(layers: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> np.ndarray:
    """Sum over three pairs of arrays of their products."""
    first, second, third = (layer * weight for layer, weight in zip(layers, weights))
    first += second
    first += third
    return first
