"""An avatar: a trained model that can be posed and driven, opened from a run or an exported file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from nerfstudio.cameras.cameras import Cameras, CameraType
from torch import Tensor

from nerfblendshape_ns.avatar.avatar_file import AvatarFile, Provenance, read_avatar_file
from nerfblendshape_ns.avatar.run_config import run_test_frames
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState
from nerfblendshape_ns.model_components.conditioning.head_pose_code import median_pose
from nerfblendshape_ns.models.head import HeadModel
from nerfblendshape_ns.models.load import AvatarModel, build_model
from nerfblendshape_ns.models.rebuild import EXTRA_STATE, read_checkpoint, whole_or_refused
from nerfblendshape_ns.models.torso import HEAD_PREFIX, TorsoModel

OCCUPANCY_VALUES = "occupancy.estimator.occs"
"""The head occupancy's running maxima: files leave them out, since only training uses them."""
OCCUPANCY_CELLS = "occupancy.estimator.binaries"
"""Which of its cells are occupied."""
ABOUT = "avatar"
"""Key of what a file's description adds to the checkpoint's: the training step, whether it has the clip's track, and
which of its frames are for testing."""
HEAD = "head"
"""Key of the description of the head inside a torso."""


def byte_image(image: Float[Tensor, "..."]) -> UInt8[np.ndarray, "..."]:
    """An image in [0, 1] in eight bits, on the CPU."""
    return (image.detach().clamp(0, 1) * 255 + 0.5).byte().cpu().numpy()


@dataclass(frozen=True)
class Track:
    """What the clip showed, frame by frame."""

    expression: Float[Tensor, "frames basis"]
    """Raw coefficients."""
    head_pose: Float[Tensor, "frames 12"]
    """Captured camera-to-head poses, 3x4 matrices row by row, normalised space."""
    seconds: Float[np.ndarray, "frames"]
    """When each frame was filmed, seconds since the first."""
    train_frames: Int[np.ndarray, "train"]
    """Indices of the training frames on the track."""
    test_frames: Int[np.ndarray, "test"]
    """Indices of the test frames; where the run's split is not known, of all frames that it did not train on."""


class Avatar:
    """A model with all that is needed to drive it; the dataset it came from is not.

    Args:
        model: in evaluation mode.
        description: its plain data (see ``models/description.py``).
        path: the file it was read from.
        step: training step of its weights; None where it is not known.
        test_frames: indices of the test frames on the clip's track, ascending; None where the model does not hold the
            track, which an exported file may have left out.
        provenance: what the file says of the person; empty for runs.
    """

    def __init__(
        self,
        model: AvatarModel,
        description: Dict[str, Any],
        path: Path,
        step: Optional[int] = None,
        test_frames: Optional[np.ndarray] = None,
        provenance: Optional[Provenance] = None,
    ) -> None:
        self.model = model
        self.description = description
        self.path = path
        self.step = step
        self.provenance = provenance or Provenance()
        self._test_frames = test_frames
        self.kind: str = str(description["kind"])
        """``head`` or ``torso``."""
        self.names: List[str] = list(model.expression_source.names)
        """One name per coefficient."""
        self.basis_id: str = str(description["basis"]["id"])
        """Id of the basis, such as ``arkit52``."""
        self.source_names: List[str] = list(description["basis"]["source_names"])
        """Names of the clip's coefficients, those that the model left out among them."""
        self.fps: float = float(description["fps"])
        """Frames per second of the clip."""
        self.camera: Cameras = self._median_camera()
        """The training camera nearest to the median pose, of shape ``[1]``, at the size of the training images."""

    @property
    def head(self) -> HeadModel:
        """The head; that of a torso model is inside it."""
        if isinstance(self.model, TorsoModel):
            assert self.model.head is not None, "a rebuilt torso holds its head"
            return self.model.head
        return self.model

    @property
    def track(self) -> Optional[Track]:
        """The captured clip, where the file has it."""
        source = self.model.expression_source
        if self._test_frames is None:
            return None
        train = source.train_frames.cpu().numpy()
        return Track(source.track_expression, source.track_pose, source.track_seconds(), train, self._test_frames)

    @property
    def minimum(self) -> Float[Tensor, "basis"]:
        """Smallest value of each coefficient in training, raw units."""
        return self.model.expression_source.minimum

    @property
    def maximum(self) -> Float[Tensor, "basis"]:
        """Largest value of each coefficient in training, raw units."""
        return self.model.expression_source.maximum

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.minimum.device

    def to(self, device: Union[str, torch.device]) -> "Avatar":
        """Move model and camera; returns the avatar itself."""
        self.model.to(device)
        self.camera = self.camera.to(device)
        return self

    def neutral(self) -> DrivingState:
        """The neutral face at the median pose; coefficients that never reach 0 in training come as near as they do."""
        state = self.model.expression_source.neutral()
        state.head_pose = self.camera.camera_to_worlds[0].flatten()
        return state

    def camera_of(self, head_pose: Float[Tensor, "12"], size: Optional[int] = None) -> Cameras:
        """A camera at a captured pose, with the clip's field of view.

        Args:
            head_pose: camera-to-head, the 3x4 matrix row by row (or as 3x4), normalised space.
            size: longer side of the image in pixels; None takes that of the training images.

        Returns:
            Of shape ``[1]``.
        """
        camera = self.camera
        width, height = int(camera.width[0]), int(camera.height[0])
        scale = 1.0 if size is None else size / max(width, height)
        new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
        across, down = new_width / width, new_height / height
        return Cameras(
            camera_to_worlds=head_pose.reshape(1, 3, 4).float().to(self.device),
            fx=camera.fx * across,
            fy=camera.fy * down,
            cx=camera.cx * across,
            cy=camera.cy * down,
            width=new_width,
            height=new_height,
            camera_type=CameraType.PERSPECTIVE,
        )

    @torch.no_grad()
    def render(
        self, state: DrivingState, camera: Cameras, background: Optional[Tensor] = None
    ) -> Dict[str, Float[Tensor, "height width channels"]]:
        """Render one frame.

        Args:
            state: what drives it; the expression is not clamped.
            camera: of shape ``[]`` or ``[1]``, such as from :meth:`camera_of`.
            background: a colour ``[3]`` or an image ``[height, width, 3]`` in [0, 1]; None keeps the model's own.

        Returns:
            The model's outputs, ``[height, width, channels]``: ``rgb`` in [0, 1] over the background, ``accumulation``
            (opacity of the person), ``depth``, ``background``; a torso adds ``head_rgb``, ``torso_rgb``,
            ``head_accumulation`` and ``torso_alpha``.
        """
        if background is not None:
            state = replace(state, background=background)
        return self.model.render_driven(camera, state)

    def _median_camera(self) -> Cameras:
        source = self.model.expression_source
        poses = source.track_pose[source.train_frames]
        nearest = median_pose(poses)
        height, width = (int(side) for side in self.description["image_size"])
        pose = poses[nearest].reshape(3, 4)
        intrinsics = self.description["intrinsics"]
        return Cameras(
            camera_to_worlds=pose[None].clone(),
            fx=intrinsics["fl_x"],
            fy=intrinsics["fl_y"],
            cx=intrinsics["cx"],
            cy=intrinsics["cy"],
            width=width,
            height=height,
            camera_type=CameraType.PERSPECTIVE,
        ).to(self.device)


def open_avatar(path: Union[str, Path], device: Union[None, str, torch.device] = None) -> Avatar:
    """Open a trained run or an exported avatar, without its dataset and without executing anything in it.

    Args:
        path: a run's directory, its ``config.yml``, a checkpoint (the newest of a run is taken) or an avatar file.
        device: where to compute; None takes the GPU where there is one.

    Raises:
        UserError: there is nothing to open, or it is foreign, damaged or of another version.
    """
    path = Path(path)
    if path.is_file() and path.suffix not in (".ckpt", ".yml", ".yaml"):
        avatar = _from_file(path)
    else:
        checkpoint = read_checkpoint(path)
        with whole_or_refused(checkpoint.path):
            model = build_model(checkpoint.state)
            source = model.expression_source
            train, count = source.train_frames.cpu().numpy(), len(source.track_times)
            test = run_test_frames(checkpoint.path, count, train)
            avatar = Avatar(model, checkpoint.description, checkpoint.path, checkpoint.step, test)
    return avatar.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _from_file(path: Path) -> Avatar:
    content = read_avatar_file(path)
    with whole_or_refused(path):
        return _of_content(content, path)


def _of_content(content: AvatarFile, path: Path) -> Avatar:
    description = dict(content.description)
    about = description.pop(ABOUT, {})
    state: Dict[str, Any] = dict(content.tensors)
    for prefix in ("", HEAD_PREFIX):
        if prefix + OCCUPANCY_CELLS in state:
            state.setdefault(prefix + OCCUPANCY_VALUES, state[prefix + OCCUPANCY_CELLS].flatten().float())
    if HEAD in description:
        state[HEAD_PREFIX + EXTRA_STATE] = description.pop(HEAD)
    state[EXTRA_STATE] = description
    step = about.get("step")
    if step is not None and not isinstance(step, int):
        raise UserError(f"its description says that it was trained {step!r} steps; export it again.")
    model = build_model(state)
    return Avatar(model, description, path, step, _test_frames(about, model), content.provenance)


def _test_frames(about: Dict[str, Any], model: AvatarModel) -> Optional[np.ndarray]:
    """Of a file: None without a track; all frames that did not train in files that do not tell."""
    if not about.get("has_track"):
        return None
    source = model.expression_source
    rest = np.setdiff1d(np.arange(len(source.track_times)), source.train_frames.cpu().numpy())
    test = np.unique(about.get("test_frames", rest))
    if not np.isin(test, rest).all():
        raise UserError("its description names test frames that it was trained on or does not have; export it again.")
    return test.astype(np.int64)
