"""What each coefficient does to the mesh: ARKit names, displacement fields, lids that rotate, eyes that look.

Left and right are the person's: the left side has ``x > 0`` in head space and lies on the image's right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

import numpy as np

from nerfblendshape_ns.synthetic.distance_fields import bump, smoothstep
from nerfblendshape_ns.synthetic.geometry import HeadMesh, Part
from nerfblendshape_ns.synthetic.sculpt import (
    EYE_CENTRE,
    EYE_RADIUS,
    INNER_CORNER,
    MOUTH_HALF_WIDTH,
    MOUTH_Y,
    OUTER_CORNER,
    eye_curves,
    lip_curves,
)

EXPRESSION_NAMES: Tuple[str, ...] = (
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "cheekPuff",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeLookDownLeft",
    "eyeLookDownRight",
    "eyeLookInLeft",
    "eyeLookInRight",
    "eyeLookOutLeft",
    "eyeLookOutRight",
    "eyeLookUpLeft",
    "eyeLookUpRight",
    "jawOpen",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthFunnel",
    "mouthPucker",
    "mouthSmileLeft",
    "mouthSmileRight",
)

JAW_HINGE = (-0.5, -0.5)  # y and z of the axis that the jaw turns about
JAW_ANGLE = np.radians(17.0)
GAZE_YAW = np.radians(30.0)
GAZE_PITCH = np.radians(22.0)


@dataclass
class LidField:
    """Rotation of the skin round one eye about the eye's horizontal axis."""

    rows: np.ndarray
    """Vertices that move."""
    upper: np.ndarray
    """Angle in radians of a full closure, of the vertices above the opening."""
    lower: np.ndarray
    """The same below the opening."""


class ExpressionRig:
    """Deforms a :class:`HeadMesh` by coefficients.

    All coefficients but the blinks and gazes displace vertices linearly; lids and eyeballs rotate.

    Args:
        mesh: the mesh in the sculpt pose; clothes are its last part.
        width: stretches everything but the clothes along x.
    """

    def __init__(self, mesh: HeadMesh, width: float = 1.0) -> None:
        self.mesh = mesh
        self._width = np.ones((len(mesh.vertices), 1), np.float32)
        self._width[: mesh.vertex_range[Part.CLOTHES].start] = width
        skin = mesh.vertices[mesh.vertex_range[Part.SKIN]].astype(np.float64)
        linear = np.zeros((len(EXPRESSION_NAMES), len(mesh.vertices), 3), np.float32)
        for name, field in _skin_fields(skin).items():
            linear[EXPRESSION_NAMES.index(name), mesh.vertex_range[Part.SKIN]] = field
        for part in (Part.LOWER_TEETH, Part.TONGUE):
            points = mesh.vertices[mesh.vertex_range[part]].astype(np.float64)
            linear[EXPRESSION_NAMES.index("jawOpen"), mesh.vertex_range[part]] = _turn_jaw(points)
        self._linear_rows = linear.reshape(len(EXPRESSION_NAMES), -1)
        self._neutral = mesh.vertices.copy()
        self._neutral[mesh.vertex_range[Part.SKIN]] += _close_mouth(skin).astype(np.float32)
        self._lids = {side: _lid_field(skin, side) for side in (1, -1)}

    def deform(self, expression: np.ndarray) -> np.ndarray:
        """Vertices of a frame in head space, neck and clothes in the neutral pose.

        Args:
            expression: ``[basis]`` in the order of :data:`EXPRESSION_NAMES`, each 0 (neutral) to 1.

        Returns:
            ``[num_vertices, 3]`` float32.
        """
        weights = np.asarray(expression, np.float32)
        if weights.shape != (len(EXPRESSION_NAMES),):
            raise ValueError(f"expected {len(EXPRESSION_NAMES)} coefficients, got an array of shape {weights.shape}")
        vertices = self._neutral + (weights @ self._linear_rows).reshape(-1, 3)
        coefficient = dict(zip(EXPRESSION_NAMES, weights.tolist()))
        for side, word in ((1, "Left"), (-1, "Right")):
            down, up = coefficient[f"eyeLookDown{word}"], coefficient[f"eyeLookUp{word}"]
            blink = coefficient[f"eyeBlink{word}"]
            # The upper lid follows the eye when it looks up or down.
            upper = min(1.0, blink + (0.45 * down - 0.20 * up) * (1.0 - blink))
            self._turn_lids(vertices, side, upper, blink)
            outward = coefficient[f"eyeLookOut{word}"] - coefficient[f"eyeLookIn{word}"]
            part = Part.LEFT_EYE if side > 0 else Part.RIGHT_EYE
            rows = self.mesh.vertex_range[part]
            vertices[rows] = _turn_eye(
                self.mesh.vertices[rows], side, side * outward * GAZE_YAW, (up - down) * GAZE_PITCH
            )
        vertices[:, :1] *= self._width
        return vertices

    def _turn_lids(self, vertices: np.ndarray, side: int, upper: float, lower: float) -> None:
        field = self._lids[side]
        points = self.mesh.vertices[field.rows].astype(np.float64)
        angle = upper * field.upper + lower * field.lower
        y, z = points[:, 1] - EYE_CENTRE[1], points[:, 2] - EYE_CENTRE[2]
        cosine, sine = np.cos(angle), np.sin(angle)
        vertices[field.rows, 1] += (y * cosine - z * -sine - y).astype(np.float32)
        vertices[field.rows, 2] += (z * cosine - y * sine - z).astype(np.float32)


def _turn_eye(points: np.ndarray, side: int, yaw: float, pitch: float) -> np.ndarray:
    """Rotate an eyeball: positive yaw looks towards +x, positive pitch looks up."""
    centre = np.asarray(EYE_CENTRE) * (side, 1.0, 1.0)
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    about_y = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cp, sp], [0.0, -sp, cp]])
    return ((points - centre) @ (about_y @ about_x).T + centre).astype(np.float32)


def _turn_jaw(points: np.ndarray) -> np.ndarray:
    """Displacement of rigid parts of the jaw at full opening."""
    y, z = points[:, 1] - JAW_HINGE[0], points[:, 2] - JAW_HINGE[1]
    cosine, sine = np.cos(JAW_ANGLE), np.sin(JAW_ANGLE)
    moved = np.zeros_like(points)
    moved[:, 1] = y * cosine - z * sine - y
    moved[:, 2] = z * cosine + y * sine - z
    return moved


def _mouth_split(points: np.ndarray) -> np.ndarray:
    """1 below the line of the lips, 0 above; sharp between the lips, soft beyond the corners."""
    x, y = np.abs(points[:, 0]), points[:, 1]
    line, _, _, _ = lip_curves(x)
    width = 0.05 + 2.6 * smoothstep(MOUTH_HALF_WIDTH - 0.55, MOUTH_HALF_WIDTH + 2.2, x)
    return 1.0 / (1.0 + np.exp(np.clip((y - line) / (0.5 * width), -40.0, 40.0)))


def _close_mouth(points: np.ndarray) -> np.ndarray:
    """Displacement from the sculpt pose, lips parted, to the neutral face, lips closed but for a hair's breadth."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    line, gap, _, _ = lip_curves(x)
    distance = np.maximum(np.abs(y - line) - gap, 0.0)
    falloff = smoothstep(1.5, 0.0, distance) * smoothstep(3.5, 6.0, z)
    remaining = 0.07 * gap
    moved = np.zeros_like(points)
    moved[:, 1] = -np.sign(y - line) * (gap - remaining) * falloff
    return moved


def _skin_fields(points: np.ndarray) -> Dict[str, np.ndarray]:
    """Displacement ``[num_skin, 3]`` of every linear coefficient at 1."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    distance_x = np.abs(x)
    front = smoothstep(1.0, 5.0, z)
    left = smoothstep(-0.7, 0.7, x)
    line, _, _, _ = lip_curves(distance_x)
    below = _mouth_split(points)
    fields: Dict[str, np.ndarray] = {}

    jaw = below * smoothstep(-1.5, 2.0, z) * smoothstep(-1.2, -3.6, y)
    fields["jawOpen"] = _turn_jaw(points) * jaw[:, None]
    # The corners are drawn in and the cheeks follow a little.
    fields["jawOpen"][:, 0] -= 0.28 * np.sign(x) * bump(distance_x - 2.4, 0.9) * bump(y - MOUTH_Y, 1.4) * front

    around = bump(distance_x, 2.3) * bump(y - MOUTH_Y, 1.35) * front
    pucker = np.zeros_like(points)
    pucker[:, 0] = -0.42 * x * around
    pucker[:, 1] = -0.10 * (y - line) * around
    pucker[:, 2] = 0.95 * around * bump(distance_x, 2.0)
    fields["mouthPucker"] = pucker

    funnel = np.zeros_like(points)
    opening = bump(distance_x, 1.25) * bump(y - MOUTH_Y, 1.5) * front
    funnel[:, 0] = -0.26 * x * around
    funnel[:, 1] = (0.48 * (1.0 - below) - 0.62 * below) * opening
    funnel[:, 2] = 0.75 * around * bump(distance_x, 2.0)
    fields["mouthFunnel"] = funnel

    for word, side in (("Left", left), ("Right", 1.0 - left)):
        corner = bump(distance_x - 2.7, 1.25) * bump(y - MOUTH_Y, 1.25) * front * side
        cheek = bump(distance_x - 4.3, 1.2) * bump(y + 1.1, 1.1) * front * side
        smile = np.zeros_like(points)
        smile[:, 0] = np.sign(x) * (0.80 * corner + 0.12 * cheek)
        smile[:, 1] = 0.95 * corner + 0.34 * cheek
        smile[:, 2] = -0.60 * corner + 0.30 * cheek
        fields[f"mouthSmile{word}"] = smile
        frown = np.zeros_like(points)
        low_corner = bump(distance_x - 2.6, 1.0) * bump(y - MOUTH_Y, 1.2) * front * side
        frown[:, 0] = np.sign(x) * 0.12 * low_corner
        frown[:, 1] = -0.85 * low_corner
        fields[f"mouthFrown{word}"] = frown

        own_half = smoothstep(-0.5, 0.5, x if word == "Left" else -x)
        brow = bump(distance_x - 2.7, 1.5) * bump(y - 4.6, 0.85) * front * own_half
        inner = bump(distance_x - 1.5, 0.9) * bump(y - 4.6, 0.9) * front * own_half
        down = np.zeros_like(points)
        down[:, 0] = -np.sign(x) * 0.30 * inner
        down[:, 1] = -0.50 * brow - 0.35 * inner
        down[:, 2] = 0.12 * brow
        fields[f"browDown{word}"] = down

    raised = np.zeros_like(points)
    lift = bump(distance_x - 1.3, 1.5) * np.where(y < 4.8, bump(y - 4.8, 0.8), bump(y - 4.8, 1.7)) * front
    raised[:, 1] = 1.05 * lift
    fields["browInnerUp"] = raised

    puff = np.zeros_like(points)
    full = bump(distance_x - 4.6, 1.5) * bump(y + 3.6, 1.6) * smoothstep(0.0, 3.0, z)
    outside = smoothstep(2.4, 3.4, distance_x)
    puff[:, 0] = np.sign(x) * 0.95 * full * outside
    puff[:, 2] = 0.85 * full * outside
    lips = bump(distance_x, 2.0) * bump(y - MOUTH_Y, 1.0) * front
    puff[:, 2] += 0.12 * lips
    fields["cheekPuff"] = puff
    return fields


def _lid_field(points: np.ndarray, side: int) -> LidField:
    """Angles that bring the lids of one eye together: the upper lid goes most of the way."""
    x, y, z = side * points[:, 0], points[:, 1], points[:, 2]
    near = (x > INNER_CORNER[0] - 0.6) & (x < OUTER_CORNER[0] + 0.6) & (np.abs(y - EYE_CENTRE[1]) < 2.4) & (z > 5.0)
    rows = np.nonzero(near)[0]
    x, y, z = x[rows], y[rows], z[rows]
    top, bottom, _ = eye_curves(x)
    meeting = bottom + 0.20 * (top - bottom)
    across = np.sqrt(np.maximum((EYE_RADIUS + 0.15) ** 2 - (x - EYE_CENTRE[0]) ** 2, 0.3))

    def latitude(height: np.ndarray) -> np.ndarray:
        return np.arcsin(np.clip((height - EYE_CENTRE[1]) / across, -0.98, 0.98))

    middle = 0.5 * (top + bottom)
    upper = (latitude(meeting - 0.10) - latitude(top)) * smoothstep(1.15, 0.05, y - top) * (y >= middle)
    lower = (latitude(meeting + 0.04) - latitude(bottom)) * smoothstep(0.9, 0.05, bottom - y) * (y < middle)
    return LidField(rows=rows, upper=upper, lower=lower)
