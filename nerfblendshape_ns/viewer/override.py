"""What the viewer's cameras are rendered with: the override that an expression source asks first."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Optional

import torch
from nerfstudio.cameras.cameras import Cameras

from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState, ExpressionSource
from nerfblendshape_ns.viewer.coefficients import CoefficientTable
from nerfblendshape_ns.viewer.state import StateStore


def coefficient_table(source: ExpressionSource) -> CoefficientTable:
    """A CPU copy of what an expression source knows of its coefficients."""
    return CoefficientTable(
        source.names,
        source.minimum.cpu().numpy(),
        source.maximum.cpu().numpy(),
        source.track_expression.cpu().numpy(),
        source.train_frames.cpu().numpy(),
    )


class ViewerExpression:
    """Resolves the viewer's cameras from the state of its controls; leaves all others alone.

    A camera that brings its own expression is one of the dataset (evaluation during training), not the viewer's. A
    click on a training camera, which changes the ``cam_idx`` of the viewer's cameras, shows that frame.

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
        self._camera_index: Optional[int] = None

    def resolve(self, camera: Cameras) -> Optional[DrivingState]:
        """The state for a camera of the viewer, None for one of the dataset."""
        metadata = camera.metadata or {}
        if "expression" in metadata:
            return None
        self._follow_click(metadata.get("cam_idx"))
        version, state = self._store.current
        self._rendering(version)
        source = self._source
        captured = source.at_track(state.frame)
        is_captured = state.source in ("captured frame", "playback")
        device = source.minimum.device
        return DrivingState(
            expression=torch.from_numpy(state.expression(self._table)).to(device),
            head_pose=captured.head_pose,
            train_frame=captured.train_frame if is_captured else None,
            background=None if state.background is None else torch.tensor(state.background, device=device),
        )

    def _follow_click(self, camera_index: Optional[int]) -> None:
        before, self._camera_index = self._camera_index, camera_index
        if camera_index is None or before is None or camera_index == before:
            return
        if 0 <= camera_index < len(self._table.train_frames):
            frame = int(self._table.train_frames[camera_index])
            self._store.change(lambda state: replace(state, source="captured frame", frame=frame, playing=False))
