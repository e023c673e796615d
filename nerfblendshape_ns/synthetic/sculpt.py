"""The shape of the head as distance fields: skin, hair, neck and clothes, in centimetres of head space.

Everything is symmetric in x, so the fields take the absolute value. The *sculpt pose* has the lips slightly apart and
the eyes open, so that upper and lower lip, and the lids, are separate surfaces of one mesh; the deformations in
:mod:`expressions` close the mouth for the neutral face.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nerfblendshape_ns.synthetic.distance_fields import (
    bump,
    capsule,
    ellipsoid,
    smooth_subtraction,
    smooth_union,
    smoothstep,
    sphere,
)

EYE_CENTRE = (3.15, 2.55, 6.28)  # the person's left eye; the right one is its mirror image
EYE_RADIUS = 1.32
INNER_CORNER = (1.82, 2.40)
OUTER_CORNER = (4.50, 2.62)
MOUTH_Y = -4.35
MOUTH_HALF_WIDTH = 2.5
APERTURE_HALF_WIDTH = 2.36
COLLAR_Y = -15.1
LIP_GAP = 0.26  # half the opening of the sculpt pose at the mouth's middle


@dataclass(frozen=True)
class Proportions:
    """What differs between people; every value multiplies or shifts the average face."""

    width: float = 1.0
    """Width of the whole head; applied to the posed vertices, not to the sculpt."""
    nose_length: float = 1.0
    """How far the nose stands out."""
    jaw_width: float = 1.0
    """Width of the mandible."""
    lip_fullness: float = 1.0
    """Height and relief of the lips."""
    hair_length: float = 0.0
    """How far the hair hangs down at the back and sides, in centimetres below the average."""
    hair_volume: float = 1.0
    """Thickness of the hair."""


def eye_curves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rims of the open lids over the eye.

    Args:
        x: distance from the face's middle plane, any shape.

    Returns:
        Height of the upper rim, of the lower rim, and the position between inner (0) and outer corner (1), unclipped.
    """
    position = (x - INNER_CORNER[0]) / (OUTER_CORNER[0] - INNER_CORNER[0])
    inside = np.clip(position, 0.0, 1.0)
    corner_line = INNER_CORNER[1] + (OUTER_CORNER[1] - INNER_CORNER[1]) * inside
    arch = 4.0 * inside * (1.0 - inside)
    upper = corner_line + 0.60 * arch**0.75 * (1.08 - 0.16 * inside)
    lower = corner_line - 0.42 * arch**0.85 * (0.9 + 0.2 * inside)
    return upper, lower, position


def lip_curves(x: np.ndarray, fullness: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Curves of the mouth in the sculpt pose, as heights over ``x``.

    Returns:
        The line where the closed lips meet, half the gap between the parted lips, and the upper and lower border
        between lip and skin (the border of the upper lip has the cupid's bow).
    """
    t = np.clip(np.abs(x) / MOUTH_HALF_WIDTH, 0.0, 1.0)
    line = MOUTH_Y - 0.10 * bump(np.abs(x), 0.55) + 0.06 * bump(np.abs(x) - 1.1, 0.5) - 0.08 * t**3
    gap = LIP_GAP * np.sqrt(np.clip(1.0 - (np.abs(x) / APERTURE_HALF_WIDTH) ** 2, 0.0, 1.0))
    round_off = np.sqrt(np.clip(1.0 - t * t, 0.0, 1.0))
    bow = 0.10 * bump(np.abs(x) - 0.55, 0.28) - 0.10 * bump(np.abs(x), 0.25)
    upper = line + gap + fullness * (0.70 * round_off**1.3 + bow)
    lower = line - gap - fullness * 0.98 * round_off**1.2
    return line, gap, upper, lower


def eye_aperture(points: np.ndarray) -> np.ndarray:
    """Negative inside the opening between the lids (a prism along z that starts at the eye's centre)."""
    x = np.abs(points[..., 0])
    upper, lower, position = eye_curves(x)
    span = OUTER_CORNER[0] - INNER_CORNER[0]
    ends = np.maximum(-position, position - 1.0) * span
    across = np.maximum(points[..., 1] - upper, lower - points[..., 1])
    return np.maximum(np.maximum(across, ends), EYE_CENTRE[2] - 0.2 - points[..., 2])


def mouth_cavity(points: np.ndarray) -> np.ndarray:
    """Negative inside the mouth: the opening between the parted lips and the hollow behind it."""
    mirrored = np.stack([np.abs(points[..., 0]), points[..., 1], points[..., 2]], -1)
    x, y, z = mirrored[..., 0], mirrored[..., 1], mirrored[..., 2]
    line, gap, _, _ = lip_curves(x)
    opening = np.maximum(np.abs(y - line) - gap, np.maximum(x - APERTURE_HALF_WIDTH, 5.0 - z))
    hollow = ellipsoid(mirrored, (0.0, MOUTH_Y - 0.35, 4.6), (3.1, 1.75, 3.25))
    return np.minimum(opening, hollow)


def skin(points: np.ndarray, shape: Proportions) -> np.ndarray:
    """Distance to the skin of the head: skull, face relief, ears, lips, lids and mouth, without the neck."""
    p = np.stack([np.abs(points[..., 0]), points[..., 1], points[..., 2]], -1)
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    jaw = shape.jaw_width

    solid = ellipsoid(p, (0.0, 4.2, -0.9), (7.45, 9.0, 9.75))
    solid = smooth_union(solid, ellipsoid(p, (0.0, -0.4, 0.6), (6.85, 7.6, 7.3)), 2.0)
    mandible = capsule(p, (4.75 * jaw, -4.5, 0.8), (1.5, -7.7, 6.4), 1.55, 1.35)
    mandible = smooth_union(mandible, ellipsoid(p, (0.0, -4.3, 1.4), (5.3 * jaw, 4.6, 5.4)), 1.5)
    mandible = smooth_union(mandible, capsule(p, (5.6, -0.5, 1.2), (4.9 * jaw, -4.5, 1.0), 1.2, 1.4), 1.5)
    solid = smooth_union(solid, mandible, 1.6)
    solid = smooth_union(solid, ellipsoid(p, (0.0, -3.7, 4.7), (3.7, 3.9, 4.25)), 1.8)
    solid = smooth_union(solid, ellipsoid(p, (0.0, -8.0, 6.95), (1.75, 1.35, 1.35)), 1.5)
    solid = smooth_union(solid, ellipsoid(p, (4.1, -0.7, 4.5), (2.4, 1.9, 2.5)), 2.2)
    solid = smooth_union(solid, capsule(p, (0.9, 4.2, 7.9), (4.9, 4.35, 6.1), 0.75, 0.75), 1.1)
    solid = smooth_subtraction(solid, ellipsoid(p, (3.15, 2.35, 9.15), (2.1, 1.25, 1.75)), 1.2)

    nose_length = shape.nose_length
    nose = capsule(p, (0.0, 3.2, 8.0), (0.0, -0.55, 8.0 + 2.15 * nose_length), 0.62, 0.72)
    nose = smooth_union(nose, capsule(p, (0.0, 3.0, 7.5), (0.0, -1.0, 7.6 + 1.2 * nose_length), 0.7, 1.25), 0.7)
    nose = smooth_union(nose, ellipsoid(p, (0.0, -0.95, 8.0 + 2.35 * nose_length), (0.92, 0.80, 0.78)), 0.5)
    nose = smooth_union(nose, ellipsoid(p, (1.12, -1.42, 8.0 + 1.25 * nose_length), (0.66, 0.62, 0.95)), 0.45)
    nose = smooth_union(nose, capsule(p, (0.0, -1.2, 10.2), (0.0, -2.1, 9.2), 0.45, 0.4), 0.3)
    nose = smooth_subtraction(nose, ellipsoid(p, (0.58, -2.0, 9.55), (0.36, 0.5, 0.5)), 0.22)
    solid = smooth_union(solid, nose, 0.85)

    # Lips and the skin around them are relief on the front of the face, pushed along z.
    line, gap, upper, lower = lip_curves(x, shape.lip_fullness)
    front = smoothstep(5.0, 6.5, z)
    inside_mouth = smoothstep(MOUTH_HALF_WIDTH + 0.35, MOUTH_HALF_WIDTH - 0.9, x)
    upper_profile = np.clip((y - line - 0.3 * gap) / np.maximum(upper - line - 0.3 * gap, 0.05), 0.0, 1.6)
    lower_profile = np.clip((line - 0.3 * gap - y) / np.maximum(line - 0.3 * gap - lower, 0.05), 0.0, 1.6)
    upper_relief = np.where(y > line, np.sin(upper_profile * np.pi / 1.6), 0.0)
    lower_relief = np.where(y <= line, np.sin(lower_profile * np.pi / 1.6), 0.0)
    relief = 0.50 * shape.lip_fullness * inside_mouth * (upper_relief + 1.05 * lower_relief)
    relief -= 0.14 * bump(x, 0.28) * smoothstep(-3.4, -3.0, y) * smoothstep(-2.0, -2.4, y)  # philtrum
    relief -= 0.22 * bump(x, 1.4) * bump(y + 6.45, 0.45)  # the dent between lower lip and chin
    fold = x - (1.95 + 0.42 * (-1.4 - y))
    relief -= 0.10 * bump(fold, 0.28) * smoothstep(-4.4, -3.4, y) * smoothstep(-1.0, -1.8, y)  # nasolabial fold
    relief -= 0.25 * bump(x - MOUTH_HALF_WIDTH - 0.1, 0.3) * bump(y - MOUTH_Y, 0.35)
    solid = solid - front * relief

    solid = smooth_union(solid, sphere(p, EYE_CENTRE, EYE_RADIUS + 0.15), 0.35)
    eye_upper, _, position = eye_curves(x)
    crease = bump(y - eye_upper - 0.36, 0.10) * smoothstep(-0.1, 0.15, position) * smoothstep(1.15, 0.85, position)
    solid = solid + 0.13 * crease * front
    solid = smooth_subtraction(solid, eye_aperture(p), 0.12)

    solid = smooth_union(solid, _ear(p), 0.45)
    return smooth_subtraction(solid, mouth_cavity(p), 0.12)


def _ear(p: np.ndarray) -> np.ndarray:
    """Outer ear: a tilted shell with a rim, a hollow and a lobe."""
    lean, sweep = np.radians(24.0), np.radians(-10.0)
    x, y, z = np.moveaxis(p - np.asarray((7.75, 0.35, -0.75), p.dtype), -1, 0)
    x, z = x * np.cos(lean) + z * np.sin(lean), z * np.cos(lean) - x * np.sin(lean)
    y, z = y * np.cos(sweep) - z * np.sin(sweep), y * np.sin(sweep) + z * np.cos(sweep)
    turned = np.stack([x, y, z], -1)
    shell = ellipsoid(turned, (0.0, 0.55, 0.0), (0.55, 2.75, 1.55))
    shell = smooth_union(shell, ellipsoid(turned, (-0.1, -2.1, 0.35), (0.42, 0.95, 0.75)), 0.5)
    shell = smooth_subtraction(shell, ellipsoid(turned, (0.75, 0.65, 0.15), (0.62, 2.05, 0.98)), 0.25)
    shell = smooth_union(shell, capsule(turned, (0.15, 1.4, 0.1), (0.12, -0.9, -0.45), 0.20, 0.24), 0.25)
    return smooth_subtraction(shell, sphere(turned, (0.55, -0.35, 0.45), 0.42), 0.2)


def _waves(points: np.ndarray, wavelength: float) -> np.ndarray:
    """A smooth irregular pattern of height about 1, made of sines that bend each other."""
    scale = 2.0 * np.pi / wavelength
    x, y, z = points[..., 0] * scale, points[..., 1] * scale, points[..., 2] * scale
    return np.sin(x + 0.9 * np.sin(0.7 * y + 1.3)) * np.sin(0.8 * z + 0.7 * np.sin(0.6 * x)) + 0.5 * np.sin(
        0.9 * y + 1.1 * np.sin(0.8 * z + 0.5 * x)
    )


def hair(points: np.ndarray, shape: Proportions) -> np.ndarray:
    """Distance to the hair: a shell over the skull whose thickness grows from nothing at the hairline."""
    p = np.stack([np.abs(points[..., 0]), points[..., 1], points[..., 2]], -1)
    y, z = p[..., 1], p[..., 2]
    skull = ellipsoid(p, (0.0, 4.2, -0.9), (7.45, 9.0, 9.75))
    skull = smooth_union(skull, ellipsoid(p, (0.0, -0.8, -3.0), (7.0, 7.4, 6.6)), 1.5)
    bare = ellipsoid(p, (0.0, 0.2, 10.0), (7.0, 8.3, 7.8))
    bare = smooth_union(bare, ellipsoid(p, (0.0, -7.5, 6.0), (9.0, 6.5, 7.4)), 2.5)
    bare = smooth_union(bare, ellipsoid(p, (8.4, -1.2, -0.1), (2.6, 3.6, 2.1)), 0.8)
    bare = smooth_union(bare, y + 5.6 + shape.hair_length, 1.5)
    into_hair = bare + 0.13 * _waves(points, 1.3)
    # Locks run from the crown down; hair stands highest on top and is combed to one side.
    around = np.arctan2(points[..., 0] - 0.8, z + 1.5)
    fall = 0.22 * y + 0.5 * _waves(points, 6.0)
    lock = np.sin(13.0 * around + fall) + 0.6 * np.sin(29.0 * around - 1.4 * fall + 1.0) + 0.5 * _waves(points, 3.0)
    top = smoothstep(5.0, 12.0, y) * (1.0 + 0.25 * np.tanh(0.5 * (points[..., 0] + 2.0)))
    # Over the bare face the surface goes far below the skin, eye sockets included.
    thickness = (
        -0.35
        - 3.0 * smoothstep(0.0, -2.0, into_hair)
        + (0.95 + 0.55 * top) * shape.hair_volume * smoothstep(-0.3, 2.6, into_hair)
    )
    return skull - thickness - 0.11 * lock * smoothstep(-0.3, 1.2, into_hair)


def neck(points: np.ndarray) -> np.ndarray:
    """Distance to the neck, from inside the head down to below the collar."""
    p = np.stack([np.abs(points[..., 0]), points[..., 1], points[..., 2]], -1)
    tube = capsule(p, (0.0, -3.0, -1.6), (0.0, -18.0, -3.2), 5.0, 5.5)
    tube = smooth_union(tube, capsule(p, (3.6, -6.0, 0.0), (0.9, -17.5, 1.6), 1.0, 0.9), 1.2)
    tube = smooth_union(tube, ellipsoid(p, (0.0, -11.0, 2.1), (1.0, 1.2, 1.0)), 1.5)
    tube = smooth_union(tube, capsule(p, (2.5, -11.5, -4.5), (6.5, -19.0, -4.0), 2.4, 1.6), 2.5)
    tube = smooth_subtraction(tube, ellipsoid(p, (0.0, -6.3, 4.2), (3.4, 2.5, 4.4)), 0.3)
    # The slanted upper end stays inside the head and out of the mouth.
    return np.maximum(tube, np.maximum(p[..., 1] + 5.4 + 0.4 * p[..., 2], -17.2 - p[..., 1] - 0.15 * p[..., 2]))


def clothes(points: np.ndarray) -> np.ndarray:
    """Distance to a pullover with a collar: shoulders, upper arms and chest."""
    p = np.stack([np.abs(points[..., 0]), points[..., 1] - (COLLAR_Y + 16.4), points[..., 2]], -1)
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    body = ellipsoid(p, (0.0, -33.0, -3.5), (17.0, 15.5, 9.5))
    body = smooth_union(body, capsule(p, (5.5, -17.2, -4.0), (16.0, -21.5, -4.0), 3.3, 4.2), 4.0)
    body = smooth_union(body, capsule(p, (17.0, -22.5, -4.0), (20.0, -42.0, -3.0), 4.6, 5.0), 3.0)
    body = smooth_union(body, ellipsoid(p, (6.0, -30.0, 2.5), (7.0, 8.0, 4.5)), 4.0)
    folds = np.sin(0.9 * x + 0.5 * y + 0.8 * np.sin(0.35 * y)) * smoothstep(-20.0, -26.0, y)
    body = body - 0.16 * folds
    # The neckline is a tilted ring; what lies inside it is left open for the neck.
    height = y + 16.4 + 0.20 * (z + 2.4)
    ring = np.hypot(np.hypot(x / 1.12, z + 2.4) - 6.5, 0.75 * height) - 0.85
    hole = np.maximum(np.hypot(x / 1.12, z + 2.4) - 6.3, -1.6 - height)
    return smooth_union(smooth_subtraction(body, hole, 0.5), ring, 0.35)
