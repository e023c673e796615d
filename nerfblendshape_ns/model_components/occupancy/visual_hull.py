"""Where a head can be at all: the visual hull of its masks, a shell round the tracked face, and what masks show."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Optional, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from nerfstudio.cameras.cameras import Cameras
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import ConvexHull, KDTree
from torch import Tensor

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.frame_numbers import spread
from nerfblendshape_ns.model_components.occupancy.expression_occupancy import ExpressionOccupancy
from nerfblendshape_ns.model_components.occupancy.mask_cover import cover_masks

if TYPE_CHECKING:
    from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset

SUBNASALE, FOREHEAD, CHIN = 2, 10, 152
"""Vertices of the tracked face mesh, in MediaPipe's numbering."""

MAX_FRAMES = 100
"""Largest number of silhouettes that the hull is made of; more add nothing."""
AGREEMENT = 0.001
"""Fraction of a mask outside the hull that is not worth naming the frame."""
DEPTH_MAP = 96
"""Cells of the map of the face's depth along each side."""
JAW_BAND = 0.15
"""Width of the outline of the jaw, in face heights."""


class HeadRegion(NamedTuple):
    """Where the head may be."""

    allowed: Bool[Tensor, "cells"]
    """Cells that may be occupied."""
    swept: Bool[Tensor, "cells"]
    """Those of them where the skin is in some frame: none without mesh or moved skin."""
    outside: Float[Tensor, "frames"]
    """Fraction of the pixels of each frame's mask that only cells of their own let be seen: how far its mask or its
    pose disagrees with the other frames'."""


@torch.no_grad()
def head_region(
    occupancy: ExpressionOccupancy,
    dataset: "NerfBlendshapeDataset",
    mesh: Optional[Tensor],
    skin: Optional[Float[Tensor, "frames vertices 3"]] = None,
) -> HeadRegion:
    """Cells that may belong to the head in some frame: in visual hull and shell, near moved skin, or seen in a mask.

    Args:
        occupancy: the grid of cells.
        dataset: the training frames, loaded.
        mesh: ``[468, 3]`` the clip's face mesh in scene coordinates; without one there is no shell.
        skin: positions of the mesh's vertices in training frames, in scene coordinates: the shell moves with them, and
            what is near them is kept whatever most masks say, since a cheek is puffed in few frames.

    Raises:
        UserError: hull and shell leave nothing.
    """
    points = occupancy.cell_centers()
    shell, swept = torch.ones_like(occupancy.allowed), torch.zeros_like(occupancy.allowed)
    if mesh is not None:
        sweep = SkinSweep(mesh, skin)
        shell = face_shell(points, sweep)
        if skin is not None:
            swept = sweep.near_swept_surface(points)
    chosen = torch.tensor(spread(len(dataset), MAX_FRAMES))
    chosen = chosen[dataset.alpha[chosen].flatten(1).amax(1) > 0]  # A frame without a head does not say where it is.
    masks = dataset.alpha[chosen].to(points.device).float() / 255
    votes = torch.zeros_like(points[:, 0])
    votes[shell] = mask_votes(points[shell], dataset.cameras[chosen], masks)
    region = (shell & (votes >= hull_fraction(points, mesh))) | swept
    if not bool(region.any()):
        raise UserError(
            f"The visual hull of the head masks of {dataset.metadata.get('root', 'the dataset')} is empty: poses, "
            "intrinsics and masks are inconsistent; look at the dataset's report, or process the video again."
        )
    added, outside = cover_masks(occupancy, dataset, region, shell, votes)
    return HeadRegion(region | added, swept, outside)


def agreement(outside: Float[Tensor, "frames"], img_ids: Sequence[int]) -> str:
    """The frame that agrees least with the hull, in a sentence.

    Args:
        outside: see :class:`HeadRegion`.
        img_ids: numbers of the frames.
    """
    worst = int(outside.argmax())
    if float(outside[worst]) < AGREEMENT:
        return f"Visual hull: all {len(img_ids)} masks agree; less than {AGREEMENT:.1%} of any lies outside."
    return (
        f"Visual hull: frame {img_ids[worst]} agrees least of {len(img_ids)}: {float(outside[worst]):.1%} of its mask "
        "is where other masks or their poses allow nothing, and is given cells of its own."
    )


@torch.no_grad()
def mask_votes(
    points: Float[Tensor, "points 3"], cameras: Cameras, masks: Float[Tensor, "frames height width"], grow: int = 5
) -> Float[Tensor, "points"]:
    """Fraction of the head masks that each point projects into; 1 is the visual hull (Laurentini 1994).

    Args:
        points: in scene coordinates.
        cameras: one per mask, OpenGL axes; points outside an image count as inside the head.
        masks: head opacity in [0, 1].
        grow: width in pixels (odd) of the square that the masks are dilated by against tracking error.
    """
    device, (height, width) = points.device, masks.shape[1:]
    grown = torch.nn.functional.max_pool2d(masks[:, None], grow, 1, grow // 2)[:, 0] > 0.05
    framed = torch.nn.functional.pad(grown, (1, 1, 1, 1), value=True).flatten(1)
    inside = torch.zeros(len(points), dtype=torch.int32, device=device)
    for index in range(len(masks)):
        pose = cameras.camera_to_worlds[index].to(device)
        right, up, back = ((points - pose[:, 3]) @ pose[:, :3]).unbind(-1)
        depth = (-back).clamp_min(1e-6)
        column = right / depth * cameras.fx[index].to(device) + cameras.cx[index].to(device)
        row = -up / depth * cameras.fy[index].to(device) + cameras.cy[index].to(device)
        place = (row.floor().clamp(-1, height) + 1) * (width + 2) + column.floor().clamp(-1, width) + 1
        inside += framed[index][place.long()]
    return inside / len(masks)


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
