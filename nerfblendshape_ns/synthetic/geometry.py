"""The head as one triangle mesh: surfaces extracted from the sculpt, eyeballs, teeth, tongue, and baked occlusion."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np
from skimage.measure import marching_cubes

from nerfblendshape_ns.synthetic import sculpt
from nerfblendshape_ns.synthetic.sculpt import EYE_CENTRE, EYE_RADIUS, MOUTH_Y, Proportions


class Part(IntEnum):
    """Which surface a triangle belongs to; the shading and the label follow from it."""

    SKIN = 0
    LEFT_EYE = 1
    RIGHT_EYE = 2
    UPPER_TEETH = 3
    LOWER_TEETH = 4
    TONGUE = 5
    HAIR = 6
    NECK = 7
    CLOTHES = 8


@dataclass
class HeadMesh:
    """All parts in the sculpt pose, which is also the space that textures are painted in."""

    vertices: np.ndarray
    """``[num_vertices, 3]`` float32, centimetres of head space."""
    triangles: np.ndarray
    """``[num_triangles, 3]`` int32, counter-clockwise from outside."""
    triangle_part: np.ndarray
    """``[num_triangles]`` int32 of :class:`Part`."""
    vertex_range: Dict[Part, slice]
    """Rows of ``vertices`` of each part."""
    triangle_range: Dict[Part, slice]
    """Rows of ``triangles`` of each part."""
    mouth_inside: np.ndarray
    """``[num_vertices]`` float32, 1 on the walls of the mouth, 0 elsewhere."""


def graded_axis(stations: Sequence[Tuple[float, float]]) -> np.ndarray:
    """Grid coordinates whose spacing changes between stations.

    Args:
        stations: ``(coordinate, spacing up to the next station)`` in rising order; the last spacing is unused.

    Returns:
        Rising float32 coordinates that include every station.
    """
    pieces: List[np.ndarray] = []
    for (start, spacing), (end, _) in zip(stations[:-1], stations[1:]):
        count = max(1, round((end - start) / spacing))
        pieces.append(np.linspace(start, end, count, endpoint=False))
    return np.concatenate([*pieces, [stations[-1][0]]]).astype(np.float32)


def extract_surface(
    field: Callable[[np.ndarray], np.ndarray],
    half_x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    symmetric: bool = True,
) -> Tuple[np.ndarray, np.ndarray]:
    """Marching cubes of a distance field that is symmetric in x, on a graded grid.

    Args:
        field: maps points ``[..., 3]`` to distances ``[...]``, negative inside.
        half_x: rising grid coordinates from 0.
        y: rising grid coordinates.
        z: rising grid coordinates.
        symmetric: evaluate only ``x >= 0`` and mirror.

    Returns:
        Vertices ``[n, 3]`` float32 and triangles ``[m, 3]`` int32, normals outward.
    """
    x = half_x if symmetric else np.concatenate([-half_x[:0:-1], half_x])
    volume = field(np.stack(np.meshgrid(x, y, z, indexing="ij"), -1)).astype(np.float32)
    if symmetric:
        volume = np.concatenate([volume[:0:-1], volume])
    full_x = np.concatenate([-half_x[:0:-1], half_x])
    indices, triangles, _, _ = marching_cubes(volume, 0.0)
    vertices = np.stack(
        [np.interp(indices[:, axis], np.arange(len(values)), values) for axis, values in enumerate((full_x, y, z))], -1
    ).astype(np.float32)
    triangles = triangles.astype(np.int32)
    corners = vertices[triangles].astype(np.float64)
    if np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) < 0.0:
        triangles = triangles[:, ::-1].copy()
    return vertices, triangles


def grid_triangles(rows: int, columns: int, closed: bool) -> np.ndarray:
    """Triangles of a grid of vertices; ``closed`` joins the last column to the first."""
    quads = []
    for row in range(rows - 1):
        for column in range(columns if closed else columns - 1):
            following = (column + 1) % columns
            first, second = row * columns + column, row * columns + following
            third, fourth = first + columns, second + columns
            quads += [(first, third, second), (second, third, fourth)]
    return np.asarray(quads, np.int32)


def eyeball(side: int, rings: int = 28, segments: int = 40) -> Tuple[np.ndarray, np.ndarray]:
    """A sphere whose pole looks along z; ``side`` is +1 for the person's left eye, -1 for the right."""
    polar = np.linspace(0.0, np.pi, rings)
    around = np.linspace(0.0, 2.0 * np.pi, segments, endpoint=False)
    polar, around = np.meshgrid(polar, around, indexing="ij")
    direction = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1)
    # The transparent cornea stands out of the ball; it is drawn as part of the surface.
    radius = EYE_RADIUS + 0.05 * np.exp(-((polar / 0.42) ** 4))
    centre = np.asarray(EYE_CENTRE) * (side, 1.0, 1.0)
    vertices = (centre + radius[..., None] * direction).reshape(-1, 3)
    return vertices.astype(np.float32), grid_triangles(rings, segments, closed=True)


def teeth(upper: bool) -> Tuple[np.ndarray, np.ndarray]:
    """One row of teeth: a rounded band along the dental arch."""
    side = np.linspace(-2.35 if upper else -2.1, 2.35 if upper else 2.1, 61)
    front = (7.95 if upper else 7.75) - 0.27 * side**2
    edge, root = (MOUTH_Y - 0.36, MOUTH_Y + 1.2) if upper else (MOUTH_Y - 0.22, MOUTH_Y - 1.5)
    edge = edge + (0.05 if upper else -0.03) * np.abs(np.sin(side * np.pi / 0.82)) ** 6
    # The profile goes from the gum down the front, round the biting edge and up the back.
    profile = np.array(
        [(1.0, -0.25), (0.75, -0.06), (0.4, 0.0), (0.12, -0.02), (0.0, -0.12), (0.05, -0.32), (0.6, -0.6)]
    )
    height, depth = profile[:, 0], profile[:, 1]
    y = edge[:, None] + (root - edge)[:, None] * height
    z = front[:, None] + depth
    vertices = np.stack([np.broadcast_to(side[:, None], y.shape), y, z], -1).reshape(-1, 3)
    triangles = grid_triangles(len(side), len(profile), closed=False)
    return vertices.astype(np.float32), triangles[:, ::-1].copy() if upper else triangles


def tongue() -> Tuple[np.ndarray, np.ndarray]:
    """A flattened ball behind the lower teeth."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, 18), np.linspace(0, 2 * np.pi, 28, endpoint=False), indexing="ij")
    x, y = np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around)
    vertices = np.stack([1.75 * x, MOUTH_Y - 1.25 + 0.62 * y + 0.12 * np.abs(x), 5.1 + 2.0 * np.cos(polar)], -1)
    return vertices.reshape(-1, 3).astype(np.float32), grid_triangles(18, 28, closed=True)


def build_mesh(shape: Proportions) -> HeadMesh:
    """Extract and join all parts (about two seconds on one core)."""
    skin_x = graded_axis([(0.0, 0.14), (5.0, 0.32), (6.6, 0.2), (10.2, 0.2)])
    skin_y = graded_axis([(-10.6, 0.4), (-9.8, 0.3), (-6.4, 0.13), (-3.2, 0.18), (1.4, 0.13), (3.9, 0.4), (14.6, 0.3)])
    skin_z = graded_axis([(-11.6, 0.8), (-3.2, 0.26), (2.0, 0.36), (4.6, 0.16), (11.6, 0.16)])
    hair_x = graded_axis([(0.0, 0.32), (10.4, 0.2)])
    hair_y = graded_axis([(-9.0, 0.34), (16.0, 0.2)])
    hair_z = graded_axis([(-13.0, 0.40), (0.0, 0.30), (10.4, 0.2)])
    body_x = graded_axis([(0.0, 0.5), (10.0, 0.8), (27.0, 1.0)])
    body_y = graded_axis([(-46.0, 1.2), (-24.0, 0.5), (-13.0, 0.4)])
    body_z = graded_axis([(-15.0, 0.7), (11.0, 0.5)])
    neck_x = graded_axis([(0.0, 0.45), (13.0, 0.4)])
    neck_y = graded_axis([(-20.5, 0.45), (-2.0, 0.35)])
    neck_z = graded_axis([(-9.5, 0.45), (5.6, 0.35)])

    surfaces = {
        Part.SKIN: extract_surface(partial(sculpt.skin, shape=shape), skin_x, skin_y, skin_z),
        Part.LEFT_EYE: eyeball(1),
        Part.RIGHT_EYE: eyeball(-1),
        Part.UPPER_TEETH: teeth(upper=True),
        Part.LOWER_TEETH: teeth(upper=False),
        Part.TONGUE: tongue(),
        Part.HAIR: extract_surface(partial(sculpt.hair, shape=shape), hair_x, hair_y, hair_z, symmetric=False),
        Part.NECK: extract_surface(sculpt.neck, neck_x, neck_y, neck_z),
        Part.CLOTHES: extract_surface(sculpt.clothes, body_x, body_y, body_z),
    }
    vertex_range: Dict[Part, slice] = {}
    triangle_range: Dict[Part, slice] = {}
    vertices, triangles, parts = [], [], []
    vertex_count = triangle_count = 0
    for part, (points, faces) in surfaces.items():
        vertex_range[part] = slice(vertex_count, vertex_count + len(points))
        triangle_range[part] = slice(triangle_count, triangle_count + len(faces))
        vertices.append(points)
        triangles.append(faces + vertex_count)
        parts.append(np.full(len(faces), int(part), np.int32))
        vertex_count += len(points)
        triangle_count += len(faces)

    skin_points = surfaces[Part.SKIN][0]
    inside = np.zeros(vertex_count, np.float32)
    depth = np.clip((0.10 - sculpt.mouth_cavity(skin_points)) / 0.08, 0.0, 1.0)
    inside[vertex_range[Part.SKIN]] = depth
    return HeadMesh(
        vertices=np.concatenate(vertices),
        triangles=np.concatenate(triangles).astype(np.int32),
        triangle_part=np.concatenate(parts),
        vertex_range=vertex_range,
        triangle_range=triangle_range,
        mouth_inside=inside,
    )
