"""The clean plate: a room's wall with a window's light, a shelf and a painting, slightly out of focus."""

from __future__ import annotations

import cv2
import numpy as np


def render_background(width: int, height: int, seed: int) -> np.ndarray:
    """Draw the clean plate.

    The room is defined on the unit square of the image height, so that every resolution shows the same room.

    Returns:
        ``[height, width, 3]`` float32 RGB in 0..1.
    """
    generator = np.random.default_rng([seed, 7])
    hue = generator.uniform(-0.03, 0.03, 3)
    wall = np.array([0.62, 0.66, 0.68]) + hue
    y, x = np.meshgrid(
        (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5 - 0.5 * width) / height, indexing="ij"
    )

    def edge(value: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 + np.exp(-np.clip(value / 0.012, -40.0, 40.0)))

    def with_box(image: np.ndarray, x0: float, x1: float, y0: float, y1: float, colour: np.ndarray) -> np.ndarray:
        box = (edge(x - x0) * edge(x1 - x) * edge(y - y0) * edge(y1 - y))[..., None]
        return image * (1.0 - box) + box * colour

    image = wall * (1.0 - 0.22 * (x[..., None] + 0.5) - 0.10 * y[..., None])
    for scale, strength in ((5, 0.030), (17, 0.018), (61, 0.012)):
        coarse = generator.standard_normal((scale, scale)).astype(np.float32)
        size = max(height, width)
        noise = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)[:height, :width]
        image = image + strength * noise[..., None]
    shift = float(generator.uniform(-0.03, 0.03))
    image = with_box(image, 0.27 + shift, 0.9, 0.40, 0.435, np.array([0.45, 0.33, 0.24]))  # A shelf.
    left = 0.30 + shift
    for _ in range(7):  # Books.
        thickness = float(generator.uniform(0.02, 0.04))
        tall = float(generator.uniform(0.11, 0.20))
        cover = generator.uniform(0.2, 0.65, 3)
        image = with_box(image, left, left + thickness, 0.40 - tall, 0.40, cover)
        left += thickness + 0.004
    # A painting in a frame.
    image = with_box(image, -0.47 + shift, -0.26 + shift, 0.13, 0.42, np.array([0.25, 0.22, 0.20]))
    sunset = np.stack([0.75 - 0.5 * y, 0.55 + 0.2 * np.sin(9 * x), 0.45 + 0.5 * y], -1)
    image = with_box(image, -0.455 + shift, -0.275 + shift, 0.15, 0.40, sunset)
    return np.clip(image, 0.02, 0.98).astype(np.float32)
