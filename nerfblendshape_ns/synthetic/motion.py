"""Smooth random talking motion, and poses and expressions that a clip does not contain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional, Tuple

import numpy as np
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.synthetic.expressions import EXPRESSION_NAMES

MAX_YAW, MAX_PITCH, MAX_ROLL = 25.0, 15.0, 10.0
NECK_PIVOT = np.array([0.0, -7.0, -2.0])


@dataclass
class Motion:
    """What a clip's head does."""

    expressions: np.ndarray
    """``[num_frames, basis]`` float32 in the order of ``EXPRESSION_NAMES``, each 0..1."""
    head_to_world: np.ndarray
    """``[num_frames, 4, 4]`` float64; identity is the neutral pose, facing the camera."""


def head_pose(yaw: float, pitch: float, roll: float, translation: Optional[np.ndarray] = None) -> np.ndarray:
    """Head-to-world matrix from angles in degrees about the base of the skull and a shift in centimetres.

    Positive yaw turns the face to the image's right, positive pitch looks down, positive roll tilts it to the image's
    left (counter-clockwise).
    """
    rotation = Rotation.from_euler("YXZ", [yaw, pitch, roll], degrees=True).as_matrix()
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = NECK_PIVOT - rotation @ NECK_PIVOT + (0.0 if translation is None else translation)
    return pose


def pose_angles(head_to_world: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll in degrees of poses ``[..., 4, 4]``, the inverse of :func:`head_pose`."""
    flat = np.asarray(head_to_world).reshape(-1, 4, 4)[:, :3, :3]
    return Rotation.from_matrix(flat).as_euler("YXZ", degrees=True).reshape(*np.shape(head_to_world)[:-2], 3)


def _wander(generator: np.random.Generator, times: np.ndarray, rates: Tuple[float, float]) -> np.ndarray:
    """A smooth random signal within -1..1: a few sines with frequencies in ``rates`` (hertz), squashed by a tanh."""
    count = 5
    frequency = np.exp(generator.uniform(np.log(rates[0]), np.log(rates[1]), count))
    phase = generator.uniform(0.0, 2.0 * np.pi, count)
    strength = generator.uniform(0.5, 1.0, count) / np.sqrt(frequency / rates[0])
    signal = (strength[:, None] * np.sin(2.0 * np.pi * frequency[:, None] * times + phase[:, None])).sum(0)
    return np.tanh(1.4 * signal / np.sqrt((strength**2).sum() * 0.5) / 1.4)


def _events(
    generator: np.random.Generator,
    times: np.ndarray,
    interval: float,
    rise: float,
    hold: Tuple[float, float],
    peak: Tuple[float, float],
) -> np.ndarray:
    """Bumps of height ``peak``, one in every ``interval`` seconds at a random moment of it, so that none is left out.

    A bump rises with a raised cosine over ``rise`` seconds, stays for ``hold`` seconds and falls as it rose. The
    interval shrinks in short clips so that the first 80 % of any clip holds an event.
    """
    duration = max(float(times[-1]), 1e-6)
    interval = min(interval, 0.4 * duration)
    signal = np.zeros_like(times)
    for index in range(int(np.ceil(duration / interval)) + 1):
        start = (index + generator.uniform(0.0, 0.5)) * interval
        stay = min(float(generator.uniform(*hold)), 0.4 * interval)
        ramp = min(rise, 0.3 * interval)
        height = float(generator.uniform(*peak))
        inside = np.clip(np.minimum(times - start, start + 2.0 * ramp + stay - times) / ramp, 0.0, 1.0)
        signal = np.maximum(signal, height * (0.5 - 0.5 * np.cos(np.pi * inside)))
    return signal


def talking_motion(num_frames: int, fps: float, seed: int) -> Motion:
    """A clip of speech, blinks, glances, brow play, smiles and head motion.

    Args:
        num_frames: at least 2.
        fps: frames per second, above 0; the motion is a function of time, so that fps only samples it.
        seed: the same seed gives the same motion, bit for bit.
    """
    generator = np.random.default_rng([seed, 1])
    times = np.arange(num_frames) / fps
    tracks: Dict[str, np.ndarray] = {}

    syllables = 0.5 + 0.5 * _wander(generator, times, (1.8, 4.0))
    phrase = np.clip(0.65 + 0.9 * _wander(generator, times, (0.15, 0.45)), 0.0, 1.0)
    yawn = _events(generator, times, 4.0, 0.25, (0.1, 0.3), (0.8, 1.0))
    jaw = np.maximum(0.55 * phrase * syllables**1.5, yawn)
    puff = _events(generator, times, 4.5, 0.25, (0.2, 0.5), (0.7, 1.0))
    pucker = np.maximum(
        _events(generator, times, 3.0, 0.18, (0.1, 0.4), (0.6, 1.0)),
        0.3 * np.clip(_wander(generator, times, (1, 3)), 0, 1),
    )
    funnel = _events(generator, times, 2.7, 0.18, (0.1, 0.3), (0.5, 1.0))
    smile = _events(generator, times, 3.6, 0.3, (0.4, 1.2), (0.6, 1.0))
    lopsided = 0.35 * _wander(generator, times, (0.2, 0.6))
    frown = _events(generator, times, 4.2, 0.3, (0.3, 0.8), (0.5, 1.0))
    frown_side = 0.4 * _wander(generator, times, (0.2, 0.6))
    # A face cannot do everything at once: the earlier of these win over the later.
    free = 1.0 - puff
    tracks["cheekPuff"] = puff
    tracks["jawOpen"] = jaw * free
    tracks["mouthPucker"] = pucker * free * (1.0 - 0.6 * yawn)
    tracks["mouthFunnel"] = funnel * free * (1.0 - 0.6 * pucker)
    round_lips = np.clip(tracks["mouthPucker"] + tracks["mouthFunnel"], 0.0, 1.0)
    tracks["mouthSmileLeft"] = np.clip(smile * (1.0 - lopsided), 0.0, 1.0) * free * (1.0 - 0.6 * round_lips)
    tracks["mouthSmileRight"] = np.clip(smile * (1.0 + lopsided), 0.0, 1.0) * free * (1.0 - 0.6 * round_lips)
    tracks["mouthFrownLeft"] = np.clip(frown * (1.0 - frown_side), 0.0, 1.0) * (1.0 - 0.8 * smile) * free
    tracks["mouthFrownRight"] = np.clip(frown * (1.0 + frown_side), 0.0, 1.0) * (1.0 - 0.8 * smile) * free

    blink = _events(generator, times, 2.6, 0.09, (0.03, 0.10), (0.95, 1.0))
    wink_left = _events(generator, times, 5.5, 0.14, (0.1, 0.3), (0.7, 1.0))
    wink_right = _events(generator, times, 6.0, 0.14, (0.1, 0.3), (0.7, 1.0))
    tracks["eyeBlinkLeft"] = np.maximum(blink, wink_left * (1.0 - wink_right))
    tracks["eyeBlinkRight"] = np.maximum(blink, wink_right * (1.0 - wink_left))
    sideways = _wander(generator, times, (0.25, 0.9))
    upward = _wander(generator, times, (0.2, 0.8))
    tracks["eyeLookOutLeft"] = tracks["eyeLookInRight"] = np.clip(sideways, 0.0, 1.0)
    tracks["eyeLookInLeft"] = tracks["eyeLookOutRight"] = np.clip(-sideways, 0.0, 1.0)
    tracks["eyeLookUpLeft"] = tracks["eyeLookUpRight"] = np.clip(upward, 0.0, 1.0)
    tracks["eyeLookDownLeft"] = tracks["eyeLookDownRight"] = np.clip(-upward, 0.0, 1.0)
    brow_up = _events(generator, times, 3.2, 0.2, (0.2, 0.7), (0.6, 1.0))
    brow_down = _events(generator, times, 3.9, 0.22, (0.3, 0.8), (0.6, 1.0)) * (1.0 - brow_up)
    brow_side = 0.3 * _wander(generator, times, (0.2, 0.6))
    tracks["browInnerUp"] = brow_up
    tracks["browDownLeft"] = np.clip(brow_down * (1.0 - brow_side), 0.0, 1.0)
    tracks["browDownRight"] = np.clip(brow_down * (1.0 + brow_side), 0.0, 1.0)
    expressions = np.stack([tracks[name] for name in EXPRESSION_NAMES], -1).astype(np.float32)

    yaw = MAX_YAW * _wander(generator, times, (0.20, 0.40))
    pitch = MAX_PITCH * _wander(generator, times, (0.22, 0.50))
    roll = MAX_ROLL * _wander(generator, times, (0.20, 0.45))
    shift = np.stack([size * _wander(generator, times, (0.16, 0.40)) for size in (1.2, 0.7, 1.2)], -1)
    poses = np.stack([head_pose(*row) for row in zip(yaw, pitch, roll, shift)])
    return Motion(expressions=expressions, head_to_world=poses)


def unseen_expressions(expressions: np.ndarray, count: int, seed: int = 0, minimum_distance: float = 0.5) -> np.ndarray:
    """Combinations of coefficients that no frame of a clip shows, each within the clip's range of every coefficient.

    Two to four coefficients from different parts of the face go to 60-100 % of their largest value, the others keep
    their smallest. A candidate counts when its distance to every frame is at least ``minimum_distance``.

    Args:
        expressions: ``[num_frames, basis]`` of the training frames, in the order of ``EXPRESSION_NAMES``.
        count: how many to make.
        seed: for repeatable choices.
        minimum_distance: Euclidean, in units of the coefficients' ranges.

    Returns:
        ``[count, basis]`` float32.

    Raises:
        UserError: the clip leaves too few combinations free.
    """
    generator = np.random.default_rng([seed, 2])
    low, high = expressions.min(0), expressions.max(0)
    span = np.maximum(high - low, 1e-3)
    groups = _expression_groups()
    found: list = []
    for _ in range(200 * count):
        if len(found) == count:
            break
        candidate = low.copy()
        chosen = generator.permutation(len(groups))[: int(generator.integers(2, 5))]
        for group in chosen:
            for column in groups[group][int(generator.integers(len(groups[group])))]:
                candidate[column] = low[column] + generator.uniform(0.6, 1.0) * (high[column] - low[column])
        others = np.concatenate([expressions, np.stack(found)]) if found else expressions
        if np.linalg.norm((others - candidate) / span, axis=1).min() >= minimum_distance:
            found.append(candidate)
    if len(found) < count:
        raise UserError(
            f"only {len(found)} of {count} unseen expressions lie {minimum_distance} away from every frame; "
            "ask for fewer or take a longer clip."
        )
    return np.stack(found).astype(np.float32)


def _expression_groups() -> list:
    """Alternatives in each part of the face: a list of parts, each a list of sets of columns moved together."""
    parts = (
        (("jawOpen",), ("jawOpen", "mouthFunnel"), ("jawOpen", "mouthPucker"), ("mouthPucker",), ("cheekPuff",)),
        (("mouthSmileLeft", "mouthSmileRight"), ("mouthSmileLeft",), ("mouthFrownRight",), ("mouthFrownLeft",)),
        (("eyeBlinkLeft",), ("eyeBlinkRight",), ("eyeBlinkLeft", "eyeBlinkRight")),
        (
            ("eyeLookOutLeft", "eyeLookInRight"),
            ("eyeLookInLeft", "eyeLookOutRight"),
            ("eyeLookUpLeft", "eyeLookUpRight"),
        ),
        (("browInnerUp",), ("browDownLeft", "browDownRight"), ("browDownRight",)),
    )
    return [[[EXPRESSION_NAMES.index(name) for name in option] for option in part] for part in parts]


def unseen_views(head_to_world: np.ndarray, count: int, seed: int = 0, minimum_degrees: float = 2.5) -> np.ndarray:
    """Head poses between those of a clip: inside 95 % of the range of yaw, pitch and roll, but no frame is near.

    Each lies within 9 degrees of some frame, so that they interpolate and do not extrapolate.

    Args:
        head_to_world: ``[num_frames, 4, 4]`` of the training frames.
        count: how many to make.
        seed: for repeatable choices.
        minimum_degrees: least rotation from every frame.

    Returns:
        ``[count, 4, 4]`` float64 head-to-world matrices.

    Raises:
        UserError: the clip leaves too few poses free.
    """
    generator = np.random.default_rng([seed, 3])
    angles = pose_angles(head_to_world)
    low, high = angles.min(0), angles.max(0)
    middle, half = 0.5 * (low + high), 0.5 * 0.95 * (high - low)
    seen = Rotation.from_matrix(head_to_world[:, :3, :3])
    shift = np.stack([pose[:3, 3] - head_pose(*angle)[:3, 3] for pose, angle in zip(head_to_world, angles)])
    found: list = []
    for _ in range(400 * count):
        if len(found) == count:
            break
        candidate = head_pose(*(middle + half * generator.uniform(-1.0, 1.0, 3)), translation=np.median(shift, axis=0))
        apart = np.degrees((seen.inv() * Rotation.from_matrix(candidate[:3, :3])).magnitude()).min()
        if minimum_degrees <= apart <= 9.0:
            found.append(candidate)
    if len(found) < count:
        raise UserError(
            f"only {len(found)} of {count} unseen views lie {minimum_degrees} degrees from every frame and inside the "
            "clip's range; ask for fewer or take a longer clip."
        )
    return np.stack(found)
