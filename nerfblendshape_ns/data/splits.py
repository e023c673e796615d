"""Which frames train, validate and test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from nerfblendshape_ns.data.contract import default_test_frames
from nerfblendshape_ns.errors import UserError


@dataclass(frozen=True)
class Splits:
    """Positions of a clip's frames, in order: training, then validation, then test."""

    train: np.ndarray
    """int64 positions of the training frames."""
    val: np.ndarray
    """int64 positions of the validation frames: between training and test, in neither."""
    test: np.ndarray
    """int64 positions of the test frames: the end of the clip."""


def default_val_frames(num_train_frames: int) -> int:
    """Number of validation frames: 2 % of the frames before the test split, between 2 and 50."""
    return min(50, max(2, round(0.02 * num_train_frames)))


def split_frames(num_frames: int, test_frames: Optional[int] = None, val_frames: Optional[int] = None) -> Splits:
    """Split a clip: the end is test, the frames before it are validation, the rest trains.

    Args:
        num_frames: number of frames in the clip.
        test_frames: number of test frames; None takes 500, or 10 % of a clip under 2,500 frames.
        val_frames: number of validation frames; None takes :func:`default_val_frames`.

    Raises:
        UserError: a number is below 1, or too few frames are left for training.
    """
    test_count = default_test_frames(num_frames) if test_frames is None else test_frames
    val_count = default_val_frames(num_frames - test_count) if val_frames is None else val_frames
    for option, count in (("--test-frames", test_count), ("--val-frames", val_count)):
        if count < 1:
            raise UserError(f"{option} is {count} but at least one frame is needed; give a larger number.")
    if num_frames - test_count - val_count < 1:
        raise UserError(
            f"the clip has {num_frames} frames, fewer than {test_count} for test, {val_count} for validation and one "
            "for training; give smaller --test-frames and --val-frames or a longer clip."
        )
    positions = np.arange(num_frames, dtype=np.int64)
    first_test = num_frames - test_count
    first_val = first_test - val_count
    return Splits(positions[:first_val], positions[first_val:first_test], positions[first_test:])
