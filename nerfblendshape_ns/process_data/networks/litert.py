"""Running TensorFlow Lite networks with LiteRT; the only part of the package that knows it."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.library_output import LITERT_LINES, without_lines
from nerfblendshape_ns.common.parallel import PerThread


class Network:
    """A network with one input, for any number of threads.

    Args:
        content: of a ``.tflite`` file.
        origin: where it comes from, for messages.

    Raises:
        UserError: LiteRT is not installed, or this is no TensorFlow Lite model that it can run.
    """

    def __init__(self, content: bytes, origin: Path) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise UserError(
                f"LiteRT, which runs the tracking networks, cannot be imported ({error}); run pip install "
                "'ai-edge-litert>=2.3,<3' (Linux, Windows, macOS on Apple silicon)."
            ) from error

        self._content = content  # LiteRT reads the weights where they lie.

        def interpreter() -> Interpreter:
            with without_lines(LITERT_LINES):
                made = Interpreter(model_content=content, num_threads=1)
                made.allocate_tensors()
            return made

        # One interpreter holds the values of one run.
        self._interpreter = PerThread(interpreter)
        try:
            first = self._interpreter()
            self._input = first.get_input_details()[0]
        except (RuntimeError, ValueError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"LiteRT cannot run the network in {origin} ({reason}); give the right file.") from error
        self._outputs = first.get_output_details()

    @property
    def input_size(self) -> Tuple[int, int]:
        """Height and width of the image that the network takes."""
        _, height, width, _ = self._input["shape"]
        return int(height), int(width)

    @property
    def takes_image(self) -> bool:
        """Whether the input is one RGB image of real numbers."""
        shape = self._input["shape"]
        return len(shape) == 4 and shape[0] == 1 and shape[3] == 3 and self._input["dtype"] == np.float32

    @property
    def output_shapes(self) -> List[Tuple[int, ...]]:
        """Shape of each output, the batch's 1 first."""
        return [tuple(int(side) for side in output["shape"]) for output in self._outputs]

    def __call__(self, values: np.ndarray) -> Dict[str, np.ndarray]:
        """Run the network.

        Args:
            values: anything that has as many values as the input.

        Returns:
            float32 outputs by name.
        """
        shaped = values.reshape(self._input["shape"]).astype(np.float32)
        interpreter = self._interpreter()
        interpreter.set_tensor(self._input["index"], shaped)
        interpreter.invoke()
        return {output["name"]: interpreter.get_tensor(output["index"]) for output in self._outputs}


def stretched(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image resized as MediaPipe does for its networks: bilinear, corners on corners, without a low-pass filter.

    Args:
        image: uint8 RGB.
        height: of the result.
        width: of the result.

    Returns:
        float32 ``[height, width, 3]`` in 0..1.
    """
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float32)
    source = corners * np.array([image.shape[1], image.shape[0]], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(source, corners * np.array([width, height], dtype=np.float32))
    resized = cv2.warpPerspective(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return resized.astype(np.float32) / 255
