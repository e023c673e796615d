"""Arrays of expression coefficients that datasets hold: reading and checking them."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.coefficient_names.unnamed import unnamed
from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError, collected, raise_or_collect
from nerfblendshape_ns.common.frame_numbers import name_frames
from nerfblendshape_ns.data import contract


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
        wanted = max(needed, expected_rows or 0)
        # As nbs-check advises to drop frames, which may be the last.
        cut = "cut off the rows of frames that were dropped, or " if len(array) > wanted else ""
        raise_or_collect(
            UserError(
                f"{path} has {len(array)} rows but the clip needs {wanted} (the row is the img_id and the last frame "
                f"is {needed - 1}); {cut}extract the coefficients from the same frames."
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
    expressions = rows_of(array, img_ids).astype(np.float32)
    _check_finite(expressions[:present], img_ids, names, path)
    return expressions, names


def rows_of(array: np.ndarray, rows: Sequence[int]) -> np.ndarray:
    """Rows of an array, in ascending order; those it lacks, which are the last, are NaN."""
    present = [row for row in rows if row < len(array)]
    absent = np.full((len(rows) - len(present), *array.shape[1:]), np.nan, np.float32)
    return np.concatenate([array[present], absent]) if len(absent) else array[present]


def _check_kind(array: np.ndarray, path: Path) -> None:
    """Coefficients must be ``[rows, coefficients]`` of floating-point numbers."""
    if array.ndim != 2 or array.size == 0:
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
        ranges: their contents, one number per coefficient, perhaps with a neutral 1 in front.
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
