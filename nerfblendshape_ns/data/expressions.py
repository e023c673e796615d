"""Expression coefficients: reading and checking them, choosing the basis, clamping to the training range."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError, collected, raise_or_collect
from nerfblendshape_ns.common.frame_numbers import name_frames
from nerfblendshape_ns.data import contract

BasisChoice = Literal["active", "all", "pca16"]
"""Which coefficients a model is built on: those that move in training, all, or 16 principal components."""

ACTIVE_SHARE = 0.01
"""A coefficient is active if its scaled training range is above this share of the widest coefficient's."""
PRINCIPAL_COMPONENTS = 16
"""Number of components of the ``pca16`` basis."""


@dataclass(frozen=True)
class ExpressionBasis:
    """The linear map from a clip's coefficients to the model's, and the model's training range."""

    source_names: Tuple[str, ...]
    """Names of the clip's coefficients, in the order of ``expr.npy``."""
    names: Tuple[str, ...]
    """Names of the model's coefficients."""
    basis_id: str
    """Id of the model's basis."""
    projection: np.ndarray
    """float32 ``[source, basis]``; model coefficients are ``expressions @ projection``. Neutral stays 0."""
    minimum: np.ndarray
    """float32 ``[basis]`` smallest value in training."""
    maximum: np.ndarray
    """float32 ``[basis]`` largest value in training."""
    scale: np.ndarray
    """float32 ``[basis]`` what a model multiplies its coefficients by; see :func:`expression_scale`."""

    @property
    def dropped(self) -> Tuple[str, ...]:
        """Names of the clip's coefficients that have no part in the model."""
        used = np.abs(self.projection).sum(1) > 0
        return tuple(name for name, is_used in zip(self.source_names, used) if not is_used)

    def apply(self, expressions: np.ndarray) -> np.ndarray:
        """The model's coefficients, float32 ``[frames, basis]``, for a clip's ``[frames, source]``."""
        return (expressions.astype(np.float64) @ self.projection.astype(np.float64)).astype(np.float32)

    def clamp(self, coefficients: np.ndarray) -> np.ndarray:
        """Model coefficients ``[frames, basis]`` limited to the training range."""
        return np.clip(coefficients, self.minimum, self.maximum)


def load_expressions(
    root: Path, img_ids: Sequence[int], names: Optional[Sequence[str]], expected_rows: Optional[int] = None
) -> Tuple[np.ndarray, Tuple[str, ...]]:
    """Read and check ``expr.npy``, and check ``expr_min.npy`` and ``expr_max.npy`` where they exist.

    The range files are only checked: the range in use is computed over the training split in use.

    Args:
        root: the dataset directory.
        img_ids: the frames, ascending; the row of a frame is its ``img_id``.
        names: one name for each coefficient; None makes names up.
        expected_rows: how many rows there must be; None only asks that every frame has one.

    Returns:
        float32 ``[num_frames, basis]``, one row for each of ``img_ids``, and the names.

    Raises:
        UserError: a file is missing or its contents are wrong; where errors are collected, NaN stands in for
            coefficients that cannot be had.
    """
    path = root / contract.EXPRESSIONS
    array = collected(lambda: file_io.load_array(path), None)
    if array is None:
        expressions, names = _absent(img_ids, names)
    else:
        expressions, names = check_expressions(array, path, img_ids, names, expected_rows)
    collected(lambda: check_range_files(root, names), None)
    return expressions, names


def check_expressions(
    array: np.ndarray,
    path: Path,
    img_ids: Sequence[int],
    names: Optional[Sequence[str]] = None,
    expected_rows: Optional[int] = None,
) -> Tuple[np.ndarray, Tuple[str, ...]]:
    """Check an array of coefficients and take the rows of the frames; arguments and result as :func:`load_expressions`.

    Args:
        array: what was read from ``path``.
        path: the file, for messages.
        img_ids: the frames, ascending.
        names: one name for each coefficient; None makes names up.
        expected_rows: how many rows there must be.

    Raises:
        UserError: shape, type or a value is wrong.
    """
    try:
        _check_kind(array, path)
    except UserError as error:
        raise_or_collect(error)
        return _absent(img_ids, names)
    needed = max(img_ids) + 1
    if len(array) < needed or (expected_rows is not None and len(array) != expected_rows):
        raise_or_collect(
            UserError(
                f"{path} has {len(array)} rows but the clip needs {max(needed, expected_rows or 0)} (the row is the "
                f"img_id and the last frame is {needed - 1}); extract the coefficients from the same frames."
            )
        )
    if names is not None and len(names) != array.shape[1]:
        raise_or_collect(
            UserError(
                f"{path.parent / contract.EXPRESSION_NAMES} has {len(names)} names but {path} has {array.shape[1]} "
                "columns; write one name for each column."
            )
        )
        names = None
    names = unnamed(array.shape[1]) if names is None else tuple(names)
    present = sum(img_id < len(array) for img_id in img_ids)  # All, except where errors are collected.
    expressions = with_missing_rows(array, needed)[list(img_ids)].astype(np.float32)
    _check_finite(expressions[:present], img_ids, names, path)
    return expressions, names


def with_missing_rows(array: np.ndarray, rows: int) -> np.ndarray:
    """An array of at least ``rows`` rows; those it lacks are NaN."""
    if len(array) >= rows:
        return array
    absent = np.full((rows - len(array), *array.shape[1:]), np.nan, np.float32)
    return np.concatenate([array, absent])


def unnamed(count: int) -> Tuple[str, ...]:
    """Names for coefficients that have none: ``expr_00``, ``expr_01``, …"""
    return tuple(f"expr_{index:02d}" for index in range(count))


def choose_basis(
    train_expressions: np.ndarray, names: Sequence[str], basis_id: str, choice: BasisChoice, scale: np.ndarray
) -> ExpressionBasis:
    """Choose the coefficients a model is built on.

    Args:
        train_expressions: ``[num_train_frames, source]`` coefficients of the training frames.
        names: name of each coefficient.
        basis_id: id of their basis.
        choice: ``active`` keeps those whose scaled range in training is above 1 % of the widest; ``all`` keeps every
            one; ``pca16`` makes 16 new ones (fewer where the clip has fewer), the principal components of the scaled
            training coefficients, named ``pca_00`` and so on. A component is a direction through neutral, not through
            the mean, so that neutral stays 0.
        scale: ``[source]`` of the coefficients; see :func:`expression_scale`.

    Raises:
        UserError: no coefficient moves.
    """
    names = tuple(names)
    source = np.asarray(train_expressions, dtype=np.float64)
    num_source = source.shape[1]
    factors = np.asarray(scale, dtype=np.float64)
    spread = (source.max(0) - source.min(0)) * factors
    if choice == "all":
        projection = np.eye(num_source)
        kept_names, kept_scale = names, factors
    elif spread.max() <= 0:
        raise UserError(
            "no expression coefficient moves in the training frames; check expr.npy, or give --basis all to train a "
            "head without expressions."
        )
    elif choice == "active":
        kept = np.flatnonzero(spread > ACTIVE_SHARE * spread.max())
        projection = np.eye(num_source)[:, kept]
        kept_names, kept_scale = tuple(names[index] for index in kept), factors[kept]
    elif choice == "pca16":
        scaled = source * factors
        _, strengths, directions = np.linalg.svd(scaled - scaled.mean(0), full_matrices=False)
        count = min(PRINCIPAL_COMPONENTS, int((strengths > 1e-6 * strengths[0]).sum()))
        projection = directions[:count].T
        # The sign of a singular vector is arbitrary: let its largest entry be positive.
        largest = projection[np.abs(projection).argmax(0), np.arange(count)]
        projection = projection * np.sign(largest)
        kept_scale = np.full(count, 1.0 / np.ptp(scaled @ projection, axis=0).max())
        projection = factors[:, None] * projection
        kept_names = tuple(f"pca_{index:02d}" for index in range(count))
        basis_id = f"{basis_id}-pca{PRINCIPAL_COMPONENTS}"
    else:
        raise UserError(f"basis {choice!r} is unknown; choose active, all or pca16.")
    projection = projection.astype(np.float32)
    train = (source @ projection.astype(np.float64)).astype(np.float32)
    return ExpressionBasis(
        names, kept_names, basis_id, projection, train.min(0), train.max(0), kept_scale.astype(np.float32)
    )


def _check_kind(array: np.ndarray, path: Path) -> None:
    """Coefficients must be ``[rows, coefficients]`` of floating-point numbers."""
    if array.ndim != 2 or array.shape[1] == 0:
        raise UserError(f"{path} has shape {array.shape} but must be [frames, coefficients]; extract it again.")
    if not np.issubdtype(array.dtype, np.floating):
        raise UserError(f"{path} holds {array.dtype} values but must hold float32; save it with .astype('float32').")


def _absent(img_ids: Sequence[int], names: Optional[Sequence[str]]) -> Tuple[np.ndarray, Tuple[str, ...]]:
    """NaN in place of coefficients that cannot be had, and their names."""
    names = tuple(names) if names else unnamed(1)
    return np.full((len(img_ids), len(names)), np.nan, np.float32), names


def _check_finite(expressions: np.ndarray, img_ids: Sequence[int], names: Sequence[str], path: Path) -> None:
    """Name the values that are not finite; frames in ascending order."""
    bad = np.argwhere(~np.isfinite(expressions))
    if len(bad) == 0:
        return
    frame, coefficient = bad[0]
    frames = [img_ids[index] for index in sorted(set(bad[:, 0].tolist()))]
    others = f"; they are in {name_frames(frames)}" if len(frames) > 1 else ""
    raise_or_collect(
        UserError(
            f"{path} has {len(bad)} values that are not finite, the first at frame {img_ids[frame]}, coefficient "
            f"{coefficient} ({names[coefficient]}){others}; extract the coefficients again or drop the frames."
        )
    )


def check_range_files(root: Path, names: Sequence[str], extra: int = 0) -> None:
    """Check the shape and order of ``expr_min.npy`` and ``expr_max.npy``, with or without a leading neutral 1.

    Args:
        root: the dataset directory.
        names: the coefficients in use.
        extra: how many columns of ``expr.npy`` after those are left out; the files may have entries for them.

    Raises:
        UserError: a file is damaged or of another size, or a minimum is above its maximum.
    """
    paths = (root / contract.EXPRESSION_MIN, root / contract.EXPRESSION_MAX)
    if not all(path.exists() for path in paths):
        return
    check_ranges(paths, (file_io.load_array(paths[0]), file_io.load_array(paths[1])), names, extra)


def check_ranges(
    paths: Tuple[Path, Path], ranges: Tuple[np.ndarray, np.ndarray], names: Sequence[str], extra: int = 0
) -> None:
    """Check a minimum and a maximum of each coefficient, read from two files; see :func:`check_range_files`.

    Args:
        paths: the files of minimum and maximum, for messages.
        ranges: their contents, one number a coefficient, perhaps with a neutral 1 in front.
        names: the coefficients in use.
        extra: how many entries after those may follow.

    Raises:
        UserError: an array is of another size, or a minimum is above its maximum.
    """
    count = len(names)
    sizes = {size: leading for total in (count + extra, count) for size, leading in ((total + 1, 1), (total, 0))}
    for path, values in zip(paths, ranges):
        if values.ndim != 1 or len(values) not in sizes or values.dtype.kind != "f":
            raise UserError(
                f"{path} is {values.dtype} of shape {values.shape} but must hold {count} floats, one for each "
                "coefficient; remove it, the range is computed from the training frames."
            )
    low, high = (values[sizes[len(values)] :][:count] for values in ranges)
    bad = np.flatnonzero(~(low <= high))
    if len(bad):
        index = bad[0]
        raise UserError(
            f"{paths[0]} is above {paths[1].name} for coefficient {index} ({names[index]}): {low[index]:g} > "
            f"{high[index]:g}; remove both files, the range is computed from the training frames."
        )
