"""Another person's coefficients for this person: names, neutral, ranges, gain."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, List, Literal, Optional, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.coefficient_names.sides import side_pairs
from nerfblendshape_ns.coefficient_names.unnamed import are_unnamed
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.expression_scale import coefficient_scale

RetargetMode = Literal["auto", "none", "neutral", "range"]
"""See ``--retarget``."""

CALM_FRACTION = 0.1
"""Neutral is the median of this fraction of the frames, the calmest."""
CALM_PERCENTILE = 5.0
"""A coefficient that only grows from neutral is calm at this percentile of its values, a signed one at its median."""
SIGNED = 0.2
"""A coefficient is signed when its lowest value is below minus this fraction of its highest."""
PEAK_PERCENTILE = 98.0
"""Peaks are compared at this percentile, so that one bad frame does not set the scale."""
STILL = 0.05
"""A coefficient whose excursion is below this fraction of the basis' largest, in a common unit, is not scaled: it shows
noise."""
LARGEST_SCALE = 1.25
"""Excursions are enlarged by no more: who speaks softly should not make the avatar shout."""


@dataclass(frozen=True)
class CoefficientSpace:
    """What is known of someone's coefficients."""

    names: Tuple[str, ...]
    """Name of each coefficient."""
    basis_id: str
    """Which basis they belong to."""
    frames: np.ndarray
    """float64 ``[frames, coefficients]`` the clip that shows how this person uses them."""
    minimum: Optional[np.ndarray] = None
    """``[coefficients]`` what they are clamped to; None takes the frames' own."""
    maximum: Optional[np.ndarray] = None
    """``[coefficients]``."""

    @property
    def low(self) -> np.ndarray:
        """Smallest values."""
        return self.frames.min(0) if self.minimum is None else self.minimum

    @property
    def high(self) -> np.ndarray:
        """Largest values."""
        return self.frames.max(0) if self.maximum is None else self.maximum


@dataclass(frozen=True)
class RangeCurve:
    """How excursions from neutral become this person's, for each coefficient: ``scale · x / sqrt(1 + (x / knee)²)``.

    Where the driver's peak is above the person's, the scale is 1 and the knee bends the driver's peak down to theirs:
    small expressions pass as they are, large ones come close to the person's largest. Where it is below, the excursion
    is enlarged a little and the knee is at infinity.
    """

    scale: np.ndarray
    """``[coefficients]``."""
    knee: np.ndarray
    """``[coefficients]``, infinite for a straight line."""

    @staticmethod
    def straight(count: int) -> "RangeCurve":
        """Changes nothing."""
        return RangeCurve(np.ones(count), np.full(count, np.inf))

    @staticmethod
    def between(own: np.ndarray, theirs: np.ndarray, moves: np.ndarray, groups: List[List[int]]) -> "RangeCurve":
        """From the driver's peaks to this person's.

        Args:
            own: ``[coefficients]`` the person's excursions.
            theirs: ``[coefficients]`` the driver's.
            moves: bool ``[coefficients]``, those whose excursions of both are more than noise.
            groups: coefficients that share a curve, by the geometric means of their excursions.
        """
        curve = RangeCurve.straight(len(own))
        single = [[index] for index in range(len(own)) if not any(index in group for group in groups)]
        for group in [*groups, *single]:
            moving = [index for index in group if moves[index]]
            if not moving:
                continue
            peak, driver_peak = (float(np.exp(np.log(values[moving]).mean())) for values in (own, theirs))
            if driver_peak <= peak:
                curve.scale[group] = min(peak / driver_peak, LARGEST_SCALE)
            else:
                # Solves driver_peak / sqrt(1 + (driver_peak / knee)²) = peak.
                curve.knee[group] = driver_peak / np.sqrt(max((driver_peak / peak) ** 2 - 1.0, 1e-12))
        return curve

    def __call__(self, excursions: np.ndarray) -> np.ndarray:
        """Map excursions ``[frames, coefficients]`` of one sign."""
        return self.scale * excursions / np.sqrt(1.0 + (excursions / self.knee) ** 2)


@dataclass(frozen=True)
class Retargeting:
    """A map from a driver's coefficients to a person's: ``neutral + curve(value - driver neutral)``, clamped."""

    target: CoefficientSpace
    """The person."""
    source: np.ndarray
    """int64 ``[target coefficients]`` the driver's column for each; -1 where the driver has none."""
    driver_neutral: np.ndarray
    """``[target coefficients]`` the driver's neutral value."""
    neutral: np.ndarray
    """``[target coefficients]`` this person's neutral value."""
    above: RangeCurve
    """Of what lies above neutral."""
    below: RangeCurve
    """Of what lies below."""
    unused: Tuple[str, ...]
    """The driver's coefficients that move and that this person lacks."""

    @property
    def missing(self) -> Tuple[str, ...]:
        """This person's coefficients that the driver lacks; they stay neutral."""
        return tuple(name for name, column in zip(self.target.names, self.source) if column < 0)

    def apply(self, values: np.ndarray, gain: float = 1.0, clamp: bool = True) -> np.ndarray:
        """Map coefficients.

        Args:
            values: ``[frames, driver coefficients]``.
            gain: exaggeration about this person's neutral, after the clamp, so above 1 it may leave the range.
            clamp: limit to this person's range.

        Returns:
            float64 ``[frames, target coefficients]``.
        """
        has = self.source >= 0
        offset = np.zeros((len(values), len(self.source)))
        offset[:, has] = values[:, self.source[has]] - self.driver_neutral[has]
        mapped = self.neutral + np.where(offset > 0, self.above(offset), self.below(offset))
        if clamp:
            mapped = np.clip(mapped, self.target.low, self.target.high)
        return self.neutral + gain * (mapped - self.neutral)


def retargeting(
    driver: CoefficientSpace, target: CoefficientSpace, mode: RetargetMode, neutral_driver: Optional[np.ndarray] = None
) -> Retargeting:
    """Work out the map from a driver to a person.

    Args:
        driver: the driver; for ``neutral`` and ``range`` its frames should be the whole clip.
        target: the person; its frames those of training.
        mode: ``none`` takes values over by name; ``neutral`` also brings the driver's neutral face to this person's;
            ``range`` also brings the driver's peaks to this person's (see :class:`RangeCurve`). Left and right share a
            curve, so that a blink closes both eyes and the eyes look the same way.
        neutral_driver: ``[driver coefficients]`` the driver's neutral face where it is known; else it is estimated, and
            for ``none`` taken for 0.

    Raises:
        UserError: the two have no coefficient in common.
    """
    source = match_names(driver, target)
    has, columns = source >= 0, source[source >= 0]
    count = len(source)
    used = set(columns.tolist())
    driver_scale = coefficient_scale(driver.frames, driver.names)
    moves = _moving(np.ptp(driver.frames, axis=0) * driver_scale)
    unused = tuple(name for index, name in enumerate(driver.names) if index not in used and moves[index])
    zeros, straight = np.zeros(count), RangeCurve.straight(count)
    if mode == "none":
        neutral = np.clip(zeros, target.low, target.high)
        # What the driver lacks stays at the value nearest 0; what it has passes unchanged, measured from there.
        driver_neutral = np.where(has, neutral, 0.0)
        if neutral_driver is not None:
            driver_neutral[has] += neutral_driver[columns]
        return Retargeting(target, source, driver_neutral, neutral, straight, straight, unused)
    neutral = neutral_face(target.frames, target.names)
    driver_face = neutral_face(driver.frames, driver.names) if neutral_driver is None else neutral_driver
    driver_neutral = zeros.copy()
    driver_neutral[has] = driver_face[columns]
    above = below = straight
    if mode in ("range", "auto"):
        own_up, own_down = _excursions(target.frames, neutral)
        their_up, their_down, their_scale = zeros.copy(), zeros.copy(), zeros.copy()
        excursions = _excursions(driver.frames, driver_face)
        their_up[has], their_down[has] = excursions[0][columns], excursions[1][columns]
        their_scale[has] = driver_scale[columns]
        own_scale, groups = coefficient_scale(target.frames, target.names), _sharing(target.names)
        above, below = (
            RangeCurve.between(own, theirs, _moving(own * own_scale) & _moving(theirs * their_scale), groups)
            for own, theirs in ((own_up, their_up), (own_down, their_down))
        )
    return Retargeting(target, source, driver_neutral, neutral, above, below, unused)


def match_names(driver: CoefficientSpace, target: CoefficientSpace) -> np.ndarray:
    """The driver's column for each of the target's coefficients, -1 where it has none, int64 ``[target]``.

    Case, underscores and ``_L``/``_R`` for ``Left``/``Right`` do not matter.

    Raises:
        UserError: nothing matches, or both are without names and the driver has fewer coefficients.
    """
    index: Dict[str, int] = {plain_name(name): column for column, name in enumerate(driver.names)}
    source = np.array([index.get(plain_name(name), -1) for name in target.names], dtype=np.int64)
    driver_unnamed, target_unnamed = (are_unnamed(space.names) for space in (driver, target))
    if (source < 0).all():
        advice = "use a driver with the same basis"
        if driver_unnamed and driver.basis_id == "custom":
            advice = (
                "the driver's columns have no names, so say what they are with --names arkit52 or --names mediapipe52, "
                "or write their names beside the file (docs/expression_tracks.md)"
            )
        elif target_unnamed and target.basis_id == "custom":
            advice = (
                "the avatar's coefficients have no names, so give its dataset an expr_names.json, or process its video "
                "again with --names, and train it again"
            )
        raise UserError(
            f"the driver's {len(driver.names)} coefficients ({_few(driver.names)}) and this person's "
            f"{len(target.names)} ({_few(target.names)}) have no name in common; {advice}."
        )
    if target_unnamed and len(driver.names) < len(target.names):
        raise UserError(
            f"neither driver nor avatar names its coefficients and their numbers differ ({len(driver.names)} and "
            f"{len(target.names)}); write expr_names.json into both datasets."
        )
    return source


def plain_name(name: str) -> str:
    """A name without case, underscores and short forms of left and right."""
    side = re.sub(r"[_\-. ]([lr])$", lambda found: {"l": "left", "r": "right"}[found[1]], name.lower())
    return re.sub(r"[\W_]", "", side)


def neutral_face(frames: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The values of the neutral face ``[coefficients]``: the median of the calmest frames.

    A frame is calm when its coefficients are near their low end (or their median, where they are signed), all in a
    common unit, so that neither the unit of one nor noise of still ones decides.

    Args:
        frames: ``[frames, coefficients]``.
        names: of the coefficients.
    """
    signed = frames.min(0) < -SIGNED * np.abs(frames.max(0))
    calm = np.where(signed, np.median(frames, axis=0), np.percentile(frames, CALM_PERCENTILE, axis=0))
    activity = np.linalg.norm((frames - calm) * coefficient_scale(frames, names), axis=1)
    count = max(1, int(round(CALM_FRACTION * len(frames))))
    return np.median(frames[np.argsort(activity, kind="stable")[:count]], axis=0)


def _moving(excursions: np.ndarray) -> np.ndarray:
    """Which coefficients move by more than noise, bool; excursions are in a common unit."""
    return excursions > STILL * max(float(excursions.max()), 1e-9)


def _excursions(frames: np.ndarray, neutral: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """How far each coefficient goes above and below neutral, outliers left out."""
    low, high = np.percentile(frames, [100.0 - PEAK_PERCENTILE, PEAK_PERCENTILE], axis=0)
    return np.maximum(high - neutral, 0.0), np.maximum(neutral - low, 0.0)


def _sharing(names: Sequence[str]) -> List[List[int]]:
    """Coefficients that share a curve: left and right; for glances one eye's outward and the other eye's inward."""
    # With the right eye's "in" and "out" swapped, the two of a glance have the same name but for the side.
    swapped = [
        re.sub(r"(?<=eyelook)(in|out)(?=right)", lambda found: {"in": "out", "out": "in"}[found[1]], plain_name(name))
        for name in names
    ]
    return [[one, other] for one, other in side_pairs(swapped, sideways=True).items() if one < other]


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
