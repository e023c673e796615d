"""Head-pose modes: from which side and in which attitude the avatar is seen in each frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Optional, Tuple

import numpy as np
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.driving.sequence import HeadMotion

HeadPoseMode = Literal["auto", "tracked", "rotations", "own", "fixed", "orbit", "yaw-sweep"]
"""See ``--head-pose``."""

REACH_PERCENTILE = 98.0
"""How far a person turns is this percentile of their frames' angles."""
REACH_MARGIN = 3.0
"""Degrees beyond a person's own reach to which another driver may turn them."""


@dataclass(frozen=True)
class PoseTrack:
    """Cameras of the frames to render, in the avatar's normalised space."""

    camera: np.ndarray
    """float64 ``[frames, 3, 4]`` camera-to-world matrices to render from."""
    captured: np.ndarray
    """float64 ``[frames, 3, 4]`` the camera that films the person: what moves with the head and not with an orbit.
    A torso follows it."""
    softened: float = 0.0
    """Degrees that the limit has taken off the driver's largest turn."""


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
    """Frames of one orbit, or of one way of the yaw sweep."""


def make_poses(
    settings: PoseSettings,
    num_frames: int,
    own: HeadMotion,
    driver: Optional[HeadMotion],
    is_own_clip: bool,
    label: str = "the driver",
) -> PoseTrack:
    """The cameras of a drive.

    Args:
        settings: the mode and its numbers.
        num_frames: frames to render.
        own: this person's captured motion in the normalised space, at least one frame.
        driver: the driver's motion, one row a frame to render; None where it has none. Of another person it may be
            in other units and other head axes.
        is_own_clip: the driver is this person's own clip, in the normalised space.
        label: what drives, for messages.

    Raises:
        UserError: the mode needs a motion that the driver has not, or a number is out of range.
    """
    _check(settings)
    mode = settings.mode
    if mode == "auto":
        mode = "fixed" if driver is None else "tracked" if is_own_clip else "rotations"
    if mode in ("tracked", "rotations") and driver is None:
        raise UserError(f"--head-pose {mode} needs head poses, which {label} has not; choose own, fixed or orbit.")
    rest_rotation, rest_translation = own.at_rest()
    if mode in ("fixed", "orbit", "yaw-sweep"):
        still = HeadMotion(
            np.repeat(rest_rotation[None], num_frames, 0), np.repeat(rest_translation[None], num_frames, 0)
        )
        captured = still.camera_poses()
        if mode == "fixed":
            return PoseTrack(captured, captured)
        turned = replace(still, rotation=still.rotation @ _turns(settings, mode, num_frames)).camera_poses()
        # An orbit moves only the camera; in a sweep the head turns, and a torso with it.
        return PoseTrack(turned, captured if mode == "orbit" else turned)
    softened = 0.0
    if mode == "own":
        index = _there_and_back(len(own.rotation), num_frames)
        motion = replace(own, rotation=own.rotation[index], translation=own.translation[index])
    else:
        assert driver is not None
        motion = driver
        if not is_own_clip:
            rotation = _about(rest_rotation, driver)
            if settings.limit:
                rotation, softened = limit_turns(rotation, own)
            motion = HeadMotion(rotation, _shifted(rest_translation, driver))
        if mode == "rotations":
            motion = replace(motion, translation=np.repeat(rest_translation[None], num_frames, 0))
    poses = motion.smoothed(settings.smooth_window).camera_poses()
    return PoseTrack(poses, poses, softened)


def limit_turns(rotation: np.ndarray, own: HeadMotion) -> Tuple[np.ndarray, float]:
    """Soften turns that go beyond what a person's clip shows, where an avatar has never been seen.

    Turns about the camera's own axis only roll the picture and stay. Yaw and pitch, as rotation vectors about the
    person's mean attitude, go through ``limit · tanh(angle / limit)``: small ones pass, large ones come near the limit.

    Args:
        rotation: ``[frames, 3, 3]`` head-to-camera.
        own: the person's captured motion.

    Returns:
        Rotations of the same shape, and the degrees taken off the largest turn.
    """
    rest, _ = own.at_rest()
    angles = Rotation.from_matrix(rotation @ rest.T).as_rotvec(degrees=True)
    reach = np.percentile(
        np.abs(Rotation.from_matrix(own.rotation @ rest.T).as_rotvec(degrees=True)), REACH_PERCENTILE, 0
    )
    limit = reach[:2] + REACH_MARGIN
    limited = angles.copy()
    limited[:, :2] = limit * np.tanh(angles[:, :2] / limit)
    taken = float(np.abs(angles - limited).max(initial=0.0))
    return Rotation.from_rotvec(limited, degrees=True).as_matrix() @ rest, taken


def _about(rest_rotation: np.ndarray, driver: HeadMotion) -> np.ndarray:
    """The driver's rotations, measured from its rest in the camera's axes, applied to this person's rest.

    Camera axes are the same for everyone, head axes differ between tracking systems.
    """
    driver_rest, _ = driver.at_rest()
    return driver.rotation @ driver_rest.T @ rest_rotation


def _shifted(rest_translation: np.ndarray, driver: HeadMotion) -> np.ndarray:
    """The driver's shifts about its median place, as shares of its distance, at this person's place and distance."""
    _, middle = driver.at_rest()
    scale = np.linalg.norm(rest_translation) / max(float(np.linalg.norm(middle)), 1e-9)
    return rest_translation + scale * (driver.translation - middle)


def _turns(settings: PoseSettings, mode: HeadPoseMode, num_frames: int) -> np.ndarray:
    """Rotations ``[frames, 3, 3]`` in the normalised space, where +z is the head's up and +x the image's right."""
    frame = np.arange(num_frames)
    if mode == "orbit":
        phase = 2.0 * np.pi * frame / settings.period
        angles = settings.degrees * np.stack([np.sin(phase), 0.5 * np.cos(phase)], axis=1)
    else:
        # From one end to the other, and back; both ends are reached exactly.
        ways = settings.period - 1
        place = 1.0 - np.abs(frame % (2 * ways) - ways) / ways
        angles = settings.degrees * np.stack([2.0 * place - 1.0, np.zeros(num_frames)], axis=1)
    return Rotation.from_euler("ZX", angles, degrees=True).as_matrix()


def _there_and_back(length: int, count: int) -> np.ndarray:
    """Indices 0, 1, …, length-1, length-2, …, 0, 1, …: a clip repeated without a jump."""
    cycle = max(2 * (length - 1), 1)
    place = np.arange(count) % cycle
    return np.minimum(place, cycle - place) if length > 1 else np.zeros(count, dtype=int)


def _check(settings: PoseSettings) -> None:
    if settings.smooth_window < 1 or settings.smooth_window % 2 == 0:
        raise UserError(f"--smooth-poses {settings.smooth_window} must be an odd number of frames; 1 is none, try 7.")
    if settings.period < 2:
        raise UserError(f"--pose-period {settings.period} must be at least 2 frames.")
    if not 0 <= settings.degrees <= 180:
        raise UserError(f"--pose-degrees {settings.degrees:g} must be between 0 and 180.")
