"""Which of a clip's expression coefficients a model is built on, and their range in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.common.errors import UserError

BasisChoice = Literal["active", "all"]
"""Which coefficients a model is built on: those that move in training, or all."""

ACTIVE_FRACTION = 0.01
"""A coefficient is active if its scaled training range is above this fraction of the widest coefficient's."""


@dataclass(frozen=True)
class ExpressionBasis:
    """A choice among a clip's coefficients, and their training range in raw units."""

    source_names: Tuple[str, ...]
    """Names of the clip's coefficients, in the order of ``expr.npy``."""
    columns: np.ndarray
    """int64 ``[basis]`` column of each of the model's coefficients in ``expr.npy``, ascending."""
    minimum: np.ndarray
    """float32 ``[basis]`` smallest value in training."""
    maximum: np.ndarray
    """float32 ``[basis]`` largest value in training."""
    scale: np.ndarray
    """float32 ``[basis]`` what a model multiplies its coefficients by; see
    :func:`~nerfblendshape_ns.data.expression_scale.expression_scale`."""

    @property
    def names(self) -> Tuple[str, ...]:
        """Names of the model's coefficients."""
        return tuple(self.source_names[column] for column in self.columns)

    @property
    def dropped(self) -> Tuple[str, ...]:
        """Names of the clip's coefficients that have no part in the model."""
        kept = set(self.columns.tolist())
        return tuple(name for column, name in enumerate(self.source_names) if column not in kept)

    def apply(self, expressions: np.ndarray) -> np.ndarray:
        """The model's coefficients, float32 ``[frames, basis]``, of a clip's ``[frames, source]``."""
        return expressions[:, self.columns].astype(np.float32)

    def clamp(self, coefficients: np.ndarray) -> np.ndarray:
        """Model coefficients ``[frames, basis]`` limited to the training range."""
        return np.clip(coefficients, self.minimum, self.maximum)


def choose_basis(
    train_expressions: np.ndarray, names: Sequence[str], choice: BasisChoice, scale: np.ndarray
) -> ExpressionBasis:
    """Choose the coefficients a model is built on.

    Args:
        train_expressions: ``[num_train_frames, source]`` coefficients of the training frames.
        names: name of each coefficient.
        choice: ``active`` keeps those whose scaled range in training is above 1 % of the widest, ``all`` every one.
        scale: ``[source]`` of the coefficients; see
            :func:`~nerfblendshape_ns.data.expression_scale.expression_scale`.

    Raises:
        UserError: no coefficient moves.
    """
    train = np.asarray(train_expressions, dtype=np.float32)
    scaled_range = np.ptp(train.astype(np.float64), axis=0) * scale
    columns = np.arange(train.shape[1])
    if choice == "active":
        if scaled_range.max() <= 0:
            raise UserError(
                "no expression coefficient moves in the training frames; check expr.npy, or give --basis all to train "
                "a head without expressions."
            )
        columns = np.flatnonzero(scaled_range > ACTIVE_FRACTION * scaled_range.max())
    elif choice != "all":
        raise UserError(f"basis {choice!r} is unknown; choose active or all.")
    low, high = train.min(0)[columns], train.max(0)[columns]
    return ExpressionBasis(tuple(names), columns, low, high, np.asarray(scale, dtype=np.float32)[columns])
