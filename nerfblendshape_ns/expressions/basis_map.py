"""From one basis of coefficients to another and back, by affine maps that a clip with both has shown.

A tracker that gives FLAME parameters (SMIRK, DECA, VHAP) and one that gives ARKit's coefficients see the same face, so
ridge regression between their tracks of one video takes either to the other, without any model of the two bases.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Sequence, Tuple

import numpy as np

from nerfblendshape_ns.common.arrays import load_arrays, save_arrays
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.retarget import plain_name
from nerfblendshape_ns.expressions.tracks import ExpressionTrack

FOLDS = 5
"""Stretches of the clip, each of which is predicted from the others to measure the error."""
RIDGES = tuple(10.0**power for power in range(-3, 4))
"""Penalties tried, per frame of a column of unit variance times 0.01; the one with the smallest error is taken."""
WORST_ERROR = 1e9
"""Of a map in a file."""
FEWEST_FRAMES = 50
"""Frames that a map is fitted to at least."""


@dataclass(frozen=True)
class AffineMap:
    """``values @ matrix + offset``, limited to what the clip showed."""

    names: Tuple[str, ...]
    """Of the coefficients that it takes."""
    target_names: Tuple[str, ...]
    """Of those that it gives."""
    target_basis: str
    """Id of their basis."""
    matrix: np.ndarray
    """``[coefficients, target coefficients]``."""
    offset: np.ndarray
    """``[target coefficients]``."""
    low: np.ndarray
    """``[target coefficients]`` smallest values in the clip."""
    high: np.ndarray
    """``[target coefficients]``."""
    variance: np.ndarray
    """``[target coefficients]`` in the clip."""
    explained: np.ndarray
    """``[target coefficients]`` fraction of the variance that is predicted in stretches that were not fitted; 0 for
    coefficients that stand still."""

    @property
    def error(self) -> float:
        """Fraction of the variance of all coefficients together that is not predicted."""
        return 1.0 - float(np.average(self.explained, weights=self.variance + 1e-12))

    def takes(self, names: Sequence[str]) -> bool:
        """Whether all that it takes is among coefficients of these names."""
        return {plain_name(name) for name in self.names} <= {plain_name(name) for name in names}

    def apply(self, names: Sequence[str], values: np.ndarray) -> np.ndarray:
        """Map coefficients ``[frames, names]``, of which it :meth:`takes` those it knows."""
        column = {plain_name(name): index for index, name in enumerate(names)}
        chosen = values[:, [column[plain_name(name)] for name in self.names]].astype(np.float64)
        return np.clip(chosen @ self.matrix + self.offset, self.low, self.high)


def fit_maps(first: ExpressionTrack, second: ExpressionTrack, offset: float = 0.0) -> Tuple[AffineMap, AffineMap]:
    """The maps from the first basis to the second, and back.

    Args:
        first: coefficients of a video.
        second: coefficients of the same video in another basis.
        offset: seconds of the video at which the second track begins, after the first does.

    Raises:
        UserError: their frames cannot be paired, or are too few.
    """
    one, other = _paired(first, second, offset)
    return _fit(first, one, second, other), _fit(second, other, first, one)


def save_maps(path: Path, maps: Sequence[AffineMap]) -> None:
    """Write maps to an ``.npz`` file."""
    arrays = {}
    for number, each in enumerate(maps):
        fields = {**vars(each), "names": np.array(each.names), "target_names": np.array(each.target_names)}
        arrays.update({f"{number}_{name}": np.asarray(value) for name, value in fields.items()})
    save_arrays(path, **arrays)


def load_map(path: Path, names: Sequence[str]) -> AffineMap:
    """The map of a file that takes coefficients of these names.

    Raises:
        UserError: the file holds no maps, or none for these coefficients.
    """
    content = load_arrays(path, "make it again with nbs-basis-map")
    maps = []
    try:
        for number in range(2):
            fields = {name: content[f"{number}_{name}"] for name in AffineMap.__dataclass_fields__}
            for name in ("names", "target_names"):
                fields[name] = tuple(str(each) for each in fields[name])
            each = AffineMap(**{**fields, "target_basis": str(fields["target_basis"])})
            targets = (len(each.target_names),)
            for name in ("matrix", "offset", "low", "high", "variance", "explained"):
                numbers = getattr(each, name)
                shape = (len(each.names), *targets) if name == "matrix" else targets
                if numbers.shape != shape or numbers.dtype.kind != "f" or not np.isfinite(numbers).all():
                    raise ValueError
            if each.variance.min() < 0 or each.explained.max() > 1 or each.error > WORST_ERROR:
                raise ValueError
            maps.append(each)
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path} holds no maps of coefficients; make one with nbs-basis-map.") from None
    for each in maps:
        if each.takes(names):
            return each
    raise UserError(
        f"{path} maps {_few(maps[0].names)} and {_few(maps[1].names)}, and the driver has {_few(tuple(names))}; make a "
        "map of the driver's basis with nbs-basis-map."
    )


def _paired(first: ExpressionTrack, second: ExpressionTrack, offset: float) -> Tuple[np.ndarray, np.ndarray]:
    """Values of the two tracks at the same instants, float64."""
    if first.times is None or second.times is None:
        if len(first) != len(second) or offset:
            raise UserError(
                f"the tracks have {len(first)} and {len(second)} rows and one has no clock; give tracks of the same "
                "frames, or --first-fps and --second-fps."
            )
        one, other = first.values, second.values
    else:
        times = first.times - offset
        inside = (times >= -1e-6) & (times <= second.times[-1] + 1e-6)
        one, other = first.values[inside], second.at(times[inside])
    if len(one) < FEWEST_FRAMES:
        raise UserError(
            f"the tracks share {len(one)} frames and at least {FEWEST_FRAMES} are needed; give a longer clip, or "
            "another --offset."
        )
    return one.astype(np.float64), other.astype(np.float64)


def _fit(source: ExpressionTrack, x: np.ndarray, target: ExpressionTrack, y: np.ndarray) -> AffineMap:
    folds = np.arange(len(x)) * FOLDS // len(x)
    variance = y.var(0)
    moving = variance > 1e-12
    best, explained = RIDGES[0], np.zeros(y.shape[1])
    for ridge in RIDGES:
        errors = np.zeros(y.shape[1])
        for fold in range(FOLDS):
            held = folds == fold
            matrix, offset = _ridge(x[~held], y[~held], ridge)
            errors += ((x[held] @ matrix + offset - y[held]) ** 2).sum(0) / len(x)
        now = np.where(moving, 1.0 - errors / np.where(moving, variance, 1.0), 0.0)
        if ridge == RIDGES[0] or now @ variance > explained @ variance:
            best, explained = ridge, now
    matrix, offset = _ridge(x, y, best)
    return AffineMap(
        source.names, target.names, target.basis_id, matrix, offset, y.min(0), y.max(0), variance, explained
    )


def _ridge(x: np.ndarray, y: np.ndarray, ridge: float) -> Tuple[np.ndarray, np.ndarray]:
    """Ridge regression on columns of unit variance: matrix and offset."""
    mean, scale = x.mean(0), np.maximum(x.std(0), 1e-3 * max(float(x.std(0).max()), 1e-9))
    unit, centre = (x - mean) / scale, y.mean(0)
    normal = unit.T @ unit + 0.01 * ridge * len(x) * np.eye(x.shape[1])
    matrix = np.linalg.solve(normal, unit.T @ (y - centre)) / scale[:, None]
    return matrix, centre - mean @ matrix


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:2]) + (", …" if len(names) > 2 else "")
