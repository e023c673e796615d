"""Where a head can be at all: the visual hull of its masks, and a shell round the tracked face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional, Tuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from nerfstudio.cameras.cameras import Cameras
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import ConvexHull, KDTree
from torch import Tensor

from nerfblendshape_ns.common.errors import UserError

if TYPE_CHECKING:
    from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset

SUBNASALE, FOREHEAD, CHIN = 2, 10, 152
"""Vertices of the tracked face mesh, in MediaPipe's numbering."""

MAX_FRAMES = 100
"""Largest number of silhouettes that the hull is made of; more add nothing."""
DEPTH_MAP = 96
"""Cells of the map of the face's depth along each side."""
JAW_BAND = 0.15
"""Width of the outline of the jaw, in face heights."""


@torch.no_grad()
def head_region(
    points: Float[Tensor, "points 3"],
    dataset: "NerfBlendshapeDataset",
    mesh: Optional[Tensor],
    skin: Optional[Float[Tensor, "frames vertices 3"]] = None,
) -> Tuple[Bool[Tensor, "points"], Bool[Tensor, "points"]]:
    """Points that may belong to the head in some frame: in visual hull and shell, or near moved skin.

    Args:
        points: in scene coordinates.
        dataset: the training frames.
        mesh: ``[468, 3]`` the clip's face mesh in scene coordinates; without one there is no shell.
        skin: positions of the mesh's vertices in training frames, in scene coordinates: the shell moves with them, and
            what is near them is kept whatever most masks say, since a cheek is puffed in few frames.

    Returns:
        These points, and those of them where the skin is in some frame: none without mesh or ``skin``.

    Raises:
        UserError: nothing is left.
    """
    count = len(dataset)
    chosen = torch.linspace(0, count - 1, min(count, MAX_FRAMES)).round().long().unique()
    masks = torch.stack([dataset.get_data(int(index))["alpha"][..., 0] for index in chosen])
    region = visual_hull(points, dataset.cameras[chosen], masks.to(points.device), hull_fraction(points, mesh))
    swept = torch.zeros_like(region)
    if mesh is not None:
        sweep = SkinSweep(mesh, skin)
        region &= face_shell(points, sweep)
        if skin is not None:
            swept = sweep.near_swept_surface(points)
            region |= swept
    if not bool(region.any()):
        raise UserError(
            f"The visual hull of the head masks of {dataset.metadata.get('root', 'the dataset')} is empty: poses, "
            "intrinsics and masks are inconsistent; look at the dataset's report, or process the video again."
        )
    return region, swept


@torch.no_grad()
def visual_hull(
    points: Float[Tensor, "points 3"],
    cameras: Cameras,
    masks: Float[Tensor, "frames height width"],
    keep: Float[Tensor, "points"],
    grow: int = 5,
) -> Bool[Tensor, "points"]:
    """Points that project into the head mask in at least a fraction ``keep`` of the frames (Laurentini 1994).

    Args:
        points: in scene coordinates.
        cameras: one per mask, OpenGL axes; points outside an image count as inside the head.
        masks: head opacity in [0, 1].
        keep: the fraction required of each point: high for rigid parts, low where expressions move the outline.
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


class SkinSweep:
    """Where the skin is in any frame; seen from the front, its foremost and its rearmost depth.

    Args:
        mesh: ``[468, 3]`` the clip's neutral face mesh in scene coordinates (z up, the face looks along -y).
        skin: the same vertices in other frames.
    """

    def __init__(
        self, mesh: Float[Tensor, "vertices 3"], skin: Optional[Float[Tensor, "frames vertices 3"]] = None
    ) -> None:
        self.mesh = mesh.detach().cpu().numpy()
        self.height = float(np.linalg.norm(self.mesh[FOREHEAD] - self.mesh[CHIN]))
        others = np.zeros((0, *self.mesh.shape), self.mesh.dtype) if skin is None else skin.detach().cpu().numpy()
        self.faces = np.concatenate([self.mesh[None], others])
        plane = self.faces[..., [0, 2]]
        low, high = plane.min((0, 1)), plane.max((0, 1))
        self._cell = (high - low) / (DEPTH_MAP - 3)  # One more on every side, off the face.
        self._low = low - self._cell
        x, z = (self._low[axis] + self._cell[axis] * np.arange(DEPTH_MAP) for axis in range(2))
        self.x, self.z = np.meshgrid(x, z, indexing="ij")
        self.foremost = np.full((DEPTH_MAP, DEPTH_MAP), np.nan)
        self.rearmost = self.foremost.copy()
        for face, flat in zip(self.faces, plane):
            depth = LinearNDInterpolator(flat, face[:, 1])(self.x, self.z)
            self.foremost, self.rearmost = np.fmin(self.foremost, depth), np.fmax(self.rearmost, depth)

    def look_up(self, map_: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Values of a map of these cells at points ``[points, 3]``, NaN where there is no face."""
        index = np.round((points[:, [0, 2]] - self._low) / self._cell).astype(int)
        index[((index < 0) | (index >= DEPTH_MAP)).any(1)] = 0  # A corner of the map.
        return map_[index[:, 0], index[:, 1]]

    def near_swept_surface(self, points: Float[Tensor, "points 3"], distance: float = 0.04) -> Bool[Tensor, "points"]:
        """Points no further than ``distance`` face heights from the skin of some frame, or between two frames' skin."""
        query, limit = points.detach().cpu().numpy(), distance * self.height
        nearest, _ = KDTree(self.faces.reshape(-1, 3)).query(query, distance_upper_bound=limit)
        first, last = self.look_up(self.foremost, query) - limit, self.look_up(self.rearmost, query) + limit
        near = np.isfinite(nearest) | ((query[:, 1] > first) & (query[:, 1] < last))
        return torch.from_numpy(near).to(points.device)


def face_shell(
    points: Float[Tensor, "points 3"],
    sweep: SkinSweep,
    front: float = 0.1,
    behind: float = 0.25,
    under: float = 0.6,
    hair: float = 0.1,
    rise: float = 0.15,
) -> Bool[Tensor, "points"]:
    """Points near the tracked face surface; off the face, those that are not far in front of its outline.

    The inside of a head is never seen, and nothing but hair is in front of a face. Hair and ears begin at the face's
    outline. Few views show their depth, so without a limit they would float far in front of it and come apart as the
    head turns further than in training.

    Args:
        points: in scene coordinates (z up, the face looks along -y).
        sweep: where the face is; a point may be near it in any frame.
        front: what is kept in front of the surface, in face heights (about 18 cm).
        behind: what is kept behind it.
        under: the same at the outline of the jaw, whose underside is far behind the chin.
        hair: how far in front of the nearest point of the face's outline hair and ears may be; below the chin, where
            hair may lie on a chest, they may be anywhere.
        rise: by how much more per face height of distance from the outline.
    """
    vertices, height, query = sweep.mesh, sweep.height, points.detach().cpu().numpy()
    frontal, depth = query[:, [0, 2]], query[:, 1]
    hull = ConvexHull(vertices[:, [0, 2]])
    inwards = -(np.stack([sweep.x, sweep.z], -1) @ hull.equations[:, :2].T + hull.equations[:, 2]).max(-1) / height
    jaw = np.where(sweep.z < vertices[SUBNASALE, 2], np.clip(1.0 - inwards / JAW_BAND, 0.0, 1.0), 0.0)
    first = sweep.look_up(sweep.foremost, query) - front * height
    last = sweep.look_up(sweep.rearmost + (behind + (under - behind) * jaw) * height, query)
    kept = (depth > first) & (depth < last)
    off = np.isnan(first)
    outline = vertices[hull.vertices]
    distance, nearest = KDTree(outline[:, [0, 2]]).query(frontal[off])
    before_outline = outline[nearest, 1] - depth[off]
    kept[off] = (before_outline < hair * height + rise * distance) | (frontal[off, 1] < vertices[CHIN, 2])
    return torch.from_numpy(kept).to(points.device)


def hull_fraction(
    points: Float[Tensor, "points 3"], mesh: Optional[Tensor], rigid: float = 0.95, moving: float = 0.03
) -> Float[Tensor, "points"]:
    """Fraction of the frames in which each point must be inside the mask.

    It is small below the nose, where the jaw drops in few frames, and large above it, where the outline is rigid.
    """
    border = float(mesh[SUBNASALE, 2]) if mesh is not None else float(points[:, 2].mean())
    return torch.where(points[:, 2] < border, moving, rigid)
