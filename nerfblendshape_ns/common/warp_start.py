"""The start of Warp, without what it then says of itself."""

from __future__ import annotations

from functools import cache

import warp as wp

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.library_output import (
    WARP_ON_OLD_PYTHON,
    WARP_WITHOUT_DRIVER,
    nvidia_gpu_possible,
    without_lines,
)


@cache
def start_warp() -> None:
    """Initialise Warp, once; before it Warp knows no CUDA device. Call it before any function of Warp's that computes.

    Compiling a kernel on first use is nothing to report on the console, nor is a missing CUDA driver on a machine
    without a GPU of NVIDIA's. A log level that a user set stays.

    Raises:
        UserError: compiled kernels have no place, as in a container whose user has no home.
    """
    if wp.config.log_level == wp.LOG_INFO:  # Warp's default.
        wp.config.log_level = wp.LOG_WARNING
    with without_lines([WARP_ON_OLD_PYTHON] + ([] if nvidia_gpu_possible() else [WARP_WITHOUT_DRIVER])):
        try:
            wp.init()
        except OSError as error:
            raise UserError(
                f"Warp cannot make the folder of its compiled kernels ({error}); name one that can be written in the "
                "environment variable WARP_CACHE_PATH."
            ) from error
