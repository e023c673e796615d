"""Which frames train, validate and test: the protocols of the field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional, Sequence

import numpy as np

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import default_test_frames

Protocol = Literal["tail10", "last350", "last500", "radnerf"]
"""Name of a rule that says which frames of a clip are tested:

``tail10``: the last 10 % of the frames, the last 500 of a clip of 2,500 frames or more;
``last350``: the last 350 frames, as INSTA tests;
``last500``: the last 500 frames, as NeRFBlendShape tests;
``radnerf``: the first 10/11 train, the rest is tested, as RAD-NeRF and ER-NeRF do; where the dataset itself says which
frames are held out (``transforms_val.json``, or ``held_out`` of a converted dataset's frames), those.
"""

SPLIT_FILE = "split.json"
"""File beside a run's ``config.yml``: the name of its protocol and the ``img_id`` of its frames in each split."""


@dataclass(frozen=True)
class Splits:
    """Positions of a clip's frames in training, validation and test, each in order; no frame is in two of them."""

    train: np.ndarray
    """int64 positions of the training frames."""
    val: np.ndarray
    """int64 positions of the validation frames: the last of those that are not tested."""
    test: np.ndarray
    """int64 positions of the test frames."""


def protocol_name(protocol: Protocol, test_frames: Optional[int] = None) -> str:
    """The protocol's name; that of an explicit number of test frames is ``last20`` and the like."""
    return protocol if test_frames is None else f"last{test_frames}"


def default_val_frames(num_train_frames: int) -> int:
    """Number of validation frames: 2 % of the frames that are not tested, between 2 and 50."""
    return min(50, max(2, round(0.02 * num_train_frames)))


def split_frames(
    num_frames: int,
    test_frames: Optional[int] = None,
    val_frames: Optional[int] = None,
    protocol: Protocol = "tail10",
    held_out: Sequence[int] = (),
) -> Splits:
    """Split a clip: the protocol's frames are tested, the last of the others validate, the rest trains.

    Args:
        num_frames: number of frames in the clip.
        test_frames: number of frames at the end that are tested, in place of the protocol's; None follows the protocol.
        val_frames: number of validation frames; None takes :func:`default_val_frames`.
        protocol: which frames are tested.
        held_out: positions of the frames that the dataset itself keeps for testing, which ``radnerf`` goes by; empty
            where it says nothing.

    Raises:
        UserError: a number is below 1, or too few frames are left for training.
    """
    own = held_out if protocol == "radnerf" and test_frames is None else ()
    test_count = len(own) or _test_count(num_frames, protocol, test_frames)
    val_count = default_val_frames(num_frames - test_count) if val_frames is None else val_frames
    for option, count in (("--test-frames", test_count), ("--val-frames", val_count)):
        if count < 1:
            raise UserError(f"{option} is {count} but at least one frame is needed; give a larger number.")
    if num_frames - test_count - val_count < 1:
        ways = ["smaller --test-frames and --val-frames"]
        if test_frames is None:
            ways = ["a smaller --val-frames"] if protocol == "tail10" else ["--protocol tail10", "--test-frames"]
        raise UserError(
            f"the clip has {num_frames} frames, too few for the protocol {protocol_name(protocol, test_frames)}: "
            f"{test_count} for test, {val_count} for validation and at least one for training; give "
            f"{' or '.join(ways)}, or take a longer clip."
        )
    positions = np.arange(num_frames, dtype=np.int64)
    test = np.sort(np.asarray(own, dtype=np.int64)) if len(own) else positions[num_frames - test_count :]
    rest = np.setdiff1d(positions, test)
    return Splits(rest[:-val_count], rest[-val_count:], test)


def _test_count(num_frames: int, protocol: Protocol, test_frames: Optional[int]) -> int:
    if test_frames is not None:
        return test_frames
    if protocol == "radnerf":
        return num_frames - num_frames * 10 // 11
    return _LAST.get(protocol) or default_test_frames(num_frames)


_LAST = {"last350": 350, "last500": 500}
