"""When the frames of a dataset were filmed."""

from __future__ import annotations

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.layouts.clip import Clip


def frame_times(clip: Clip) -> np.ndarray:
    """Seconds of each frame since the start of the source video, float64 ``[frames]``.

    Frames that data preparation dropped leave gaps in time though not in numbering; ``frame_times.npy`` has the exact
    times.

    Raises:
        UserError: the file holds anything else than ascending times.
    """
    numbers, path = clip.img_ids, clip.root / contract.FRAME_TIMES
    if not path.exists():
        return numbers / clip.fps
    exact = file_io.load_array(path)
    if exact.ndim != 1 or exact.dtype.kind != "f":
        raise UserError(f"{path} is {exact.dtype} of shape {exact.shape}, not the seconds of each frame; remove it.")
    if numbers.max() >= len(exact):
        return numbers / clip.fps
    times = exact[numbers].astype(np.float64)
    if not np.isfinite(times).all() or not (np.diff(times) > 0).all():
        raise UserError(f"{path} holds times that do not ascend; remove it.")
    return times
