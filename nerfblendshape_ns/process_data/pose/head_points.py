"""Points on the head that do not move with expression: skin of the upper face, and hair and ears around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import cv2
import numpy as np
from scipy.spatial import Delaunay

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.process_data.face.canonical_face import BROWS, NOSE_TIP
from nerfblendshape_ns.process_data.pose.head_pose import PoseFit
from nerfblendshape_ns.process_data.pose.pose_geometry import Intrinsics, project, rotations

NUM_POINTS = 2000
# Hair is trusted less than skin: its depth is a guess, and it may swing.
HAIR_WEIGHT = 0.3
FEWEST_HAIR_POINTS = 200
EYE_CORNERS = ((33, 133), (263, 362))
SUBNASALE, GLABELLA, FOREHEAD_TOP = 2, 9, 10
RIGHT_SIDE, LEFT_SIDE = 234, 454


@dataclass
class PointSet:
    """Points of head space that are tracked through the images."""

    points: np.ndarray
    """float64 ``[points, 3]``, centimetres."""
    normals: Optional[np.ndarray]
    """Outward unit normals ``[points, 3]``, by which points that turn away fade out; None for always visible."""
    weight: float
    """Trust in these points, 1 for skin."""


def face_points(mesh: np.ndarray) -> PointSet:
    """:data:`NUM_POINTS` points spread evenly over the rigid part of the face: above the mouth, no eyes, no brows.

    Args:
        mesh: ``[468, 3]`` in head space.
    """
    triangles = mesh[Delaunay(mesh[:, :2]).simplices]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normals *= np.sign(normals[:, 2:] + 1e-12)
    area = np.linalg.norm(normals, axis=1)
    centres = triangles.mean(1)
    # Thin triangles along the outline bridge concave parts and lie on no skin.
    usable = (normals[:, 2] > 0.15 * area) & (centres[:, 1] > mesh[SUBNASALE, 1])
    for (outer, inner), brow in zip(EYE_CORNERS, BROWS):
        width = np.linalg.norm(mesh[outer] - mesh[inner])
        offset = np.abs(centres - (mesh[outer] + mesh[inner]) / 2)
        usable &= ~((offset[:, 0] < 0.8 * width) & (offset[:, 1] < 0.45 * width))
        # Brows are the strongest edges of the upper face, and they move.
        low, high = mesh[list(brow), :2].min(0), mesh[list(brow), :2].max(0)
        outside = np.maximum(low - centres[:, :2], centres[:, :2] - high)
        usable &= (outside > 0.2 * width).any(1)
    random = np.random.default_rng(0)
    weights = np.where(usable, area, 0.0)
    chosen = random.choice(len(triangles), NUM_POINTS, p=weights / weights.sum())
    corners = random.dirichlet([1.0, 1.0, 1.0], NUM_POINTS)
    points = (triangles[chosen] * corners[:, :, None]).sum(1)
    return PointSet(points, normals[chosen] / area[chosen, None], 1.0)


def hair_points(
    labels: np.ndarray, fit: PoseFit, frame_index: int, mesh: np.ndarray, intrinsics: Intrinsics
) -> Optional[PointSet]:
    """At most :data:`NUM_POINTS` points on hair and ears, above the tip of the nose and outside the face, in one frame.

    Their depth is that of a skull, an ellipsoid fitted to the face mesh; rays that pass it by take the depth at which
    they come closest. Turns of a talking head are small, so that this is near enough.

    Args:
        labels: uint8 ``[h, w]`` of the frame.
        fit: the clip's poses.
        frame_index: which frame; best one with a median pose (:func:`median_frame`).
        mesh: the clip's face ``[468, 3]`` in head space.
        intrinsics: the camera.

    Returns:
        The points, or None where too little hair is seen.
    """
    height, width = labels.shape
    rotation = rotations(fit.poses[frame_index : frame_index + 1], fit.reference)[0]
    translation = fit.poses[frame_index, 3:]
    seen = project(mesh @ rotation.T + translation, intrinsics)
    margin = max(1, round(max(height, width) / 128))
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    usable = cv2.erode((labels == Label.HEAD).astype(np.uint8), kernel)
    face = cv2.fillConvexPoly(np.zeros_like(usable), cv2.convexHull(seen.astype(np.int32)), (1,))
    usable[cv2.dilate(face, kernel) > 0] = 0
    usable[max(0, int(seen[NOSE_TIP, 1])) :] = 0
    rows, columns = np.nonzero(usable)
    if len(rows) < FEWEST_HAIR_POINTS:
        return None
    chosen = np.random.default_rng(0).choice(len(rows), min(NUM_POINTS, len(rows)), replace=False)
    pixels = np.stack([columns[chosen], rows[chosen]], axis=-1) + 0.5
    flat = (pixels - (intrinsics.centre_x, intrinsics.centre_y)) / intrinsics.focal
    directions = np.column_stack([flat, np.ones(len(flat))]) @ rotation
    camera = -rotation.T @ translation
    return PointSet(_on_skull(camera, directions, mesh), None, HAIR_WEIGHT)


def median_frame(fit: PoseFit) -> int:
    """The frame whose head rotation is nearest the clip's median."""
    vectors = fit.poses[:, :3]
    return int(np.abs(vectors - np.median(vectors, axis=0)).sum(1).argmin())


def _on_skull(camera: np.ndarray, directions: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """Where rays ``[rays, 3]`` from ``camera`` meet the skull, or come closest to it."""
    sides = (mesh[RIGHT_SIDE] + mesh[LEFT_SIDE]) / 2
    # Proportions of a skull with hair, in centimetres beyond the face mesh.
    centre = np.array([sides[0], mesh[GLABELLA, 1] - 1.0, sides[2] - 1.5])
    radii = np.array(
        [
            abs(mesh[LEFT_SIDE, 0] - mesh[RIGHT_SIDE, 0]) * 0.56,
            mesh[FOREHEAD_TOP, 1] - centre[1] + 3.5,
            mesh[GLABELLA, 2] - centre[2] + 0.5,
        ]
    )
    along, start = directions / radii, (camera - centre) / radii
    square, half = (along**2).sum(1), along @ start
    discriminant = half**2 - square * (start @ start - 1)
    distance = (-half - np.sqrt(np.maximum(discriminant, 0))) / square
    return camera + directions * distance[:, None]
