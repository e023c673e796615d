"""An expression sequence typed by hand: a YAML file of times, named coefficients and easing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple, Union

import numpy as np
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import load_yaml
from nerfblendshape_ns.driving.sequence import DriverSequence, HeadMotion
from nerfblendshape_ns.expressions.retarget import CoefficientSpace, plain_name

EASINGS = {
    "linear": lambda fraction: fraction,
    "smooth": lambda fraction: fraction * fraction * (3.0 - 2.0 * fraction),
    "ease-in": lambda fraction: fraction * fraction,
    "ease-out": lambda fraction: fraction * (2.0 - fraction),
    "hold": lambda fraction: np.where(fraction < 1.0, 0.0, 1.0),
}
"""How a keyframe is reached from the one before, as a function of the fraction of the time between them in [0, 1]."""
HEAD_ANGLES = ("yaw", "pitch", "roll")
LONGEST_SECONDS = 3600.0
"""Longest sequence, whose samples are all in memory."""

Value = Union[float, str]
"""A raw coefficient, or ``60%`` of the way from neutral to this person's maximum."""


@dataclass(frozen=True)
class Keyframe:
    """One line of the sequence."""

    time: float
    """Seconds."""
    expression: Dict[str, Value]
    """Coefficients by name; those not named are neutral."""
    easing: str = "smooth"
    """How it is reached from the keyframe before."""
    head: Dict[str, float] = field(default_factory=dict)
    """``yaw``, ``pitch``, ``roll`` in degrees from this person's neutral pose: positive yaw turns the face to the
    image's right, positive pitch looks down, positive roll tilts it to the image's left."""


def read_keyframes(path: Path) -> List[Keyframe]:
    """Read a keyframe file::

        easing: smooth            # for keyframes that give none; linear, smooth, ease-in, ease-out, hold
        keyframes:
          - {time: 0, expression: {}}
          - {time: 0.5, expression: {jawOpen: 0.6, mouthSmile: 80%}, head: {yaw: 10}}
          - {time: 1.2, expression: {}, easing: ease-out}

    Raises:
        UserError: the file is missing or one of its entries is wrong.
    """
    try:
        document = load_yaml(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give a YAML file of keyframes.") from None
    if not isinstance(document, dict) or not isinstance(document.get("keyframes"), list) or not document["keyframes"]:
        raise UserError(f"{path} has no list 'keyframes'; write one entry with time and expression for each.")
    _refuse_unknown(document, ("keyframes", "easing"), str(path))
    default = _easing(document.get("easing", "smooth"), str(path))
    frames = [
        _keyframe(entry, f"{path}: keyframe {number}", default) for number, entry in enumerate(document["keyframes"])
    ]
    for number, (before, after) in enumerate(zip(frames, frames[1:]), start=1):
        if after.time <= before.time:
            raise UserError(
                f"{path}: keyframe {number} at {after.time:g} s does not come after {before.time:g} s; sort them."
            )
    if frames[-1].time - frames[0].time > LONGEST_SECONDS:
        raise UserError(f"{path} lasts more than {LONGEST_SECONDS:g} seconds; divide it into several files.")
    return frames


def keyframe_sequence(
    keyframes: Sequence[Keyframe], space: CoefficientSpace, label: str, fps: float = 100.0
) -> DriverSequence:
    """Turn keyframes into a driver for a person with the given coefficients.

    Args:
        keyframes: at least one, ascending.
        space: the person's coefficients, whose range is -100 % to 100 %. A name without ``Left`` and ``Right`` means
            both; neutral is 0 or the nearest value in the range.
        label: what the sequence is, for messages.
        fps: samples per second.

    Raises:
        UserError: a coefficient is unknown.
    """
    states = np.stack([_state(frame, space, label) for frame in keyframes])
    angles = np.array([[frame.head.get(name, 0.0) for name in HEAD_ANGLES] for frame in keyframes])
    keys = np.array([frame.time for frame in keyframes])
    # The last keyframe is shown too: a file that ends at 2 s lasts 2 s and one sample.
    count = int(np.floor((keys[-1] - keys[0]) * fps + 1e-6)) + 1
    times = keys[0] + np.arange(count) / fps
    after = np.clip(np.searchsorted(keys, times, side="left"), 1, max(1, len(keys) - 1))
    if len(keys) == 1:
        values, turned = np.repeat(states, count, 0), np.repeat(angles, count, 0)
    else:
        fraction = np.clip((times - keys[after - 1]) / (keys[after] - keys[after - 1]), 0.0, 1.0)
        # Rounding must not leave the end of a hold an instant early.
        fraction = np.where(fraction > 1.0 - 1e-9, 1.0, fraction)
        eased = np.array([float(EASINGS[keyframes[index].easing](value)) for index, value in zip(after, fraction)])
        values = states[after - 1] + eased[:, None] * (states[after] - states[after - 1])
        turned = angles[after - 1] + eased[:, None] * (angles[after] - angles[after - 1])
    motion = None
    if any(frame.head for frame in keyframes):
        motion = HeadMotion(
            Rotation.from_euler("YXZ", turned, degrees=True).as_matrix(), np.zeros((count, 3)), neutral=np.eye(3)
        )
    return DriverSequence(label, space.names, values, times, space.basis_id, motion)


def _state(frame: Keyframe, space: CoefficientSpace, label: str) -> np.ndarray:
    neutral = np.clip(np.zeros(len(space.names)), space.low, space.high)
    state = neutral.copy()
    for name, value in frame.expression.items():
        for column in _columns(name, space.names, label, frame.time):
            if isinstance(value, str):
                fraction = float(value[:-1]) / 100.0
                end = space.high[column] if fraction >= 0 else space.low[column]
                state[column] = neutral[column] + abs(fraction) * (end - neutral[column])
            else:
                state[column] = value
    return state


def _columns(name: str, names: Sequence[str], label: str, time: float) -> List[int]:
    wanted = plain_name(name)
    for candidates in ((wanted,), (f"{wanted}left", f"{wanted}right")):
        found = [index for index, known in enumerate(names) if plain_name(known) in candidates]
        if found:
            return found
    import difflib

    near = difflib.get_close_matches(name, names, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(names[:6])}, …"
    raise UserError(f"{label}: the avatar has no coefficient {name!r}, named at {time:g} s; {hint}")


def _keyframe(entry: Any, where: str, easing: str) -> Keyframe:
    if not isinstance(entry, dict) or "time" not in entry:
        raise UserError(f"{where} is not an entry with a time; write {{time: 0.5, expression: {{jawOpen: 0.6}}}}.")
    _refuse_unknown(entry, ("time", "expression", "easing", "head"), where)
    expression = entry.get("expression") or {}
    head = entry.get("head") or {}
    for key, value in (("expression", expression), ("head", head)):
        if not isinstance(value, dict):
            raise UserError(f"{where}: {key!r} must be names with values; write {{jawOpen: 0.6}}.")
    for name in head:
        if name not in HEAD_ANGLES:
            raise UserError(f"{where}: 'head' has {name!r}; it takes yaw, pitch and roll in degrees.")
    return Keyframe(
        time=_number(entry["time"], f"{where}: 'time'"),
        expression={str(name): _value(value, f"{where}: {name!r}") for name, value in expression.items()},
        easing=_easing(entry.get("easing", easing), where),
        head={name: _number(value, f"{where}: {name!r}") for name, value in head.items()},
    )


def _value(value: Any, where: str) -> Value:
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d+)?%", value.strip()):
        return value.strip()
    return _number(value, where)


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise UserError(f"{where} is {value!r}, which is not a number; correct it.")
    return float(value)


def _easing(value: Any, where: str) -> str:
    if not isinstance(value, str) or value not in EASINGS:
        raise UserError(f"{where}: easing {value!r} is unknown; choose {', '.join(EASINGS)}.")
    return str(value)


def _refuse_unknown(document: Mapping[Any, Any], known: Tuple[str, ...], where: str) -> None:
    for key in document:
        if key not in known:
            raise UserError(f"{where} has the unknown key {key!r}; it takes {', '.join(known)}.")
