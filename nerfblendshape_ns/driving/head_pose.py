"""Head-pose modes: the camera, and so the head pose, of each rendered frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Optional, Tuple

import numpy as np
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.driving.sequence import HeadMotion
from nerfblendshape_ns.expressions.head_turns import farthest, soften

HeadPoseMode = Literal["auto", "tracked", "rotations", "own", "fixed", "orbit", "yaw-sweep"]
"""See ``--head-pose``."""


@dataclass(frozen=True)
class PoseTrack:
    """Cameras of the frames to render, in the avatar's normalised space."""

    camera: np.ndarray
    """float64 ``[frames, 3, 4]`` camera-to-world matrices to render from."""
    captured: np.ndarray
    """float64 ``[frames, 3, 4]`` the camera that films the person; it moves with the head, not with an orbit. A torso
    follows it."""
    softened: float = 0.0
    """Degrees that the limit has taken off the driver's largest rotation."""


@dataclass(frozen=True)
class PoseSettings:
    """How head poses are made."""

    mode: HeadPoseMode = "auto"
    """Where poses come from."""
    limit: bool = True
    """Keep another driver's rotations within the range of this person's clip, and a little more."""
    smooth_window: int = 1
    """Frames over which poses are averaged."""
    degrees: float = 15.0
    """Amplitude of orbit and yaw sweep."""
    period: int = 100
    """Frames of one orbit, or of the yaw sweep from one side to the other."""


def make_poses(
    settings: PoseSettings,
    num_frames: int,
    own: HeadMotion,
    driver: Optional[HeadMotion],
    is_own_clip: bool,
    label: str = "the driver",
    own_pace: float = 1.0,
) -> PoseTrack:
    """The cameras of a drive.

    Args:
        settings: the mode and its numbers.
        num_frames: frames to render.
        own: this person's captured motion in the normalised space, at least one frame.
        driver: the driver's motion, one row per frame to render; None where it has none. Of another person it may be
            in other units and other head axes.
        is_own_clip: the driver is this person's own clip, in the normalised space.
        label: what drives, for messages.
        own_pace: frames of ``own`` that pass in one frame to render.

    Raises:
        UserError: the mode needs a motion and the driver has none, or a number is out of range.
    """
    _check(settings)
    mode = settings.mode
    if mode == "auto":
        mode = "fixed" if driver is None else "tracked" if is_own_clip else "rotations"
    if mode in ("tracked", "rotations") and driver is None:
        raise UserError(f"--head-pose {mode} needs head poses, but {label} has none; choose own, fixed or orbit.")
    neutral_rotation, neutral_translation = own.neutral_pose()
    if mode in ("fixed", "orbit", "yaw-sweep"):
        still = HeadMotion(
            np.repeat(neutral_rotation[None], num_frames, 0), np.repeat(neutral_translation[None], num_frames, 0)
        )
        captured = still.camera_poses()
        if mode == "fixed":
            return PoseTrack(captured, captured)
        turned = replace(still, rotation=still.rotation @ _turns(settings, mode, num_frames)).camera_poses()
        # An orbit moves only the camera; in a sweep the head turns, and a torso with it.
        return PoseTrack(turned, captured if mode == "orbit" else turned)
    softened = 0.0
    if mode == "own":
        place = _there_and_back(len(own.rotation), own_pace * np.arange(num_frames))
        motion = own.resampled(np.arange(len(own.rotation), dtype=np.float64), place)
    else:
        assert driver is not None
        motion = driver
        if not is_own_clip:
            rotation = _about(neutral_rotation, driver)
            if settings.limit:
                rotation, softened = limit_turns(rotation, own, typed=driver.neutral is not None)
            motion = HeadMotion(rotation, _shifted(neutral_translation, driver))
        if mode == "rotations":
            motion = replace(motion, translation=np.repeat(neutral_translation[None], num_frames, 0))
    poses = motion.smoothed(settings.smooth_window).camera_poses()
    return PoseTrack(poses, poses, softened)


def limit_turns(rotation: np.ndarray, own: HeadMotion, typed: bool = False) -> Tuple[np.ndarray, float]:
    """Soften rotations beyond the range of a person's clip (:func:`~nerfblendshape_ns.expressions.head_turns.soften`).

    Args:
        rotation: ``[frames, 3, 3]`` head-to-camera.
        own: the person's captured motion.
        typed: the angles are meant for this person, so they are exact as far as the limit.

    Returns:
        Rotations of the same shape, and the degrees taken off the largest rotation.
    """
    neutral, _ = own.neutral_pose()
    angles = _turns_from(neutral, rotation)
    turns = _turns_from(neutral, own.rotation) if own.turns is None else own.turns
    limited = soften(angles, turns)
    if typed:
        limited[:, :2] = np.clip(angles[:, :2], -farthest(turns), farthest(turns))
    taken = float(np.abs(angles - limited).max(initial=0.0))
    return Rotation.from_rotvec(limited, degrees=True).as_matrix() @ neutral, taken


def _turns_from(neutral: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Rotation vectors ``[frames, 3]`` in degrees, in the camera's axes."""
    return Rotation.from_matrix(rotation @ neutral.T).as_rotvec(degrees=True)


def _about(neutral_rotation: np.ndarray, driver: HeadMotion) -> np.ndarray:
    """The driver's rotations, measured from its neutral one in the camera's axes, applied to this person's.

    Camera axes are the same for everyone, head axes differ between tracking systems.
    """
    driver_neutral, _ = driver.neutral_pose()
    return driver.rotation @ driver_neutral.T @ neutral_rotation


def _shifted(neutral_translation: np.ndarray, driver: HeadMotion) -> np.ndarray:
    """The driver's translations about its median, scaled by the ratio of distances, about this person's median."""
    _, middle = driver.neutral_pose()
    scale = np.linalg.norm(neutral_translation) / max(float(np.linalg.norm(middle)), 1e-9)
    return neutral_translation + scale * (driver.translation - middle)


def _turns(settings: PoseSettings, mode: HeadPoseMode, num_frames: int) -> np.ndarray:
    """Rotations ``[frames, 3, 3]`` in the normalised space, where +z is the head's up and +x the image's right."""
    frame = np.arange(num_frames)
    if mode == "orbit":
        phase = 2.0 * np.pi * frame / settings.period
        angles = settings.degrees * np.stack([np.sin(phase), 0.5 * np.cos(phase)], axis=1)
    else:
        # From one end to the other, and back; both ends are reached exactly.
        ways = settings.period - 1
        fraction = 1.0 - np.abs(frame % (2 * ways) - ways) / ways
        angles = settings.degrees * np.stack([2.0 * fraction - 1.0, np.zeros(num_frames)], axis=1)
    return Rotation.from_euler("ZX", angles, degrees=True).as_matrix()


def _there_and_back(length: int, steps: np.ndarray) -> np.ndarray:
    """Where in a clip so many steps lead, 0, 1, …, length-1, length-2, …, 0, 1, …: it repeats without a jump."""
    cycle = max(2 * (length - 1), 1)
    return np.minimum(steps % cycle, cycle - steps % cycle)


def _check(settings: PoseSettings) -> None:
    if settings.smooth_window < 1 or settings.smooth_window % 2 == 0:
        raise UserError(f"--smooth-poses {settings.smooth_window} must be an odd number of frames; 1 is none, try 7.")
    if settings.period < 2:
        raise UserError(f"--pose-period {settings.period} must be at least 2 frames.")
    if not 0 <= settings.degrees <= 180:
        raise UserError(f"--pose-degrees {settings.degrees:g} must be between 0 and 180.")
