"""What each coefficient of an avatar does: renders at both ends of its range, heat maps, and what was never learnt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Tuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from nerfblendshape_ns.avatar.avatar import Avatar
from nerfblendshape_ns.field_components.blendshape_encoding import INITIAL_RANGE
from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState

STRONGEST_FRACTION = 0.02
"""The change of a coefficient is averaged over those pixels that change most, as many as this fraction of the head's:
about the size of both eyes."""
HEAD_OPACITY = 0.5
"""Pixels above this opacity count as head."""
LEARNT_CHANGE = 4.0
"""A coefficient that changes the image by less than this many of 255 levels was not learnt."""
SMALLEST_RANGE = 0.01
"""A coefficient whose scaled training range is below this fraction of the widest has not moved."""
KEPT_FRACTION = 0.1
"""A coefficient of which the principal components keep less than this fraction counts as left out by them."""
COMPARED_SIDE = 64
"""Changes are compared with each other at no more than this many pixels per side."""


@dataclass
class CoefficientSweep:
    """One coefficient, moved alone from neutral to both ends of its training range."""

    name: str
    minimum: float
    neutral: float
    maximum: float
    at_minimum: UInt8[np.ndarray, "height width 3"]
    """Rendered there."""
    at_maximum: UInt8[np.ndarray, "height width 3"]
    heat: Float[np.ndarray, "height width"]
    """Largest change of a pixel at either end, mean over the channels, in levels of 255."""
    change: Tuple[float, float]
    """Change at the minimum and at the maximum: see :func:`strongest`."""
    centre: Tuple[float, float]
    """Where the change is, x and y as fractions of the image; weighted by the squared heat."""
    held: float
    """Fraction of the coefficient that the tables can represent: below 1 where principal components omit some of it."""
    trained_rows: Optional[float]
    """Fraction of its table's rows that training has changed; None where the model has no table for it."""
    alike: str = ""
    """The coefficient with the most similar change."""
    likeness: float = 0.0
    """How similar: the cosine of the two changes; 1 means that the model cannot tell them apart."""
    reasons: List[str] = field(default_factory=list)
    """Why it counts as not learnt; empty where it was learnt."""

    @property
    def learnt(self) -> bool:
        """Whether the model does anything with it."""
        return not self.reasons


@dataclass
class Sweep:
    """All coefficients of an avatar at its median camera."""

    neutral: UInt8[np.ndarray, "height width 3"]
    """The neutral face."""
    head: Bool[np.ndarray, "height width"]
    """Where it is."""
    coefficients: List[CoefficientSweep]
    """In the model's order."""
    left_out: List[str]
    """Coefficients of the clip that the model was built without, because they do not move in training."""
    threshold: float
    """Change in levels of 255 from which a coefficient counts as learnt."""


def sweep_avatar(
    avatar: Avatar,
    size: Optional[int] = None,
    threshold: float = LEARNT_CHANGE,
    advance: Callable[[], None] = lambda: None,
) -> Sweep:
    """Render every coefficient at its minimum and maximum, the others neutral.

    Args:
        avatar: whose coefficients.
        size: longer side of the images in pixels; None takes that of the training images.
        threshold: change in levels of 255 from which a coefficient counts as learnt.
        advance: called after each coefficient.
    """
    neutral_state = avatar.neutral()
    neutral, opacity = _render(avatar, neutral_state.expression, size)
    head = opacity[..., 0] > HEAD_OPACITY
    held, rows = _kept_fractions(avatar), _trained_rows(avatar)
    ranges = ((avatar.maximum - avatar.minimum) * avatar.head.conditioning.scale).tolist()
    coefficients, differences = [], []
    for index, name in enumerate(avatar.names):
        ends = []
        for end in (avatar.minimum, avatar.maximum):
            moved = _with(neutral_state.expression, index, end)
            still = torch.equal(moved, neutral_state.expression)  # Most coefficients are neutral at their minimum.
            ends.append(neutral if still else render_expression(avatar, moved, size))
        changes = [255.0 * np.abs(end - neutral).mean(-1) for end in ends]
        heat = np.maximum(*changes)
        coefficient = CoefficientSweep(
            name=name,
            minimum=float(avatar.minimum[index]),
            neutral=float(neutral_state.expression[index]),
            maximum=float(avatar.maximum[index]),
            at_minimum=to_bytes(ends[0]),
            at_maximum=to_bytes(ends[1]),
            heat=heat,
            change=(strongest(changes[0], head), strongest(changes[1], head)),
            centre=_centre(heat),
            held=held[index],
            trained_rows=None if rows is None else rows[index],
        )
        if ranges[index] <= SMALLEST_RANGE * max(ranges):
            coefficient.reasons.append("does not move in training")
        if coefficient.held < KEPT_FRACTION:
            coefficient.reasons.append(f"the principal components keep {100 * coefficient.held:.0f} % of it")
        if coefficient.trained_rows == 0.0:
            coefficient.reasons.append("its table was never trained")
        if max(coefficient.change) < threshold:
            coefficient.reasons.append(f"changes the image by {max(coefficient.change):.1f} of 255")
        coefficients.append(coefficient)
        stronger = int(coefficient.change[1] >= coefficient.change[0])
        differences.append(_small(ends[stronger] - neutral))
        advance()
    _compare(coefficients, np.stack(differences))
    left_out = [name for name in avatar.source_names if name not in avatar.names]
    return Sweep(to_bytes(neutral), head, coefficients, left_out, threshold)


def render_expression(
    avatar: Avatar, expression: Float[Tensor, "basis"], size: Optional[int] = None
) -> Float[np.ndarray, "height width 3"]:
    """The avatar at its median camera with an expression, in [0, 1]."""
    return _render(avatar, expression, size)[0]


def strongest(change: Float[np.ndarray, "height width"], head: Bool[np.ndarray, "height width"]) -> float:
    """Mean over the pixels that change most, as many as 2 % of the head's, wherever they are."""
    count = max(1, round(STRONGEST_FRACTION * int(head.sum())))
    return float(np.partition(change.ravel(), -count)[-count:].mean())


def to_bytes(image: Float[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """An image in [0, 1] as 8-bit."""
    return (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def as_document(sweep: Sweep) -> Dict[str, object]:
    """The table as plain data for JSON."""
    return {
        "threshold": sweep.threshold,
        "learnt": sum(coefficient.learnt for coefficient in sweep.coefficients),
        "left_out": sweep.left_out,
        "coefficients": [
            {
                "name": one.name,
                "minimum": one.minimum,
                "neutral": one.neutral,
                "maximum": one.maximum,
                "change_at_minimum": round(one.change[0], 3),
                "change_at_maximum": round(one.change[1], 3),
                "centre": [round(value, 3) for value in one.centre],
                "held": round(one.held, 4),
                "trained_rows": None if one.trained_rows is None else round(one.trained_rows, 4),
                "alike": one.alike,
                "likeness": round(one.likeness, 3),
                "learnt": one.learnt,
                "reasons": one.reasons,
            }
            for one in sweep.coefficients
        ],
    }


def as_text(sweep: Sweep) -> str:
    """The table for reading, the strongest coefficient first."""
    width = max([len("coefficient"), *(len(one.name) for one in sweep.coefficients)])
    lines = [f"{'coefficient':<{width}}     min     max  change  x    y    most alike"]
    for one in by_change(sweep):
        alike = f"{one.alike} {one.likeness:.2f}" if one.alike else ""
        lines.append(
            f"{one.name:<{width}} {one.minimum:7.3f} {one.maximum:7.3f} {max(one.change):7.1f}  "
            f"{one.centre[0]:.2f} {one.centre[1]:.2f} {alike}"
            + ("" if one.learnt else f"NOT LEARNT: {', '.join(one.reasons)}")
        )
    learnt = sum(one.learnt for one in sweep.coefficients)
    lines += ["", f"{learnt} of {len(sweep.coefficients)} coefficients were learnt (change in levels of 255, at least "
              f"{sweep.threshold:g})."]  # fmt: skip
    if sweep.left_out:
        lines.append(f"Not in the model, since they do not move in training: {', '.join(sweep.left_out)}.")
    return "\n".join(lines) + "\n"


def by_change(sweep: Sweep) -> List[CoefficientSweep]:
    """The coefficients, those that change most first, those not learnt last."""
    return sorted(sweep.coefficients, key=lambda one: (not one.learnt, -max(one.change)))


def _render(avatar: Avatar, expression: Tensor, size: Optional[int]) -> Tuple[np.ndarray, np.ndarray]:
    """Image in [0, 1] and opacity of the head."""
    pose = avatar.camera.camera_to_worlds[0].flatten()
    outputs = avatar.render(DrivingState(expression, pose), avatar.camera_of(pose, size))
    opacity = outputs.get("head_accumulation", outputs["accumulation"])
    return outputs["rgb"].clamp(0, 1).cpu().numpy(), opacity.cpu().numpy()


def _with(neutral: Tensor, index: int, values: Tensor) -> Tensor:
    expression = neutral.clone()
    expression[index] = values[index]
    return expression


def _kept_fractions(avatar: Avatar) -> List[float]:
    """How much of each coefficient lies in the span of the principal components."""
    mixing = avatar.head.field.encoding.mixing
    if mixing is None:
        return [1.0] * len(avatar.names)
    components = torch.linalg.qr(mixing.T.double().cpu())[0]
    return components.norm(dim=1).clamp(max=1.0).tolist()


def _trained_rows(avatar: Avatar) -> Optional[List[float]]:
    """Fraction of the rows of each coefficient's table that have left the range they were drawn from."""
    encoding = avatar.head.field.encoding
    if encoding.num_basis == 0:
        return None
    fractions = []
    for index in range(encoding.num_basis):
        # A combination of tables starts within the combination of their ranges.
        weight = 1.0 if encoding.mixing is None else float(encoding.mixing[:, index].abs().sum())
        moved = encoding.basis_table(index).abs().amax(-1) > 1.001 * INITIAL_RANGE * weight
        fractions.append(float(moved.float().mean()))
    return fractions


def _centre(heat: Float[np.ndarray, "height width"]) -> Tuple[float, float]:
    weights = heat.astype(np.float64) ** 2 + 1e-12
    height, width = heat.shape
    x = (weights.sum(0) * (np.arange(width) + 0.5)).sum() / weights.sum() / width
    y = (weights.sum(1) * (np.arange(height) + 0.5)).sum() / weights.sum() / height
    return float(x), float(y)


def _small(difference: Float[np.ndarray, "height width 3"]) -> np.ndarray:
    height, width = difference.shape[:2]
    scale = min(1.0, COMPARED_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(difference, size, interpolation=cv2.INTER_AREA).ravel()


def _compare(coefficients: List[CoefficientSweep], differences: Float[np.ndarray, "basis values"]) -> None:
    """Name for every learnt coefficient the other learnt one whose change is most similar."""
    lengths = np.linalg.norm(differences, axis=1, keepdims=True)
    unit = differences / np.maximum(lengths, 1e-9)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -np.inf)
    likeness[:, [not one.learnt for one in coefficients]] = -np.inf
    for row, one in enumerate(coefficients):
        best = int(likeness[row].argmax())
        if one.learnt and np.isfinite(likeness[row, best]):
            one.alike, one.likeness = coefficients[best].name, float(likeness[row, best])
