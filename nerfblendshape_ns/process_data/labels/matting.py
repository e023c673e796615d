"""Opacity of the person along the outline: strands of hair, soft edges, motion blur.

Each pixel near the outline of the labels is a mixture of a foreground and a background colour, both normal
distributions estimated nearby, as in Bayesian matting (Y.-Y. Chuang et al., "A Bayesian Approach to Digital Matting",
CVPR 2001, equations 4-9); where the clean plate shows the pixel, the background's colour is known. Instead of
alternating between opacity and colours, the likelihood is evaluated at a few opacities with the colours integrated out,
and the posterior mean is taken: no iterations, and no jumps between neighbouring frames. A guided filter then smooths
the noise along the image's edges.

PyMatting's closed-form matting (Levin et al., PAMI 2008) takes 0.3 to 0.4 s per frame of 512 x 512 and shows steps
along the blocks of compressed video, which this does not.
"""

from __future__ import annotations

from typing import Tuple

import cv2
import numpy as np

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.process_data.labels.guided_filter import ColourGuide

OPACITIES = np.linspace(0.0, 1.0, 9, dtype=np.float32)
"""Opacities at which the likelihood is taken."""
NEAR = 0.08
"""Standard deviation of the window in which colours are gathered, in face heights."""
NEAR_PIXELS = 3.0
"""The same in pixels of the downscaled image in which they are gathered."""
CLEAR = 0.08
"""Opacities up to this are clear, and those this near to 1 solid."""
# How far the matte extends, in face heights: inside the outline of the labels, outside it from hair, and outside it
# from neck and clothes.
INSIDE, OUTSIDE, OUTSIDE_CLOTHES = 0.025, 0.06, 0.015
# Noise of a video's pixel and of the mixture model itself, for values in 0..1.
PIXEL_NOISE = 0.02
# Least standard deviation of a material's colours nearby.
LEAST_SPREAD = 0.03


def person_matte(
    image: np.ndarray, labels: np.ndarray, face_height: float, plate: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """Opacity of the person (head, neck and torso) against the background.

    Args:
        image: uint8 RGB ``[height, width, 3]``.
        labels: uint8 ``[height, width]``, values of :class:`~nerfblendshape_ns.data.contract.Label`.
        face_height: height of the face in pixels.
        plate: uint8 RGB ``[height, width, 3]``, the clean plate.
        seen: bool ``[height, width]``, where a frame shows it; elsewhere the background is taken from nearby.

    Returns:
        uint8 ``[height, width]``: 255 is the person; 0 and 255 away from the outline.
    """
    person = (labels != Label.BACKGROUND).astype(np.uint8)
    if not person.any() or person.all():
        return person * np.uint8(255)
    # With its border repeated: the image's edge is no outline of the person.
    framed = cv2.copyMakeBorder(person, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    inward = cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1]
    outward, extent = _outward(labels, person, face_height)
    inside = max(1.5, INSIDE * face_height)
    band = ((person > 0) & (inward <= inside)) | ((person == 0) & (outward <= extent))
    surely_person, surely_background = (person > 0) & ~band, (person == 0) & ~band
    if not surely_person.any() or not surely_background.any():
        return person * np.uint8(255)
    colours = _opponent(image)
    scale = max(1.0, NEAR * face_height / NEAR_PIXELS)
    squares = colours * colours
    foreground = _nearby(colours, squares, surely_person, scale, band)
    background = _nearby(colours, squares, surely_background, scale, band)
    background = _with_plate(background, colours, _opponent(plate), surely_background, seen, band, scale)
    # The labels' outline is evidence too, weaker the farther a pixel is from it.
    signed = np.where(person[band] > 0, inward[band] / inside, -outward[band] / np.maximum(extent[band], 1e-3))
    matte = person.astype(np.float32)
    matte[band] = _posterior_mean(_values(colours, band), foreground, background, signed)
    guide = ColourGuide(image.astype(np.float32) / 255, max(1, round(0.008 * face_height)), 1e-3)
    smooth = guide.filter(matte)
    # What is nearly clear or nearly solid becomes so: a faint haze around a head shows on every other background.
    matte[band] = np.clip((smooth[band] - CLEAR) / (1 - 2 * CLEAR), 0, 1)
    # Down to nothing at the end of the band, so that its edge does not show.
    fade = np.clip(2.0 * (1.0 - np.abs(signed)), 0, 1)
    matte[band] = np.where(signed > 0, 1 - fade * (1 - matte[band]), fade * matte[band])
    return np.rint(matte * 255).astype(np.uint8)


def _outward(labels: np.ndarray, person: np.ndarray, face_height: float) -> Tuple[np.ndarray, np.ndarray]:
    """Distance of each background pixel from the person, and how far the matte extends there."""
    outward = cv2.distanceTransform(1 - person, cv2.DIST_L2, 5)
    hair = cv2.distanceTransform((labels != Label.HEAD).astype(np.uint8), cv2.DIST_L2, 5)
    # Hair wins a little way down the clothes: strands lie on shoulders.
    by_hair = hair <= outward + 0.5
    extent = np.where(by_hair, OUTSIDE, OUTSIDE_CLOTHES) * face_height
    return outward, np.maximum(extent, 1.5).astype(np.float32)


def _opponent(image: np.ndarray) -> np.ndarray:
    """Lightness and two colour differences in 0..1: linear in RGB, so mixtures stay mixtures, and little correlated."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb).astype(np.float32) / 255


def _values(image: np.ndarray, band: np.ndarray) -> np.ndarray:
    """An image's values in the band, ``[channels, band]``: numpy is slow where the last axis is short."""
    return np.ascontiguousarray(image[band].T)


def _nearby(
    colours: np.ndarray, squares: np.ndarray, known: np.ndarray, scale: float, band: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Mean and variance ``[3, band]`` of the known colours around each pixel of the band, given their squares."""
    height, width = known.shape
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    mask = known.astype(np.uint8)
    layers = cv2.copyTo(colours, mask), cv2.copyTo(squares, mask), mask.astype(np.float32)
    small = np.dstack([cv2.resize(layer, size, interpolation=cv2.INTER_AREA) for layer in layers])
    # A faint wide window serves where the near one holds nothing.
    gathered = cv2.GaussianBlur(small, (0, 0), NEAR_PIXELS) + 1e-3 * cv2.GaussianBlur(small, (0, 0), 5 * NEAR_PIXELS)
    gathered /= np.maximum(gathered[..., 6:], 1e-8)
    full = cv2.resize(np.ascontiguousarray(gathered[..., :6]), (width, height), interpolation=cv2.INTER_LINEAR)
    mean, square = _values(full, band).reshape(2, 3, -1)
    return mean, np.maximum(square - mean**2, LEAST_SPREAD**2)


def _with_plate(
    background: Tuple[np.ndarray, np.ndarray],
    colours: np.ndarray,
    plate: np.ndarray,
    surely_background: np.ndarray,
    seen: np.ndarray,
    band: np.ndarray,
    scale: float,
) -> Tuple[np.ndarray, np.ndarray]:
    """Background colours of the band from the clean plate, with its error nearby as variance."""
    mean, variance = background
    change = colours - plate
    difference, spread = _nearby(change, change * change, surely_background, scale, band)
    # A light that changed shifts all colours alike; what is left is how far the plate can be trusted.
    known = _values(plate, band) + difference
    trust = (spread.sum(0) < variance.sum(0)) & seen[band]
    return np.where(trust, known, mean), np.where(trust, spread, variance)


def _posterior_mean(
    colours: np.ndarray,
    foreground: Tuple[np.ndarray, np.ndarray],
    background: Tuple[np.ndarray, np.ndarray],
    signed: np.ndarray,
) -> np.ndarray:
    """Mean opacity ``[band]`` given the colours, the materials nearby, and -1..1 from far outside to far inside."""
    (mean_f, variance_f), (mean_b, variance_b) = foreground, background
    logs = np.empty((len(OPACITIES), len(signed)), dtype=np.float32)
    for row, opacity in enumerate(OPACITIES):
        mean = opacity * mean_f + (1 - opacity) * mean_b
        variance = opacity**2 * variance_f + (1 - opacity) ** 2 * variance_b + PIXEL_NOISE**2
        logs[row] = -0.5 * (((colours - mean) ** 2 / variance).sum(0) + np.log(variance.prod(0)))
        # Most pixels are one or the other; towards the ends of the band more and more surely so.
        solid = 2.5 * abs(2 * opacity - 1) - 2.5
        logs[row] += solid + 6.0 * signed * (opacity - 0.5)
    weights = np.exp(logs - logs.max(0))
    return (weights * OPACITIES[:, None]).sum(0) / weights.sum(0)
