"""The 478 landmarks as points that are fixed to the mesh, so that they follow every deformation exactly."""

from __future__ import annotations

from typing import Iterator, List, Tuple

import numpy as np
import warp as wp

from nerfblendshape_ns.common.warp_start import start_warp
from nerfblendshape_ns.data.contract import LEFT_EYE_LANDMARKS, LIP_LANDMARKS, RIGHT_EYE_LANDMARKS
from nerfblendshape_ns.synthetic.geometry import HeadMesh, Part
from nerfblendshape_ns.synthetic.landmark_directions import CENTRE, landmark_directions
from nerfblendshape_ns.synthetic.ray_casting import cast_points
from nerfblendshape_ns.synthetic.sculpt import (
    APERTURE_HALF_WIDTH,
    EYE_CENTRE,
    INNER_CORNER,
    MOUTH_HALF_WIDTH,
    OUTER_CORNER,
    eye_curves,
    lip_curves,
)

INNER_LIP_LANDMARKS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
IRIS_RADIUS = 0.61
_ON_RIM = 0.06  # centimetres from a rim to the surface beside it that the landmark is fixed to


class LandmarkBinding:
    """Each landmark as a triangle of the mesh and barycentric weights.

    Args:
        mesh: the mesh in the sculpt pose.
        lip_fullness: of the sculpt, see :func:`~nerfblendshape_ns.synthetic.sculpt.lip_curves`.
    """

    def __init__(self, mesh: HeadMesh, lip_fullness: float = 1.0) -> None:
        directions = landmark_directions()
        origins = np.asarray(CENTRE) + 40.0 * directions
        directions = -directions
        for index, x, y in _outline_points(origins, directions, lip_fullness):
            origins[index] = (x, y, 40.0)
            directions[index] = (0.0, 0.0, -1.0)
        triangles, weights = _cast(mesh, Part.SKIN, origins, directions)
        for side in (-1, 1):
            centre = np.array([EYE_CENTRE[0] * side, EYE_CENTRE[1], 40.0])
            ring = IRIS_RADIUS * np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, -1, 0)], np.float64)
            part = Part.LEFT_EYE if side > 0 else Part.RIGHT_EYE
            iris = _cast(mesh, part, centre + ring, np.tile((0.0, 0.0, -1.0), (5, 1)))
            triangles, weights = np.concatenate([triangles, iris[0]]), np.concatenate([weights, iris[1]])
        self.corners = mesh.triangles[triangles]
        self.weights = weights

    def positions(self, vertices: np.ndarray) -> np.ndarray:
        """Landmarks ``[478, 3]`` of deformed vertices ``[num_vertices, 3]``."""
        return (vertices[self.corners] * self.weights[..., None]).sum(1)


def _outline_points(
    origins: np.ndarray, directions: np.ndarray, lip_fullness: float
) -> Iterator[Tuple[int, float, float]]:
    """Landmarks on the rims of eyes and lips: number, x and y in the sculpt pose."""
    # The measured direction says how far along its outline a landmark lies; on the front all are about at one depth.
    depth = {"eye": EYE_CENTRE[2] + 1.2, "lips": 9.0}

    def measured_x(index: int, what: str) -> float:
        along = (depth[what] - origins[index, 2]) / directions[index, 2]
        return float(origins[index, 0] + along * directions[index, 0])

    for outline, side in ((RIGHT_EYE_LANDMARKS, -1), (LEFT_EYE_LANDMARKS, 1)):
        # Both start at the outer corner, go over the upper lid to the inner corner, and back under the eye.
        for position, index in enumerate(outline):
            if position in (0, 8):
                corner = OUTER_CORNER if position == 0 else INNER_CORNER
                outward = _ON_RIM if position == 0 else -_ON_RIM
                yield index, side * (corner[0] + outward), corner[1]
                continue
            x = float(np.clip(abs(measured_x(index, "eye")), INNER_CORNER[0] + 0.1, OUTER_CORNER[0] - 0.1))
            upper, lower, _ = eye_curves(np.array(x))
            yield index, side * x, float(upper) + _ON_RIM if position < 8 else float(lower) - _ON_RIM

    for outline, inner in ((LIP_LANDMARKS, False), (INNER_LIP_LANDMARKS, True)):
        limit = APERTURE_HALF_WIDTH if inner else MOUTH_HALF_WIDTH
        right, left = outline[0], outline[10]
        # Scale what was measured so that the corners of the outline meet those of the sculpt.
        scale = limit / (0.5 * (abs(measured_x(right, "lips")) + abs(measured_x(left, "lips"))))
        for position, index in enumerate(outline):
            x = float(np.clip(scale * measured_x(index, "lips"), -limit, limit))
            line, gap, upper, lower = (float(value) for value in lip_curves(np.array(x), lip_fullness))
            if position in (0, 10):
                yield index, x, line
            elif inner:
                yield index, x, line - gap - _ON_RIM if position < 10 else line + gap + _ON_RIM
            else:
                yield index, x, lower if position < 10 else upper


def _cast(mesh: HeadMesh, part: Part, origins: np.ndarray, directions: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """First triangle of one part along each ray, as row of ``mesh.triangles``, with its weights ``[n, 3]``."""
    start_warp()
    rows = mesh.triangle_range[part]
    surface = wp.Mesh(
        points=wp.array(mesh.vertices, dtype=wp.vec3, device="cpu"),
        indices=wp.array(np.ascontiguousarray(mesh.triangles[rows].reshape(-1)), dtype=int, device="cpu"),
    )
    count = len(origins)
    triangle = wp.zeros(count, dtype=int, device="cpu")
    weights = wp.zeros(count, dtype=wp.vec3, device="cpu")
    inputs: List = [
        surface.id,
        wp.array(origins, dtype=wp.vec3, device="cpu"),
        wp.array(directions, dtype=wp.vec3, device="cpu"),
        triangle,
        weights,
    ]
    wp.launch(cast_points, dim=count, inputs=inputs, device="cpu")
    hits = triangle.numpy()
    if (hits < 0).any():
        raise RuntimeError(f"landmarks {np.nonzero(hits < 0)[0].tolist()} miss the mesh of {part.name}")
    return hits + rows.start, weights.numpy()
