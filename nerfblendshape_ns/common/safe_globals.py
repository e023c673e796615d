"""Lets ``torch.load(weights_only=True)`` read the checkpoints that nerfstudio 1.1.5 writes."""

from __future__ import annotations

from typing import Any, List

import numpy as np
import torch


def register_checkpoint_globals() -> None:
    """Allow the numpy scalars inside nerfstudio's scheduler state in weights-only checkpoint loading.

    torch 2.6 made ``weights_only=True`` the default of ``torch.load``; nerfstudio 1.1.5 stores numpy floats in
    ``_last_lr`` and could no longer load its own checkpoints. The scalars are plain data, so allowing them keeps the
    safe default instead of turning it off.
    """
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(code)) for code in ("f4", "f8", "i4", "i8")]
    # numpy 2 moved the module; torch matches by the name a file was written with.
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    allowed: List[Any] = [*((scalar, name) for name in names), np.dtype, *dtypes]
    torch.serialization.add_safe_globals(allowed)
