"""The box round the head in head space, and the transform that brings it into the unit box."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import List, Optional, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.frame_numbers import spread
from nerfblendshape_ns.data.frame_images import load_labels
from nerfblendshape_ns.data.labels import head_mask
from nerfblendshape_ns.data.layouts.clip import Clip

MAX_FRAMES = 600
"""Longer clips give the masks of this many frames, evenly spaced."""
MASK_PERCENTILE = 99.0
"""Percentage of the frames whose mask fits on each side; the rest may be segmentation errors."""
LANDMARK_PERCENTILE = 99.8
"""The same for landmarks, which are trusted more: an open jaw may last only a few frames."""
FRONT_MARGIN = 0.1
"""Room in front of the face mesh, as a fraction of the mesh's width: about 1.5 cm."""
DEPTH_OVER_WIDTH = 1.3
"""How far behind the front the back of the head lies, in widths of the head with its hair."""
MAX_WIDTH_OVER_MESH = 1.35
"""Hair that hangs wide says nothing about depth: no more than this many widths of the face mesh count."""

# Head-up (+y) becomes +z, the viewer's up axis; the face (+z) looks along -y.
HEAD_TO_VIEWER = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True)
class Normalisation:
    """Head space to the normalised space that models see: ``scale * (rotation @ point - rotation @ centre)``."""

    rotation: np.ndarray
    """``[3, 3]`` rotation."""
    centre: np.ndarray
    """``[3]`` centre of the head box in head space."""
    scale: float
    """Uniform scale that fits the head box into [-1, 1]³."""
    box: np.ndarray
    """``[2, 3]`` the head box in the normalised space."""

    @property
    def transform(self) -> np.ndarray:
        """``[3, 4]`` nerfstudio's ``dataparser_transform``: applied to poses before the scale."""
        return np.concatenate([self.rotation, -(self.rotation @ self.centre)[:, None]], axis=1)

    def points(self, points: np.ndarray) -> np.ndarray:
        """Normalise points ``[..., 3]``."""
        return self.scale * (points - self.centre) @ self.rotation.T

    def poses(self, poses: np.ndarray) -> np.ndarray:
        """Normalise camera-to-head matrices ``[..., 4, 4]`` to ``[..., 3, 4]``."""
        rotation = self.rotation @ poses[..., :3, :3]
        return np.concatenate([rotation, self.points(poses[..., :3, 3])[..., None]], axis=-1)


def normalisation_of(box: np.ndarray) -> Normalisation:
    """The normalisation that brings a head box ``[2, 3]`` (low corner, high corner) into [-1, 1]³."""
    centre = box.mean(0)
    scale = 2.0 / float((box[1] - box[0]).max())
    half = np.abs(HEAD_TO_VIEWER @ ((box[1] - box[0]) / 2)) * scale
    return Normalisation(HEAD_TO_VIEWER, centre, scale, np.stack([-half, half]))


def head_box(clip: Clip, margin: float = 0.05) -> np.ndarray:
    """Estimate the head's box from the head masks, the poses and the camera, and its depth from the face mesh.

    The outline of each mask gives rays; each ray's point nearest to the head's centre is taken for the point where it
    touches the head (exact for a sphere). Hair is included. The face's landmarks widen the box where masks miss an
    open jaw.

    Args:
        clip: the clip.
        margin: room added on each side, as a fraction of the box's size.

    Returns:
        float64 ``[2, 3]`` low and high corner in head space.

    Raises:
        UserError: no frame has a head mask, or a label image is missing or wrong.
    """
    picked = spread(len(clip.frames), MAX_FRAMES)
    with ThreadPoolExecutor() as pool:
        outlines = list(pool.map(lambda index: _outline(clip, index), picked))
    seen = [(index, outline) for index, outline in zip(picked, outlines) if outline is not None]
    if not seen:
        raise UserError(f"no label image of {clip.root} has a head in it; process the video again.")
    masks = [_rays(clip, index, outline) for index, outline in seen]
    faces = [_rays(clip, index, points) for index in range(len(clip.frames)) for points in _face_points(clip, index)]

    centre = _first_guess(clip, masks)
    box, front, back = np.zeros((2, 3)), 0.0, 0.0
    for _ in range(2):
        box = _extents(masks, centre, MASK_PERCENTILE)
        if faces:
            face_box = _extents(faces, centre, LANDMARK_PERCENTILE)
            box = np.stack([np.minimum(box[0], face_box[0]), np.maximum(box[1], face_box[1])])
        front, back = _depth(clip, centre, float(box[1, 0] - box[0, 0]))
        centre = np.array([*box[:, :2].mean(0), (front + back) / 2])
    grow = margin * (box[1] - box[0])
    box = np.stack([box[0] - grow, box[1] + grow])
    # A head seen from the side shows its depth, so what the masks say of z may widen the estimate.
    box[:, 2] = min(back, box[0, 2] + grow[2]), max(front, box[1, 2] - grow[2])
    return box


def _outline(clip: Clip, index: int) -> Optional[np.ndarray]:
    """Outline of a frame's head mask, ``[points, 2]`` pixels, islands left out; None where there is no head."""
    labels = load_labels(clip.frames[index].files)
    mask = head_mask(labels).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return None
    areas = [cv2.contourArea(contour) for contour in contours]
    kept = [contour[:, 0] for contour, area in zip(contours, areas) if area >= 0.1 * max(areas) and area > 0]
    return np.concatenate(kept).astype(np.float64) + 0.5 if kept else None


def _face_points(clip: Clip, index: int) -> List[np.ndarray]:
    """Points on the outline of a frame's face, ``[points, 2]`` pixels: its landmarks, else the sides of its rect."""
    if clip.landmarks is not None:
        points = clip.landmarks[index].astype(np.float64)
        return [points] if np.isfinite(points).all() else []
    rect = clip.frames[index].face_rect
    if rect is None:
        return []
    x, y, width, height = rect
    middle_x, middle_y = x + width / 2, y + height / 2
    return [np.array([[x, middle_y], [x + width, middle_y], [middle_x, y], [middle_x, y + height]])]


def _rays(clip: Clip, index: int, pixels: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Camera origin ``[3]`` and unit directions ``[points, 3]`` in head space through pixels ``[points, 2]``."""
    pose = clip.frames[index].camera_to_head
    tangents = clip.tangents(pixels)
    directions = np.stack([tangents[:, 0], -tangents[:, 1], -np.ones(len(pixels))], axis=1)
    directions = directions @ pose[:3, :3].T
    return pose[:3, 3], directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _first_guess(clip: Clip, masks: List[Tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Centre of the head ``[3]``: from the mesh, else from where the rays through the masks' middles meet."""
    if clip.face_mesh is not None:
        low, high = clip.face_mesh.min(0), clip.face_mesh.max(0)
        width = 1.2 * float(high[0] - low[0])
        front, back = _depth(clip, np.zeros(3), width)
        return np.array([*(low + high)[:2] / 2, (front + back) / 2])
    matrix, vector = np.zeros((3, 3)), np.zeros(3)
    for origin, directions in masks:
        direction = directions.mean(0)
        direction /= np.linalg.norm(direction)
        across = np.eye(3) - np.outer(direction, direction)
        matrix += across
        vector += across @ origin
    # A head that hardly turns says little about its depth; the small term then keeps it near the origin of head space.
    return np.linalg.solve(matrix + 1e-3 * len(masks) * np.eye(3), vector)


def _depth(clip: Clip, centre: np.ndarray, width: float) -> Tuple[float, float]:
    """z of the front and of the back of the head."""
    if clip.face_mesh is None:
        return float(centre[2]) + 0.6 * DEPTH_OVER_WIDTH * width, float(centre[2]) - 0.6 * DEPTH_OVER_WIDTH * width
    mesh_width = float(np.ptp(clip.face_mesh[:, 0]))
    front = float(clip.face_mesh[:, 2].max()) + FRONT_MARGIN * mesh_width
    return front, front - DEPTH_OVER_WIDTH * min(width, MAX_WIDTH_OVER_MESH * mesh_width)


def _extents(rays: List[Tuple[np.ndarray, np.ndarray]], centre: np.ndarray, percentile: float) -> np.ndarray:
    """Box ``[2, 3]`` that holds, on each side, the extreme touching points of ``percentile`` of the frames."""
    lows, highs = [], []
    for origin, directions in rays:
        distance = directions @ (centre - origin)
        touching = origin + distance[:, None] * directions
        lows.append(touching.min(0))
        highs.append(touching.max(0))
    return np.stack([np.percentile(lows, 100 - percentile, axis=0), np.percentile(highs, percentile, axis=0)])
