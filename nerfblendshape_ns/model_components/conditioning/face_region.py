"""Where the face is, apart from hair, ears and the back of the head."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerfblendshape_ns.model_components.occupancy.visual_hull import CHIN, FOREHEAD

CELLS = 128
"""Cells of the map along each side of the box."""


class FaceRegion(nn.Module):
    """``weights [128, 128]``, a map over the box's frontal plane (z, x): 1 on the face, 0 off it, a ramp between; and
    ``rear``, the depth in the box at which the region ends.

    Args:
        aabb: ``[2, 3]`` the head box (z up, the face looks along -y).
        mesh: ``[468, 3]`` the clip's face mesh in scene coordinates.
        side: how far the region extends beyond the mesh to the sides and above, in face heights.
        below: how far below it, where the jaw drops.
        ramp: width of the transition, in face heights.
        depth: how far behind the foremost point of the face.
    """

    def __init__(
        self,
        aabb: Float[Tensor, "2 3"],
        mesh: Float[Tensor, "vertices 3"],
        side: float = 0.03,
        below: float = 0.3,
        ramp: float = 0.08,
        depth: float = 0.7,
    ) -> None:
        super().__init__()
        self.weights: Tensor
        self.rear: Tensor
        vertices = mesh.detach().cpu().numpy().astype(np.float64)
        height = float(np.linalg.norm(vertices[FOREHEAD] - vertices[CHIN]))
        low, high = aabb[0].cpu().numpy(), aabb[1].cpu().numpy()
        extent = (high - low)[[0, 2]]
        plane = vertices[:, [0, 2]]
        dropped = plane - np.array([0.0, below * height])
        chin_half = plane[:, 1] < plane[:, 1].mean()
        outline = cv2.convexHull(np.concatenate([plane, dropped[chin_half]]).astype(np.float32))[:, 0]
        cells = ((outline - low[[0, 2]]) / extent * CELLS).astype(np.float32)
        inside = np.zeros((CELLS, CELLS), np.uint8)
        # cv2 takes (column, row): the map is indexed [z, x].
        cv2.fillConvexPoly(inside, np.round(cells * 16).astype(np.int32), (1,), shift=4)
        distance = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5) / CELLS * float(extent.mean()) / height
        weights = np.clip(1.0 - (distance - side) / ramp, 0.0, 1.0).astype(np.float32)
        self.register_buffer("weights", torch.from_numpy(weights))
        rear = (vertices[:, 1].min() + depth * height - low[1]) / (high - low)[1]
        self.register_buffer("rear", torch.tensor(rear).float())
