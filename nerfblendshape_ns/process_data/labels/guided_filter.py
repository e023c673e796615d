"""Guided image filtering with a colour guide, and its fast form that filters small and applies large.

K. He, J. Sun, X. Tang, "Guided Image Filtering", TPAMI 2013, equations 19-21; K. He, J. Sun, "Fast Guided Filter",
arXiv:1505.00996, 2015. The headless OpenCV wheel has no ``ximgproc``, so it is written with box filters.
"""

from __future__ import annotations

from typing import Tuple

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
        self._guide = np.ascontiguousarray(guide, dtype=np.float32)
        self._mean = self._box(self._guide)
        channels = cv2.split(self._guide)
        pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
        products = [channels[first] * channels[second] for first, second in pairs]
        rr, rg, rb, gg, gb, bb = (
            self._box(product) - self._mean[..., first] * self._mean[..., second]
            for product, (first, second) in zip(products, pairs)
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

    def coefficients(self, image: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Local linear model of one image on the guide, averaged over the windows that see a pixel.

        Args:
            image: float32 ``[height, width]``.

        Returns:
            Slope ``[height, width, 3]`` and offset ``[height, width]``: the filtered image is their product with the
            guide, summed over colours, plus the offset.
        """
        mean_image = self._box(image)
        covariance = [
            self._box(self._guide[..., channel] * image) - self._mean[..., channel] * mean_image for channel in range(3)
        ]
        rr, rg, rb, gg, gb, bb = self._inverse
        red, green, blue = covariance
        slope_red = rr * red + rg * green + rb * blue
        slope_green = rg * red + gg * green + gb * blue
        slope_blue = rb * red + gb * green + bb * blue
        slope = np.dstack([slope_red, slope_green, slope_blue])
        offset = mean_image - np.einsum("hwc,hwc->hw", slope, self._mean)
        return self._box(slope), self._box(offset)

    def filter(self, image: np.ndarray) -> np.ndarray:
        """Filter one float32 image ``[height, width]``; returns the same shape."""
        slope, offset = self.coefficients(image)
        return np.einsum("hwc,hwc->hw", slope, self._guide) + offset

    def upsample(self, image: np.ndarray, large_guide: np.ndarray) -> np.ndarray:
        """Filter a small image and bring it to the size of a large guide, whose edges it then follows.

        Args:
            image: float32 ``[height, width]``, at the size of this guide.
            large_guide: float32 ``[large_height, large_width, 3]`` in 0..1, the same image.

        Returns:
            float32 ``[large_height, large_width]``.
        """
        slope, offset = self.coefficients(image)
        size = (large_guide.shape[1], large_guide.shape[0])
        model = cv2.resize(np.dstack([slope, offset]), size, interpolation=cv2.INTER_LINEAR)
        return np.einsum("hwc,hwc->hw", model[..., :3], large_guide) + model[..., 3]
