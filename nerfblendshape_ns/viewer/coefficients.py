"""A model's coefficients for the controls: names, ranges, activity, left/right partners, random faces."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Mapping, Optional, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.coefficient_names.sides import side_pairs
from nerfblendshape_ns.data.expression_scale import coefficient_scale

RANDOM_CHOICES = 64
"""Made-up values of each coefficient that random faces are drawn from where there is no clip."""


@dataclass(frozen=True)
class SliderRange:
    """Ends and step of a slider."""

    minimum: float
    maximum: float
    step: float

    @property
    def digits(self) -> int:
        """Digits after the point that the step needs."""
        return max(0, -round(math.log10(self.step)))

    def nearest(self, value: float) -> float:
        """A value as the slider can show it."""
        return round(min(max(value, self.minimum), self.maximum), self.digits)


def slider_range(minimum: float, maximum: float) -> SliderRange:
    """A range with a hundredth of its width, or less, as a decimal step; the ends are rounded outwards to whole steps.

    Args:
        minimum: smallest value.
        maximum: largest value, above ``minimum``.
    """
    step = 10.0 ** math.floor(math.log10((maximum - minimum) / 100.0))
    digits = max(0, -round(math.log10(step)))
    # The tolerance keeps float32 ends such as 0.8000000119 from gaining a step.
    low, high = math.floor(minimum / step + 1e-3), math.ceil(maximum / step - 1e-3)
    return SliderRange(round(low * step, digits), round(high * step, digits), round(step, digits))


class CoefficientTable:
    """The coefficients of one model, as arrays on the CPU.

    Args:
        names: one per coefficient.
        minimum: ``[basis]`` training minimum, raw units.
        maximum: ``[basis]`` training maximum.
        track: ``[frames, basis]`` coefficients of the whole clip, raw units.
        train_frames: ``[train]`` indices of the training frames on the track.
    """

    def __init__(
        self,
        names: Sequence[str],
        minimum: np.ndarray,
        maximum: np.ndarray,
        track: np.ndarray,
        train_frames: np.ndarray,
    ) -> None:
        self.names: Tuple[str, ...] = tuple(names)
        self.minimum = np.asarray(minimum, np.float32)
        self.maximum = np.asarray(maximum, np.float32)
        self.track = np.asarray(track, np.float32)
        self.train_frames = np.asarray(train_frames, np.int64)
        self.neutral = np.clip(np.zeros(len(self.names), np.float32), self.minimum, self.maximum)
        self.mirror = side_pairs(self.names)
        self._index = {name: index for index, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    @property
    def num_frames(self) -> int:
        """Frames of the clip."""
        return len(self.track)

    def index(self, name: str) -> int:
        """Index of a coefficient."""
        return self._index[name]

    @property
    def movable(self) -> List[int]:
        """Coefficients that move in training; the others have no range and the model has learned nothing of them."""
        return [index for index in range(len(self)) if self.maximum[index] > self.minimum[index]]

    def by_activity(self) -> List[int]:
        """The movable coefficients, the one that varies most over the training frames first, in a common unit.

        An exported avatar may have left its clip out; then the one with the widest range comes first.
        """
        train = self.clamp(self.track[self.train_frames])
        values = train if len(train) > 1 else np.stack([self.minimum, self.maximum])
        deviation = values.std(0) * coefficient_scale(values, self.names)
        return sorted(self.movable, key=lambda index: (-float(deviation[index]), index))

    def clamp(self, values: np.ndarray) -> np.ndarray:
        """Limit ``[..., basis]`` to the training range."""
        return np.clip(values, self.minimum, self.maximum)

    def slider(self, index: int, beyond: bool) -> SliderRange:
        """The slider of a coefficient.

        Args:
            index: of a movable coefficient.
            beyond: half a range more at both ends, for when nothing is clamped.
        """
        low, high = float(self.minimum[index]), float(self.maximum[index])
        margin = 0.5 * (high - low) if beyond else 0.0
        return slider_range(low - margin, high + margin)

    def effective(self, values: np.ndarray, clamp: bool, gain: float) -> np.ndarray:
        """What is rendered: clamped to the training range if asked, then exaggerated about the neutral face.

        The gain comes last and may leave the training range.

        Args:
            values: ``[basis]`` raw units.
            clamp: whether to clamp first.
            gain: 1 leaves the expression as it is, 0 is neutral.
        """
        values = self.clamp(values) if clamp else values
        return (self.neutral + gain * (values - self.neutral)).astype(np.float32)

    def edited(self, values: np.ndarray, index: int, value: float, symmetric: bool) -> np.ndarray:
        """A copy of ``values`` ``[basis]`` with one coefficient set, and with it its left/right partner if asked."""
        edited = np.array(values, np.float32)
        edited[index] = value
        if symmetric and index in self.mirror:
            edited[self.mirror[index]] = value
        return edited

    def random(self, generator: np.random.Generator) -> np.ndarray:
        """A face ``[basis]`` that training never showed as a whole, made of values that it did show.

        Every coefficient is that of a training frame of its own; the two sides of a pair come from the same frame, as
        faces are nearly symmetric. Without a clip it is drawn from its range, mostly near neutral.
        """
        train = self.clamp(self.track[self.train_frames])
        if len(train) == 1:
            fraction = generator.uniform(0.0, 1.0, (RANDOM_CHOICES, 1)) ** 2
            end = np.where(generator.uniform(size=(RANDOM_CHOICES, 1)) < 0.5, self.minimum, self.maximum)
            train = (self.neutral + fraction * (end - self.neutral)).astype(np.float32)
        frame = generator.integers(len(train), size=len(self))
        for index, partner in self.mirror.items():
            frame[max(index, partner)] = frame[min(index, partner)]
        return train[frame, np.arange(len(self))]

    def from_names(self, values: Mapping[str, float]) -> Tuple[np.ndarray, List[str]]:
        """Coefficients by name as a vector ``[basis]``, missing ones neutral, and the names that the model lacks."""
        vector, unknown = self.neutral.copy(), []
        for name, value in values.items():
            index: Optional[int] = self._index.get(name)
            if index is None:
                unknown.append(name)
            else:
                vector[index] = value
        return vector, unknown
