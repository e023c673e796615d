"""What drives an avatar, whatever it came from: coefficients and head motion in time, and resampling them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Optional, Tuple

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from nerfblendshape_ns.common.errors import UserError

MOST_FRAMES = 1_000_000
"""Of a drive: eleven hours at 25 a second."""

ReadImage = Callable[[int], np.ndarray]
"""Gives the uint8 RGB image ``[height, width, 3]`` of a frame of the driver."""


@dataclass(frozen=True)
class HeadMotion:
    """Where a head is in its camera's axes (OpenGL: x right, y up, the camera looks along -z), frame by frame."""

    rotation: np.ndarray
    """float64 ``[frames, 3, 3]`` head-to-camera rotations."""
    translation: np.ndarray
    """float64 ``[frames, 3]`` the head's origin in the camera's axes, in any unit of length."""
    neutral: Optional[np.ndarray] = None
    """``[3, 3]`` rotation of the neutral pose; None takes the mean of the frames."""
    turns: Optional[np.ndarray] = None
    """``[any, 3]`` rotation vectors in degrees from the neutral rotation that show how far the head turns; None takes
    those of the frames."""

    @staticmethod
    def from_camera_poses(poses: np.ndarray) -> "HeadMotion":
        """Invert camera-to-head matrices ``[frames, 3 or 4, 4]``."""
        rotation = np.swapaxes(poses[:, :3, :3], 1, 2).astype(np.float64)
        return HeadMotion(rotation, -np.einsum("fij,fj->fi", rotation, poses[:, :3, 3]))

    def camera_poses(self) -> np.ndarray:
        """Camera-to-head matrices, float64 ``[frames, 3, 4]``; the inverse of :meth:`from_camera_poses`."""
        rotation = np.swapaxes(self.rotation, 1, 2)
        position = -np.einsum("fij,fj->fi", rotation, self.translation)
        return np.concatenate([rotation, position[..., None]], axis=2)

    def neutral_pose(self) -> Tuple[np.ndarray, np.ndarray]:
        """The neutral rotation ``[3, 3]`` and the median translation ``[3]``."""
        rotation = self.neutral if self.neutral is not None else Rotation.from_matrix(self.rotation).mean().as_matrix()
        return rotation, np.median(self.translation, axis=0)

    def smoothed(self, window: int) -> "HeadMotion":
        """Average each frame with its neighbours within a centred window; nothing is delayed.

        At the ends the window shrinks evenly on both sides, so that a still start stays where it is.

        Args:
            window: frames, odd; 1 changes nothing. The unofficial repository smooths its camera path over 7.
        """
        count = len(self.rotation)
        rotation, translation = self.rotation.copy(), self.translation.copy()
        for frame in range(count):
            half = min(window // 2, frame, count - 1 - frame)
            if half:
                near = slice(frame - half, frame + half + 1)
                rotation[frame] = Rotation.from_matrix(self.rotation[near]).mean().as_matrix()
                translation[frame] = self.translation[near].mean(0)
        return replace(self, rotation=rotation, translation=translation)

    def resampled(self, times: np.ndarray, instants: np.ndarray) -> "HeadMotion":
        """The motion at other times: rotations on the shortest arc, translations linearly."""
        if len(times) == 1:
            index = np.zeros(len(instants), dtype=int)
            return replace(self, rotation=self.rotation[index], translation=self.translation[index])
        inside = np.clip(instants, times[0], times[-1])
        rotation = Slerp(times, Rotation.from_matrix(self.rotation))(inside).as_matrix()
        return replace(self, rotation=rotation, translation=_interpolate(self.translation, times, inside))


@dataclass(frozen=True)
class DriverSequence:
    """A driver's frames."""

    label: str
    """What drives, for messages."""
    names: Tuple[str, ...]
    """Name of each coefficient."""
    values: np.ndarray
    """float64 ``[frames, coefficients]``."""
    times: np.ndarray
    """float64 ``[frames]`` ascending seconds; 0 is the start of the sound."""
    basis_id: str = "custom"
    """Which basis the coefficients belong to."""
    motion: Optional[HeadMotion] = None
    """Head motion where the driver has one."""
    read_image: Optional[ReadImage] = None
    """Reads an image of the driver where it has images."""
    audio: Optional[Path] = None
    """File whose sound belongs to the frames."""
    source_index: Optional[np.ndarray] = None
    """int64 ``[frames]`` the original frame of each frame, for ``read_image``; None where they are the same."""

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.times), len(self.names)) or not len(self.times):
            raise UserError(
                f"{self.label} has values of shape {self.values.shape} for {len(self.times)} times and "
                f"{len(self.names)} names; give one row per frame and one column per coefficient."
            )

    @property
    def interval(self) -> float:
        """Typical seconds between two frames; 1/25 where there is only one."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.04

    @property
    def duration(self) -> float:
        """Seconds, the last frame's own included."""
        return float(self.times[-1] - self.times[0]) + self.interval

    def image_of(self, frame: int) -> np.ndarray:
        """The driver's image at a frame of the sequence.

        Raises:
            UserError: the driver has no images.
        """
        if self.read_image is None:
            raise UserError(f"{self.label} has no images to show beside the render; leave --side-by-side out.")
        return self.read_image(int(frame if self.source_index is None else self.source_index[frame]))

    def resampled(self, fps: float, start: float = 0.0, end: Optional[float] = None) -> "DriverSequence":
        """Evenly spaced frames: coefficients interpolated linearly, each with the nearest frame's image.

        Args:
            fps: frames per second.
            start: seconds after the first frame to begin with.
            end: seconds after the first frame to stop before; None goes to the last frame.

        Raises:
            UserError: no time is left, or so much that its frames would fill the memory.
        """
        stop = self.duration if end is None else min(end, self.duration)
        if not 0 <= start < stop:
            raise UserError(
                f"--start {start:g} to --end {stop:g} leaves no frame of {self.label}, which lasts "
                f"{self.duration:.2f} seconds; give 0 <= start < end inside it."
            )
        if (stop - start) * fps > MOST_FRAMES:
            raise UserError(
                f"{self.label} lasts {self.duration:.0f} seconds, which at {fps:g} per second are more than "
                f"{MOST_FRAMES} frames; correct its times, or give --end."
            )
        count = max(1, int(round((stop - start) * fps)))
        instants = self.times[0] + start + np.arange(count) / fps
        after = np.clip(np.searchsorted(self.times, instants), 1, max(1, len(self.times) - 1))
        nearest = np.zeros(count, dtype=np.int64)
        if len(self.times) > 1:
            nearer = instants - self.times[after - 1] <= self.times[after] - instants
            nearest = np.where(nearer, after - 1, after).astype(np.int64)
        return replace(
            self,
            values=_interpolate(self.values, self.times, instants),
            times=instants,
            motion=None if self.motion is None else self.motion.resampled(self.times, instants),
            source_index=nearest if self.source_index is None else self.source_index[nearest],
        )


def _interpolate(values: np.ndarray, times: np.ndarray, instants: np.ndarray) -> np.ndarray:
    """Columns of ``values`` at other times; the first and last row are held beyond the ends."""
    return np.stack([np.interp(instants, times, column) for column in values.T], axis=1).reshape(len(instants), -1)
