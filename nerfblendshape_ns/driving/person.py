"""The person that an avatar shows: coefficients, ranges and head poses, and the own clip where it is available."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

import numpy as np
import torch

from nerfblendshape_ns.avatar.avatar import Avatar
from nerfblendshape_ns.avatar.run_config import run_settings
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import load_image
from nerfblendshape_ns.data.frame_images import load_frame
from nerfblendshape_ns.data.frame_times import frame_times
from nerfblendshape_ns.data.layouts import Clip
from nerfblendshape_ns.driving.head_pose import PoseTrack
from nerfblendshape_ns.driving.own_dataset import own_clip, source_video
from nerfblendshape_ns.driving.sequence import DriverSequence, HeadMotion
from nerfblendshape_ns.expressions.retarget import CoefficientSpace


@dataclass(frozen=True)
class AvatarPerson:
    """The person that an avatar shows."""

    avatar: Avatar
    """The model."""
    clip: Optional[Clip]
    """The dataset that it was trained on, where it is available."""
    space: CoefficientSpace
    """The coefficients and their values in training."""
    motion: HeadMotion
    """Head motion of the training frames in the normalised space; of the median camera where the track is left out."""
    size: tuple[int, int]
    """Height and width of a render."""

    def own_frames(self, split: str, background: Optional[np.ndarray]) -> DriverSequence:
        """The avatar's own clip as a driver.

        Args:
            split: ``test``, ``val``, ``train`` or ``all``.
            background: image ``[height, width, 3]`` or colour ``[3]`` in [0, 1] behind the head; None is white.

        Raises:
            UserError: the avatar's track was left out of its file, or the split is empty.
        """
        track, clip = self.avatar.track, self.clip
        if track is None:
            raise UserError(
                f"{self.avatar.path} was exported without its clip's track, so --by {split} has nothing to play; "
                "drive it by a dataset, a video, a file or keyframes."
            )
        every, train, test = np.arange(len(track.seconds)), track.train_frames, track.test_frames
        val = np.setdiff1d(every, np.concatenate([train, test]))
        index = {"train": train, "val": val, "test": test, "all": every}[split]
        times = track.seconds if clip is None else frame_times(clip)  # The sound counts from the video's start.
        if not len(index):
            raise UserError(
                f"the avatar's clip has no {split} frames that can be distinguished; give --by test or all."
            )
        return DriverSequence(
            label=f"the {split} frames of the avatar's clip" if split != "all" else "the avatar's clip",
            names=tuple(self.avatar.names),
            values=track.expression.cpu().double().numpy()[index],
            times=times[index],
            basis_id=self.avatar.basis_id,
            motion=HeadMotion.from_camera_poses(_poses(track.head_pose)[index]),
            read_image=None if clip is None else lambda frame: self._truth(clip, int(frame), background),
            audio=None if clip is None else source_video(clip.root),
            source_index=index,
        )

    def poses_of(self, frames: np.ndarray) -> PoseTrack:
        """The captured head poses of frames of the clip; the avatar must have its track."""
        track = self.avatar.track
        assert track is not None, "the caller has seen to it"
        poses = _poses(track.head_pose)[frames]
        return PoseTrack(poses, poses)

    def _truth(self, clip: Clip, frame: int, background: Optional[np.ndarray]) -> np.ndarray:
        """What the model was trained to show: the head over a background, or the frame."""
        target = "head" if self.avatar.kind == "head" else "frame"
        arrays = load_frame(clip.frames[frame].files, (clip.height, clip.width), self.size, target)
        if target == "frame":
            return arrays.image
        alpha, behind = arrays.alpha[..., None] / 255.0, 1.0 if background is None else background
        return (arrays.image * alpha + 255.0 * behind * (1.0 - alpha) + 0.5).astype(np.uint8)

    def plate(self) -> np.ndarray:
        """The clip's clean plate, uint8 RGB.

        Raises:
            UserError: the dataset is not available or has none.
        """
        if self.clip is None or self.clip.background is None:
            raise UserError(
                "--background plate needs the avatar's own dataset with its background.png; give --data, or a colour."
            )
        return load_image(self.clip.background)


def open_person(avatar: Avatar, data: Optional[Path] = None, size: Optional[int] = None) -> AvatarPerson:
    """Collect what driving needs to know.

    Args:
        avatar: opened.
        data: the avatar's own dataset; None looks where the run's config says.
        size: longer side of the renders; None takes the training size.

    Raises:
        UserError: ``data`` is not the avatar's dataset.
    """
    track = avatar.track
    clip = own_clip(run_settings(avatar.path), data, None if track is None else len(track.expression))
    if data is None and clip is not None and not _shows(clip, avatar):
        clip = None  # The file lies in another run's folder, or the dataset was made anew.
    minimum, maximum = avatar.minimum.cpu().double().numpy(), avatar.maximum.cpu().double().numpy()
    if track is None:
        # Without the track only the neutral face, the median pose and their ranges are known.
        frames = np.stack([np.clip(np.zeros_like(minimum), minimum, maximum), minimum, maximum])
        turns = avatar.model.turn_ends().cpu().double().numpy()
        motion = replace(HeadMotion.from_camera_poses(_poses(avatar.camera.camera_to_worlds)), turns=turns)
    else:
        train = track.train_frames
        frames = track.expression.cpu().double().numpy()[train]
        motion = HeadMotion.from_camera_poses(_poses(track.head_pose)[train])
    space = CoefficientSpace(tuple(avatar.names), avatar.basis_id, frames, minimum, maximum)
    camera = avatar.camera_of(avatar.camera.camera_to_worlds[0], size)
    return AvatarPerson(
        avatar=avatar,
        clip=clip,
        space=space,
        motion=motion,
        size=(int(camera.height[0]), int(camera.width[0])),
    )


def _shows(clip: Clip, avatar: Avatar) -> bool:
    """Whether a dataset has the avatar's own coefficients, as far as its file holds them."""
    if avatar.track is None:
        return True
    columns = {name: column for column, name in enumerate(clip.expression_names)}
    if not set(avatar.names) <= set(columns):
        return False
    values = clip.expressions[:, [columns[name] for name in avatar.names]]
    return np.allclose(values, avatar.track.expression.cpu().numpy(), rtol=1e-4, atol=1e-6)


def _poses(flat: torch.Tensor) -> np.ndarray:
    return flat.cpu().double().numpy().reshape(-1, 3, 4)
