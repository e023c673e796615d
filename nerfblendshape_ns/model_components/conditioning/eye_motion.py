"""Eyeballs that turn with the coefficients, as the irises show it, turned back before the tables are looked up.

The skin's motion (:mod:`.face_motion`) is too smooth for an iris that slides behind the lids. So what lies in an
opening between lids, which stands still in canonical space, is turned about the eyeball's centre to where it is when
the face is neutral. The turn is linear in the coefficients and measured on the irises of the training frames; beyond
the range of training the tables stand still, and eyes and lids go on.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerfblendshape_ns.coefficient_names.face_groups import GAZE_BEYOND, gaze
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import IRIS_LANDMARKS, LEFT_EYE_LANDMARKS, RIGHT_EYE_LANDMARKS
from nerfblendshape_ns.data.landmark_motion import landmark_motion, shows_gaze
from nerfblendshape_ns.model_components.conditioning.expression_source import ExpressionSource
from nerfblendshape_ns.model_components.conditioning.face_motion import FaceMotion, displacements
from nerfblendshape_ns.ops.canonical import EyeMap

LIDS = (RIGHT_EYE_LANDMARKS, LEFT_EYE_LANDMARKS)
"""Landmarks round each opening, from the outer corner; the inner one is the ninth."""
EYEBALL = 0.42
"""Radius of an eyeball over the distance of an eye's corners: 12 of 29 mm."""
CELLS = 256
"""Cells of the map of openings along each side of the box."""
UNBOUNDED = 1e9
"""Stands for infinity, which no checkpoint holds."""
TENSORS = ("lids", "irises", "turns", "ends", "low", "high")
"""What a checkpoint keeps."""


class EyeMotion(nn.Module):
    """How both eyeballs turn, the right one (of smaller x) first.

    Args:
        aabb: ``[2, 3]`` the head box (z up, the face looks along -y).
        lids: ``[2, 16, 3]`` neutral outlines of the openings, in scene coordinates.
        irises: ``[2, 3]`` neutral centres of the irises.
        turns: ``[basis, 4]`` radians about the axes x and z of the right eye, then of the left, per unit of each scaled
            coefficient.
        ends: ``[2, 4]`` the smallest and the largest of the four in training.
        low: ``[basis]`` what the tables see at least of each scaled coefficient: of gaze, the training minimum.
        high: ``[basis]`` and at most.
    """

    def __init__(
        self,
        aabb: Float[Tensor, "2 3"],
        lids: Float[Tensor, "2 16 3"],
        irises: Float[Tensor, "2 3"],
        turns: Float[Tensor, "basis 4"],
        ends: Float[Tensor, "2 4"],
        low: Float[Tensor, "basis"],
        high: Float[Tensor, "basis"],
    ) -> None:
        super().__init__()
        for name, value in zip(TENSORS, (lids, irises, turns, ends, low, high)):
            self.register_buffer(name, value.to(aabb, copy=True))
        self.lids: Tensor
        self.irises: Tensor
        self.turns: Tensor
        self.ends: Tensor
        self.low: Tensor
        self.high: Tensor
        self.aabb: Tensor
        self.furthest: Tensor
        self.centres: Tensor
        self.size: Tensor
        self.opening: Tensor
        self.register_buffer("aabb", aabb.float().clone(), persistent=False)
        for name, value in self._places().items():
            self.register_buffer(name, value, persistent=False)

    def _places(self) -> Dict[str, Tensor]:
        low, extent = self.aabb[0], self.aabb[1] - self.aabb[0]
        radius = eyeball_radius(self.lids)
        centres = self.irises + radius * radius.new_tensor([0.0, 1.0, 0.0])
        opening = opening_map(((self.lids - low) / extent)[..., [0, 2]].cpu().numpy())
        beyond = GAZE_BEYOND * (self.ends[1] - self.ends[0])
        return {
            "furthest": torch.stack([self.ends[0] - beyond, self.ends[1] + beyond]),
            "centres": (centres - low) / extent,
            "size": extent / radius,
            "opening": torch.from_numpy(opening).to(low.device),
        }

    def _load_from_state_dict(self, state_dict: Dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """The checkpoint's eyes are those that its tables were trained on; the dataset's may differ."""
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        for name, value in self._places().items():
            setattr(self, name, value)

    @classmethod
    def of_clip(
        cls,
        motion: FaceMotion,
        metadata: Mapping[str, Any],
        source: ExpressionSource,
        expression: Float[Tensor, "train basis"],
        poses: Float[Tensor, "train 12"],
    ) -> Optional[EyeMotion]:
        """As measured on the training frames; None where the dataset has no irises or no coefficients of gaze.

        Widens the source's range of gaze coefficients, which eyes follow further than the tables do.

        Args:
            motion: of the skin, which is undone before the eyes'.
            metadata: of the dataparser's outputs, or of a rebuilt head, which holds what was measured.
            source: the clip's expressions.
            expression: scaled coefficients of the training frames.
            poses: their camera-to-head matrices, row by row.

        Raises:
            UserError: what was measured is of other shapes than eyes have.
        """
        measured, basis = metadata.get("eye_motion"), len(source.names)
        if measured is not None:
            # A kernel reads them, which does not look where they end.
            shapes = [(2, len(LIDS[0]), 3), (2, 3), (basis, 4), (2, 4), (basis,), (basis,)]
            if [tuple(tensor.shape) for tensor in measured] != shapes:
                raise UserError("its eyes are none of two eyeballs and its coefficients; train or export again.")
            return cls(motion.aabb, *measured)
        seen = metadata.get("landmark_tangents")
        if seen is None or not shows_gaze(seen.shape[1], source.names):
            return None
        turning = torch.tensor(gaze(source.names), device=expression.device)
        lids = torch.stack([motion.neutral[list(lid)] for lid in LIDS])
        tensors = seen[:, list(IRIS_LANDMARKS)], expression, poses, lids.mean(1)
        found = landmark_motion(*(tensor.cpu().numpy() for tensor in tensors))
        irises, moved = (torch.from_numpy(array).to(motion.aabb) for array in found)
        extent = motion.aabb[1] - motion.aabb[0]
        slid = moved - extent * displacements(motion.aabb, motion.neutral, motion.motion, irises)
        turns = torch.stack([-slid[..., 2], slid[..., 0]], dim=-1).flatten(1) / eyeball_radius(lids)
        angles = expression @ turns
        low = torch.where(turning, expression.amin(0), -UNBOUNDED)
        high = torch.where(turning, expression.amax(0), UNBOUNDED)
        source.widen(turning, GAZE_BEYOND)
        return cls(motion.aabb, lids, irises, turns, torch.stack([angles.amin(0), angles.amax(0)]), low, high)

    def forward(self, coefficients: Float[Tensor, "frames numbers"]) -> EyeMap:
        """How the eyes of a few frames are turned, by their scaled coefficients, which others may follow."""
        turns, furthest = self.turns.view(-1, 2, 2), self.furthest.view(2, 2, 2)
        return EyeMap(self.opening, self.centres, self.size, turns, furthest, coefficients)


def eyeball_radius(lids: Float[Tensor, "2 16 3"]) -> Float[Tensor, ""]:
    """By the openings' width, in its unit."""
    return EYEBALL * (lids[:, 0] - lids[:, 8]).norm(dim=-1).mean()


def opening_map(outlines: Float[np.ndarray, "2 points 2"]) -> Float[np.ndarray, "z x"]:
    """Over the box's frontal plane, how much of each cell lies between the lids.

    Args:
        outlines: x and z of the lids, in [0, 1] over the box.
    """
    fine = np.zeros((4 * CELLS, 4 * CELLS), np.uint8)
    for outline in np.clip(np.nan_to_num(outlines), 0.0, 1.0):
        # cv2 takes (column, row) and 16ths of a pixel from its centre: the map is indexed [z, x].
        cv2.fillPoly(fine, [np.round(16 * (4 * CELLS * outline - 0.5)).astype(np.int32)], (255,), shift=4)
    return cv2.resize(fine, (CELLS, CELLS), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
