"""Person against background: the selfie segmentation network that MediaPipe's wheel contains."""

from __future__ import annotations

from typing import Any

import numpy as np

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.library_output import MEDIAPIPE_LINES, without_lines


class PersonMask:
    """Runs MediaPipe's bundled general selfie segmentation model (256 x 256 input), each frame by itself.

    Raises:
        UserError: MediaPipe with its bundled models is not installed.
    """

    def __init__(self) -> None:
        try:
            from mediapipe.python.solutions import selfie_segmentation
        except ImportError:
            raise UserError(
                "person segmentation needs MediaPipe 0.10.9 with its bundled models; install this package with the "
                "extra [track], on Python 3.10 or 3.11."
            ) from None
        with without_lines(MEDIAPIPE_LINES):
            self._network: Any = selfie_segmentation.SelfieSegmentation(model_selection=0)

    def close(self) -> None:
        """Release the network."""
        self._network.close()

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Probability that each pixel belongs to a person.

        Args:
            frame: uint8 RGB ``[height, width, 3]``.

        Returns:
            float32 ``[height, width]`` in 0..1.
        """
        mask = self._network.process(np.ascontiguousarray(frame)).segmentation_mask
        return np.clip(np.asarray(mask, dtype=np.float32).reshape(frame.shape[:2]), 0.0, 1.0)
