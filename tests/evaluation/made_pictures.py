"""Pictures by formula, so that every machine has the same."""

from __future__ import annotations

from typing import Tuple

import cv2
import numpy as np
import torch
from torch import Tensor


def waves(size: int) -> Tuple[Tensor, Tensor]:
    """A coloured disc on white and a darker, displaced, striped copy: prediction and truth, ``[size, size, 3]``."""
    y, x = np.mgrid[0:size, 0:size] / size
    truth = 0.5 + 0.5 * np.stack([np.sin(7 * x + 3 * y), np.cos(44 * x * y), np.sin(23 * y - 5 * x)], -1)
    truth[(x - 0.5) ** 2 + (y - 0.5) ** 2 > 0.16] = 1.0
    prediction = np.clip(0.9 * np.roll(truth, 2, 1) + 0.05 * np.sin(90 * x)[..., None], 0.0, 1.0)
    return torch.from_numpy(prediction).float(), torch.from_numpy(truth).float()


def texture(size: int, shift: float = 0.0) -> Tensor:
    """Smooth random grain ``[size, size, 3]``, moved to the right by part of a pixel, exactly."""
    generator = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(size) - shift, np.arange(size))
    image = np.zeros((size, size, 3))
    for _ in range(40):
        direction, phase = generator.uniform(0, 2 * np.pi), generator.uniform(0, 2 * np.pi, 3)
        frequency = generator.uniform(0.2, 0.8)  # Radians per pixel: waves of 8 to 31 pixels.
        along = frequency * (x * np.cos(direction) + y * np.sin(direction))
        image += np.sin(along[..., None] + 0.5 * phase)
    return torch.from_numpy(np.clip(0.5 + 0.04 * image, 0, 1)).float()


def blurred(image: Tensor, deviation: float) -> Tensor:
    """By a Gaussian."""
    return torch.from_numpy(cv2.GaussianBlur(image.numpy(), (0, 0), deviation))


def square(size: int, low: int, high: int) -> Tensor:
    """A mask ``[size, size]``, true in rows and columns from ``low`` to below ``high``."""
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[low:high, low:high] = True
    return mask
