"""Which expression, head pose and frame code a camera is rendered with: one driving state per camera, decided once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor, nn


@dataclass
class DrivingState:
    """What drives one rendered frame."""

    expression: Float[Tensor, "basis"]
    """Raw coefficients in the units of ``expr.npy``, clamped to the training range; an exaggeration may leave it."""
    head_pose: Optional[Float[Tensor, "12"]] = None
    """Captured camera-to-head pose, the 3x4 matrix row by row; None where no frame is captured."""
    train_frame: Optional[int] = None
    """Index of the training frame whose appearance code applies; None takes the mean code."""
    background: Optional[Float[Tensor, "3"]] = None
    """Colour in [0, 1] to render ``rgb`` over; None is the model's own background."""

    def over_background(self, outputs: Dict[str, Tensor], own: Tensor) -> Dict[str, Tensor]:
        """Put ``rgb`` over this state's background where it has one.

        Args:
            outputs: of a render: ``rgb`` [..., 3] and ``accumulation`` [..., 1].
            own: the background that ``rgb`` was rendered over, colour or image, broadcastable to it.
        """
        if self.background is None:
            return outputs
        colour = self.background.to(own)
        changed = {**outputs, "rgb": outputs["rgb"] + (1.0 - outputs["accumulation"]) * (colour - own)}
        if "background" in outputs:
            changed["background"] = colour.expand_as(outputs["background"])
        return changed


class ExpressionOverride(Protocol):
    """Viewer controls or a driver that decide the state before anything in the camera does."""

    def resolve(self, camera: Cameras) -> Optional[DrivingState]:
        """The state to use, or None to leave the decision to the camera."""
        ...


class ExpressionSource(nn.Module):
    """Resolves a camera to its :class:`DrivingState`.

    The order is: an installed override; the expression in the camera's metadata (training, evaluation,
    ``ns-render dataset``); the training frame named by ``cam_idx`` (viewer, ``ns-render --camera-idx``); the camera's
    time on the clip's track (camera paths); neutral. Viewer cameras carry time 0 beside a ``cam_idx``, so the time
    comes after it. Camera indices inside ray bundles are 0 in evaluation and are never used.

    Args:
        names: one name per coefficient.
        minimum: ``[basis]`` training minimum, raw units; what drives the model is clamped to it.
        maximum: ``[basis]`` training maximum.
        track: the whole clip: ``expression`` [frames, basis], ``head_pose`` [frames, 12], ``times`` [frames] in [0, 1],
            ``seconds`` from the first frame to the last.
        train_frames: ``[train]`` position on the track of each training camera.
    """

    def __init__(
        self, names: List[str], minimum: Tensor, maximum: Tensor, track: Dict[str, Any], train_frames: Tensor
    ) -> None:
        super().__init__()
        self.names = list(names)
        self.seconds = float(track["seconds"])
        self.override: Optional[ExpressionOverride] = None
        self.minimum: Tensor
        self.maximum: Tensor
        self.track_expression: Tensor
        self.track_pose: Tensor
        self.track_times: Tensor
        self.train_frames: Tensor
        self.register_buffer("minimum", minimum.float().clone())
        self.register_buffer("maximum", maximum.float().clone())
        self.register_buffer("track_expression", track["expression"].float().clone())
        self.register_buffer("track_pose", track["head_pose"].float().clone())
        self.register_buffer("track_times", track["times"].float().flatten().clone())
        self.register_buffer("train_frames", train_frames.long().clone())

    def widen(self, chosen: Bool[Tensor, "basis"], fraction: float) -> None:
        """Let some coefficients leave their training range by a fraction of it at both ends."""
        more = torch.where(chosen.to(self.minimum.device), fraction * (self.maximum - self.minimum), 0.0)
        self.minimum -= more
        self.maximum += more

    def clamp(self, expression: Float[Tensor, "*batch basis"]) -> Float[Tensor, "*batch basis"]:
        """Clamp to what may drive the model: its door, through which every expression comes."""
        return expression.clamp(self.minimum, self.maximum)

    def train_expression(self) -> Float[Tensor, "train basis"]:
        """Coefficients of the training frames."""
        return self.track_expression[self.train_frames]

    def track_seconds(self) -> Float[np.ndarray, "frames"]:
        """When each frame of the clip was filmed, seconds since the first."""
        return self.track_times.cpu().double().numpy() * self.seconds

    def neutral(self) -> DrivingState:
        """The neutral face."""
        return DrivingState(self.clamp(torch.zeros_like(self.minimum)))

    def at_track(self, frame: int) -> DrivingState:
        """The state of a frame of the clip."""
        match = (self.train_frames == frame).nonzero()
        return DrivingState(
            self.clamp(self.track_expression[frame]),
            self.track_pose[frame],
            int(match[0, 0]) if len(match) else None,
        )

    def at_time(self, time: float) -> DrivingState:
        """The state at a time of the clip in [0, 1]: coefficients interpolated, pose of the nearest frame."""
        position = torch.searchsorted(self.track_times, torch.tensor(time, device=self.track_times.device))
        after = int(position.clamp(1, max(1, len(self.track_times) - 1)))
        if len(self.track_times) == 1:
            return self.at_track(0)
        start, end = self.track_times[after - 1], self.track_times[after]
        fraction = float(((time - start) / (end - start).clamp_min(1e-9)).clamp(0, 1))
        state = self.at_track(after if fraction > 0.5 else after - 1)
        state.expression = self.clamp(
            torch.lerp(self.track_expression[after - 1], self.track_expression[after], fraction)
        )
        return state

    def resolve(self, camera: Cameras) -> DrivingState:
        """Decide the state of one camera.

        Args:
            camera: a single camera, of shape ``[]`` or ``[1]``.
        """
        if self.override is not None:
            state = self.override.resolve(camera)
            if state is not None:
                return state
        metadata = camera.metadata or {}
        device = self.minimum.device
        if "expression" in metadata:
            expression = self.clamp(metadata["expression"].reshape(-1).to(device))
            pose = metadata["head_pose"].reshape(-1).to(device) if "head_pose" in metadata else None
            frame = metadata.get("frame_index")
            train_frame = None
            if frame is not None:
                match = (self.train_frames == int(torch.as_tensor(frame).reshape(-1)[0])).nonzero()
                train_frame = int(match[0, 0]) if len(match) else None
            return DrivingState(expression, pose, train_frame)
        if "cam_idx" in metadata and metadata["cam_idx"] is not None:
            index = int(torch.as_tensor(metadata["cam_idx"]).reshape(-1)[0])
            if 0 <= index < len(self.train_frames):
                return self.at_track(int(self.train_frames[index]))
        if camera.times is not None:
            return self.at_time(float(camera.times.reshape(-1)[0]))
        return self.neutral()
