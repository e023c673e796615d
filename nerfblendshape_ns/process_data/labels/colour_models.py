"""Colour models of a clip's materials (hair, skin, cloth, background): smoothed histograms in CIE Lab.

A histogram needs no number of components and no starting values, and looking a pixel up is one table access, so it is
deterministic and fast; the smoothing makes it a kernel density estimate.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

BINS = 32
"""Bins along each Lab axis, each 8 units of OpenCV's 8-bit Lab wide."""
SMOOTHING = 1.0
"""Standard deviation of the Gaussian kernel, in bins."""
UNIFORM_WEIGHT = 0.02
"""Weight of a uniform density that is mixed in, so that a colour never seen stays possible."""
DARKEST_SHADE, LIGHTEST_SHADE = 0.38, 1.45
"""Lightness beyond which a colour is no shade of a material, as multiples of its mean lightness."""


def colour_bins(image: np.ndarray) -> np.ndarray:
    """Bin of each pixel's colour.

    Args:
        image: uint8 RGB ``[height, width, 3]``.

    Returns:
        int32 ``[height, width]``, indices into a flat histogram of ``BINS`` cubed.
    """
    # Chroma differences between skin, hair and cloth are a few units; stretching it twofold about grey resolves them.
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.int32)
    lab[..., 1:] = np.clip((lab[..., 1:] - 128) * 2 + 128, 0, 255)
    lab >>= 3
    return (lab[..., 0] * BINS + lab[..., 1]) * BINS + lab[..., 2]


class ColourModel:
    """Density of colours of one material."""

    def __init__(self) -> None:
        self._counts = np.zeros(BINS**3, dtype=np.float64)

    def add(self, bins: np.ndarray, weights: np.ndarray) -> None:
        """Add pixels.

        Args:
            bins: indices from :func:`colour_bins`, any shape.
            weights: how much each pixel belongs to this material, the same shape, not negative.
        """
        self._counts += np.bincount(bins.reshape(-1), weights.reshape(-1), minlength=BINS**3)

    def restrict(self, factors: np.ndarray) -> None:
        """Scale what was seen of each colour by ``factors``, float ``[BINS ** 3]`` in 0..1."""
        self._counts *= factors

    def log_density(self) -> np.ndarray:
        """Logarithm of the smoothed density relative to a uniform one.

        Returns:
            float32 ``[BINS ** 3]``: 0 where the density is that of a uniform one. A model without pixels is 0
            everywhere.
        """
        total = self._counts.sum()
        if total <= 0:
            return np.zeros(BINS**3, dtype=np.float32)
        cube = (self._counts / total).reshape(BINS, BINS, BINS)
        smooth = gaussian_filter(cube, SMOOTHING, mode="reflect").reshape(-1)
        return np.log((1 - UNIFORM_WEIGHT) * smooth * BINS**3 + UNIFORM_WEIGHT).astype(np.float32)

    def shades(self) -> np.ndarray:
        """How well each colour passes for a lighter or darker shade of this material.

        Light scales a surface's lightness and chroma together, so the ratio of chroma to lightness stays. Colours are
        judged by the distance of their ratio from the material's, in standard deviations, and by their lightness, as a
        multiple of the material's mean: a chin's shadow halves it, a black or a white collar is farther away.

        Returns:
            float32 ``[BINS ** 3]`` in 0..1; 1 everywhere for a model without pixels.
        """
        total = self._counts.sum()
        if total <= 0:
            return np.ones(BINS**3, dtype=np.float32)
        lightness, green_red, blue_yellow = np.meshgrid(*[np.arange(BINS) + 0.5] * 3, indexing="ij")
        # Very dark colours have no reliable ratio; the floor sends them towards grey.
        scale = np.maximum(lightness, 5.0)
        ratios = np.stack([(green_red - BINS / 2) / scale, (blue_yellow - BINS / 2) / scale], -1).reshape(-1, 2)
        weights = self._counts / total
        mean = weights @ ratios
        covariance = (ratios - mean).T @ ((ratios - mean) * weights[:, None]) + 0.04**2 * np.eye(2)
        distance = np.einsum("ni,ij,nj->n", ratios - mean, np.linalg.inv(covariance), ratios - mean)
        relative = lightness.reshape(-1) / (weights @ lightness.reshape(-1))
        return (
            np.exp(-0.5 * distance / 2.0**2)
            * np.clip((4.0 - np.sqrt(distance)) / 1.5, 0, 1)
            * np.clip((relative - DARKEST_SHADE) / 0.15, 0, 1)
            * np.clip((LIGHTEST_SHADE - relative) / 0.15, 0, 1)
        ).astype(np.float32)
