"""Person against background: MediaPipe's general selfie segmentation network (256 x 256 pixels)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from nerfblendshape_ns.process_data.networks.litert import Network, stretched


class PersonMask:
    """Runs the network, each frame by itself.

    Args:
        model: ``selfie_segmentation.tflite``.

    Raises:
        UserError: the file is not that model.
    """

    def __init__(self, model: Path) -> None:
        self._network = Network(model.read_bytes(), model)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Probability that each pixel belongs to a person.

        Args:
            frame: uint8 RGB ``[height, width, 3]``.

        Returns:
            float32 ``[height, width]`` in 0..1.
        """
        (mask,) = self._network(stretched(frame, *self._network.input_size)).values()
        height, width = frame.shape[:2]
        resized = cv2.resize(mask.reshape(mask.shape[1:3]), (width, height), interpolation=cv2.INTER_LINEAR)
        return np.clip(resized, 0.0, 1.0)
