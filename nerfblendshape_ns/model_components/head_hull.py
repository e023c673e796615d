"""Where a head can be at all: the silhouette hull of its masks, and a shell round the tracked face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional, Tuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from nerfstudio.cameras.cameras import Cameras
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import ConvexHull, KDTree
from torch import Tensor

from nerfblendshape_ns.errors import UserError

if TYPE_CHECKING:
    from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset

SUBNASALE, FOREHEAD, CHIN = 2, 10, 152
"""Vertices of the tracked face mesh, in MediaPipe's numbering."""

MAX_FRAMES = 100
"""Silhouettes that carve the hull; more say nothing new."""
DEPTH_MAP = 96
"""Cells of the map of the face's depth along each side."""
JAW_BAND = 0.15
"""Width of the outline of the jaw, in face heights."""


@torch.no_grad()
def head_region(
    points: Float[Tensor, "points 3"],
    dataset: "NerfBlendshapeDataset",
    mesh: Optional[Tensor],
    shell: bool,
    skin: Optional[Float[Tensor, "frames vertices 3"]] = None,
) -> Bool[Tensor, "points"]:
    """Points that may belong to the head in some frame: hull and, where there is a mesh, shell; and moved skin.

    Args:
        points: in scene coordinates.
        dataset: the training frames.
        mesh: ``[468, 3]`` the clip's face mesh in scene coordinates, or None.
        shell: whether to use the shell.
        skin: where the mesh's vertices are in training frames, in scene coordinates: the shell moves with them, and
            what is near them is kept whatever most masks say, since a cheek is puffed in few frames.

    Raises:
        UserError: nothing is left.
    """
    count = len(dataset)
    chosen = torch.linspace(0, count - 1, min(count, MAX_FRAMES)).round().long().unique()
    masks = torch.stack([dataset.get_data(int(index))["alpha"][..., 0] for index in chosen])
    region = silhouette_hull(points, dataset.cameras[chosen], masks.to(points.device), hull_share(points, mesh))
    if mesh is not None and shell:
        region &= face_shell(points, mesh, skin)
    if mesh is not None and skin is not None:
        region[~region] = near_skin(points[~region], skin.reshape(-1, 3), mesh)
    if not bool(region.any()):
        raise UserError(
            f"The head masks of {dataset.metadata.get('root', 'the dataset')} carve away everything: poses, intrinsics "
            "and masks do not belong together; look at the dataset's report, or process the video again."
        )
    return region


@torch.no_grad()
def silhouette_hull(
    points: Float[Tensor, "points 3"],
    cameras: Cameras,
    masks: Float[Tensor, "frames height width"],
    keep: Float[Tensor, "points"],
    grow: int = 5,
) -> Bool[Tensor, "points"]:
    """Points that project into the head mask in at least a share ``keep`` of the frames.

    Args:
        points: in scene coordinates.
        cameras: one a mask, OpenGL axes; points outside an image count as inside the head.
        masks: head opacity in [0, 1].
        keep: the share asked of each point: high for rigid parts, low where expressions move the outline.
        grow: the masks are dilated by this many pixels (odd) against tracking error.
    """
    device = points.device
    grown = torch.nn.functional.max_pool2d(masks[:, None], grow, 1, grow // 2)[:, 0] > 0.05
    height, width = masks.shape[1:]
    inside = torch.zeros(len(points), device=device)
    for index in range(len(masks)):
        pose = cameras.camera_to_worlds[index].to(device)
        local = (points - pose[:, 3]) @ pose[:, :3]
        depth = (-local[:, 2]).clamp_min(1e-6)
        column = (local[:, 0] / depth * cameras.fx[index].to(device) + cameras.cx[index].to(device)).floor().long()
        row = (-local[:, 1] / depth * cameras.fy[index].to(device) + cameras.cy[index].to(device)).floor().long()
        visible = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        hit = torch.ones(len(points), device=device)
        hit[visible] = grown[index].to(device)[row[visible], column[visible]].float()
        inside += hit
    return inside >= keep * len(masks)


def face_shell(
    points: Float[Tensor, "points 3"],
    mesh: Float[Tensor, "vertices 3"],
    skin: Optional[Float[Tensor, "frames vertices 3"]] = None,
    front: float = 0.1,
    behind: float = 0.25,
    under: float = 0.6,
    hair: float = 0.1,
    rise: float = 0.15,
) -> Bool[Tensor, "points"]:
    """Points near the tracked face surface; off the face, those that are not far in front of its outline.

    The inside of a head is never seen, and nothing but hair is in front of a face. Hair and ears begin where the face's
    outline is. Were they free to lie anywhere before it, they would: few views tell their depth, and a head that turns
    further than in training would tear them off.

    Args:
        points: in scene coordinates (z up, the face looks along -y).
        mesh: ``[468, 3]`` the clip's neutral face mesh, same coordinates.
        skin: the same vertices in other frames; a point may be near the surface in any of them.
        front: how far in front of the surface is kept, in face heights (about 18 cm).
        behind: how far behind it.
        under: the same at the outline of the jaw, whose underside is far behind the chin.
        hair: how far in front of the nearest point of the face's outline the rest of the head may be; below the chin,
            where hair may lie on a chest, it may be anywhere.
        rise: by how much more for each face height of distance from the outline.
    """
    vertices = mesh.detach().cpu().numpy()
    height = float(np.linalg.norm(vertices[FOREHEAD] - vertices[CHIN]))
    query = points.detach().cpu().numpy()
    column, depth = query[:, [0, 2]], query[:, 1]
    faces = vertices[None] if skin is None else np.concatenate([vertices[None], skin.detach().cpu().numpy()])
    low, cell, foremost, rearmost, x, z = _surface_depths(faces)
    hull = ConvexHull(vertices[:, [0, 2]])
    inwards = -(np.stack([x, z], -1) @ hull.equations[:, :2].T + hull.equations[:, 2]).max(-1) / height
    jaw = np.where(z < vertices[SUBNASALE, 2], np.clip(1.0 - inwards / JAW_BAND, 0.0, 1.0), 0.0)
    first, last = foremost - front * height, rearmost + (behind + (under - behind) * jaw) * height
    index = np.round((column - low) / cell).astype(int)
    index[((index < 0) | (index >= DEPTH_MAP)).any(1)] = 0  # A corner of the map, where there is no face.
    first, last = first[index[:, 0], index[:, 1]], last[index[:, 0], index[:, 1]]
    kept = (depth > first) & (depth < last)
    off = np.isnan(first)
    outline = vertices[hull.vertices]
    distance, nearest = KDTree(outline[:, [0, 2]]).query(column[off])
    before_outline = outline[nearest, 1] - depth[off]
    kept[off] = (before_outline < hair * height + rise * distance) | (column[off, 1] < vertices[CHIN, 2])
    return torch.from_numpy(kept).to(points.device)


def _surface_depths(faces: np.ndarray) -> Tuple[np.ndarray, ...]:
    """A map of the foremost and of the rearmost depth of ``faces [frames, vertices, 3]``, NaN where there is none.

    Returns:
        The first cell's (x, z), a cell's size, both maps, and the cells' x and z.
    """
    plane = faces[..., [0, 2]]
    low, high = plane.min((0, 1)), plane.max((0, 1))
    cell = (high - low) / (DEPTH_MAP - 3)  # One more on every side, off the face.
    low = low - cell
    x, z = np.meshgrid(*(low[axis] + cell[axis] * np.arange(DEPTH_MAP) for axis in range(2)), indexing="ij")
    foremost = np.full((DEPTH_MAP, DEPTH_MAP), np.nan)
    rearmost = foremost.copy()
    for face, flat in zip(faces, plane):
        depth = LinearNDInterpolator(flat, face[:, 1])(x, z)
        foremost, rearmost = np.fmin(foremost, depth), np.fmax(rearmost, depth)
    return low, cell, foremost, rearmost, x, z


def near_skin(
    points: Float[Tensor, "points 3"],
    skin: Float[Tensor, "places 3"],
    mesh: Float[Tensor, "vertices 3"],
    reach: float = 0.04,
) -> Bool[Tensor, "points"]:
    """Points no further than ``reach`` face heights from a place of the skin."""
    height = float((mesh[FOREHEAD] - mesh[CHIN]).norm())
    distance, _ = KDTree(skin.cpu().numpy()).query(points.cpu().numpy(), distance_upper_bound=reach * height)
    return torch.from_numpy(np.isfinite(distance)).to(points.device)


def hull_share(
    points: Float[Tensor, "points 3"], mesh: Optional[Tensor], rigid: float = 0.95, moving: float = 0.03
) -> Float[Tensor, "points"]:
    """Share of frames in which each point must be inside the mask: little is asked below the nose, where the jaw
    drops in few frames; much above it, where the outline is rigid."""
    border = float(mesh[SUBNASALE, 2]) if mesh is not None else float(points[:, 2].mean())
    return torch.where(points[:, 2] < border, moving, rigid)
