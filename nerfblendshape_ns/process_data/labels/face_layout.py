"""Where pixels lie relative to the face: a head-aligned frame of reference and geometric priors for the labels.

Canonical coordinates: origin between the eyes, x to the image's right and y down for an upright face, and the unit is
the clip's median face height from the top of the face oval to the chin. A similarity fitted to landmarks that barely
move with expression takes pixels there, so that one clip-wide map fits every frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import cv2
import numpy as np

from nerfblendshape_ns.data.contract import LEFT_EYE_LANDMARKS, LIP_LANDMARKS, RIGHT_EYE_LANDMARKS
from nerfblendshape_ns.process_data.face.canonical_face import BROWS, NOSE_TIP

# fmt: off
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
"""Outline of the face in MediaPipe's numbering, in order along it."""
JAW_LINE = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454)
"""The lower part of the outline, from one ear over the chin to the other."""
RIGID = (10, 151, 9, 8, 168, 6, 197, 195, 5, 33, 133, 362, 263, 127, 356, 234, 454, 98, 327)
# fmt: on
"""Landmarks that barely move with expression."""
NECK_BEHIND = 1.0
"""How far the neck's axis is behind the jaw, as a multiple of how far the tip of the nose is in front of it."""
CHIN, TOP, EAR_LOBES = 152, 10, (132, 361)
FEATURES = (LIP_LANDMARKS, LEFT_EYE_LANDMARKS, RIGHT_EYE_LANDMARKS, *BROWS)


class HeadFrame:
    """Similarities between a clip's frames and its canonical coordinates.

    Args:
        landmarks: ``[num_frames, 478, 2]`` pixels, without NaN.
    """

    def __init__(self, landmarks: np.ndarray) -> None:
        points = landmarks[..., 0].astype(np.float64) + 1j * landmarks[..., 1]
        rigid = points[:, list(RIGID)]
        reference = rigid[0]
        for _ in range(3):
            scale, shift = _fit_similarity(reference, rigid)
            reference = _median((rigid - shift[:, None]) / scale[:, None])
        scale, shift = _fit_similarity(reference, rigid)
        aligned = (points - shift[:, None]) / scale[:, None]
        height = _median(aligned[:, CHIN] - aligned[:, TOP])
        eyes = _median(aligned[:, [33, 133, 362, 263]].mean(1))
        # The mean face gets height 1 and stands upright: -1j takes "down", +1j, to a positive real number and back.
        unit = height / 1j
        self._scale = scale * unit
        self._shift = shift + scale * eyes

    def face_height(self, frame: int) -> float:
        """Pixels per canonical unit in a frame."""
        return float(abs(self._scale[frame]))

    def to_canonical(self, frame: int, points: np.ndarray) -> np.ndarray:
        """Canonical coordinates of pixel positions ``[..., 2]``."""
        values = (points[..., 0] + 1j * points[..., 1] - self._shift[frame]) / self._scale[frame]
        return np.stack([values.real, values.imag], -1).astype(np.float32)

    def grid(self, frame: int, height: int, width: int, pixel_size: float) -> Tuple[np.ndarray, np.ndarray]:
        """Canonical x and y of every pixel of a downscaled frame.

        Args:
            frame: index of the frame.
            height: rows of the downscaled frame.
            width: columns of the downscaled frame.
            pixel_size: full-size pixels to one downscaled pixel.

        Returns:
            Two float32 arrays ``[height, width]``.
        """
        inverse = 1 / self._scale[frame]
        columns = ((np.arange(width) + 0.5) * pixel_size - self._shift[frame].real)[None, :]
        rows = ((np.arange(height) + 0.5) * pixel_size - self._shift[frame].imag)[:, None]
        x = inverse.real * columns - inverse.imag * rows
        y = inverse.imag * columns + inverse.real * rows
        return x.astype(np.float32), y.astype(np.float32)


def _median(values: np.ndarray) -> np.ndarray:
    """Median over the first axis of complex numbers, of real and imaginary parts separately."""
    return np.median(values.real, 0) + 1j * np.median(values.imag, 0)


def _fit_similarity(reference: np.ndarray, points: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Least-squares ``points = scale * reference + shift`` in complex numbers, for each row of ``points``."""
    centre, centres = reference.mean(), points.mean(1)
    scale = ((points - centres[:, None]) * np.conj(reference - centre)).sum(1) / (abs(reference - centre) ** 2).sum()
    return scale, centres - scale * centre


@dataclass
class FaceGeometry:
    """Where each pixel of one frame lies by the landmarks, at working size (arrays are ``[height, width]``)."""

    x: np.ndarray
    """Canonical x, float32."""
    y: np.ndarray
    """Canonical y, float32."""
    oval: np.ndarray
    """Inside the face outline, bool."""
    plain_skin: np.ndarray
    """Inside the outline and away from eyes, brows and lips, bool."""
    below_jaw: np.ndarray
    """Canonical distance below the jaw line and, at the sides, below the ear lobes; float32, negative above."""
    chin: float
    """Canonical y of the chin."""
    lobes: float
    """Canonical y of the ear lobes."""
    beside_lobe: np.ndarray
    """Canonical distance sideways from the nearer ear lobe, float32, not negative."""
    across: np.ndarray
    """Distance to the middle of the jaw in units of the jaw's width, float32; 0.5 at its ends."""
    across_neck: np.ndarray
    """The same, but on the side that the face is turned to measured from the middle of the neck, which stays behind."""


def face_geometry(
    head_frame: HeadFrame, frame: int, landmarks: np.ndarray, height: int, width: int, pixel_size: float
) -> FaceGeometry:
    """The geometry of one frame.

    Args:
        head_frame: the clip's alignment.
        frame: index of the frame.
        landmarks: ``[478, 2]`` full-size pixels of that frame.
        height: rows at working size.
        width: columns at working size.
        pixel_size: full-size pixels to one working pixel.
    """
    x, y = head_frame.grid(frame, height, width, pixel_size)
    oval = _polygon(landmarks[list(FACE_OVAL)] / pixel_size, height, width)
    unit = head_frame.face_height(frame) / pixel_size
    features = np.zeros((height, width), np.uint8)
    for group in FEATURES:
        features |= _polygon(cv2.convexHull(landmarks[list(group)])[:, 0] / pixel_size, height, width)
    features = cv2.dilate(features, disc(0.04 * unit))
    inner = cv2.erode(oval, disc(0.05 * unit))
    jaw = head_frame.to_canonical(frame, landmarks[list(JAW_LINE)])
    right_lobe, left_lobe = head_frame.to_canonical(frame, landmarks[list(EAR_LOBES)])
    lobes = float(right_lobe[1] + left_lobe[1]) / 2
    order = np.argsort(jaw[:, 0])
    middle, jaw_width = 0.5 * (jaw[:, 0].min() + jaw[:, 0].max()), np.ptp(jaw[:, 0])
    nose = float(head_frame.to_canonical(frame, landmarks[NOSE_TIP])[0])
    neck = middle - NECK_BEHIND * (nose - middle)
    line = np.interp(x, jaw[order, 0], jaw[order, 1], left=-9.0, right=-9.0)
    return FaceGeometry(
        x=x,
        y=y,
        oval=oval > 0,
        plain_skin=(inner > 0) & (features == 0),
        below_jaw=(y - np.maximum(line, lobes)).astype(np.float32),
        chin=float(jaw[JAW_LINE.index(CHIN), 1]),
        lobes=lobes,
        beside_lobe=np.minimum(np.abs(x - right_lobe[0]), np.abs(x - left_lobe[0])),
        across=np.abs(x - middle) / jaw_width,
        across_neck=np.maximum(np.abs(x - middle), np.abs(x - neck) * (np.sign(x - middle) == np.sign(middle - neck)))
        / jaw_width,
    )


def _polygon(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Filled polygon as a uint8 mask, with corners rounded to a sixteenth of a pixel."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.rint((points - 0.5) * 16).astype(np.int32)], (1,), shift=4)
    return mask


def disc(radius: float) -> np.ndarray:
    """A structuring element of OpenCV's that reaches ``radius`` pixels, at least one."""
    size = 2 * max(1, int(round(radius))) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
