"""What the viewer's cameras are rendered with: the override that an expression source asks first."""

from __future__ import annotations

import threading
from typing import Callable, Optional

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState, ExpressionSource
from nerfblendshape_ns.viewer.coefficients import CoefficientTable
from nerfblendshape_ns.viewer.state import ControlState, StateStore


def coefficient_table(source: ExpressionSource) -> CoefficientTable:
    """A CPU copy of what an expression source knows of its coefficients."""
    return CoefficientTable(
        source.names,
        source.minimum.cpu().numpy(),
        source.maximum.cpu().numpy(),
        source.track_expression.cpu().numpy(),
        source.train_frames.cpu().numpy(),
    )


def turned_world(pose: Float[Tensor, "12"], turn: Float[np.ndarray, "3 3"]) -> Float[Tensor, "3 3"]:
    """The rotation of all cameras about a head that turns it, as seen from one of them.

    Args:
        pose: camera-to-head matrix of that camera, row by row.
        turn: of the head, in that camera's axes.
    """
    rotation = pose.reshape(3, 4)[:, :3]
    return rotation @ torch.from_numpy(turn.T.copy()).to(rotation) @ rotation.T


class ViewerExpression:
    """Resolves the viewer's cameras from the state of its controls; leaves all others alone.

    A camera that brings its own expression is one of the dataset (evaluation during training), not the viewer's.

    Args:
        source: the model's.
        store: state of the controls.
        table: the model's coefficients.
        rendering: called with the version of the state that a render begins with.
    """

    def __init__(
        self, source: ExpressionSource, store: StateStore, table: CoefficientTable, rendering: Callable[[int], None]
    ) -> None:
        self._source, self._store, self._table = source, store, table
        self._rendering = rendering
        self._placed = threading.local()
        self.came = 0.0
        """``time.monotonic`` of the live frame that was resolved last; 0 where another source drives."""

    def place(self, c2w: Float[Tensor, "3 4"]) -> Float[Tensor, "3 4"]:
        """Where a camera of the viewer is for a head that stays: moved against the live head's turn."""
        current = self._store.current
        state = current[1]
        self._placed.current = current if state.source == "live" else None
        if state.source != "live" or state.turn is None:
            return c2w
        pose = self._source.at_track(state.frame).head_pose
        return c2w if pose is None else turned_world(pose.to(c2w), state.turn) @ c2w

    def resolve(self, camera: Cameras) -> Optional[DrivingState]:
        """The state for a camera of the viewer, None for one of the dataset."""
        if "expression" in (camera.metadata or {}):
            return None
        # A head is turned as its camera was placed, although newer turns may have come while the render waited.
        version, state = getattr(self._placed, "current", None) or self._store.current
        self._placed.current = None
        self._rendering(version)
        self.came = state.came if state.source == "live" else 0.0
        return self.driving_state(state)

    def driving_state(self, state: ControlState) -> DrivingState:
        """What a state of the controls renders."""
        source = self._source
        captured = source.at_track(state.frame)
        is_captured = state.source in ("captured frame", "playback")
        device = source.minimum.device
        pose = captured.head_pose
        if state.source == "live" and state.turn is not None and pose is not None:
            pose = (turned_world(pose, state.turn) @ pose.reshape(3, 4)).flatten()
        return DrivingState(
            expression=torch.from_numpy(state.expression(self._table)).to(device),
            head_pose=pose,
            train_frame=captured.train_frame if is_captured else None,
            background=None if state.background is None else torch.tensor(state.background, device=device),
        )
