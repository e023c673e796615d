"""How far the face's landmarks are off: the tracker looks at the render and at the truth."""

from __future__ import annotations

from typing import Dict, Optional, Union

import cv2
import numpy as np
from jaxtyping import Float
from torch import Tensor

from nerfblendshape_ns.avatar.avatar import byte_image
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import LEFT_EYE_LANDMARKS, MESH_POINTS, RIGHT_EYE_LANDMARKS
from nerfblendshape_ns.process_data.face.canonical_face import NUM_LANDMARKS
from nerfblendshape_ns.process_data.face.face_landmarker import Detector, FaceLandmarker
from nerfblendshape_ns.process_data.networks.model_files import LANDMARKER, ModelUnavailable

LEAST_SIDE = 256
"""Smaller images are enlarged to this shorter side for the tracker."""
OUTER_EYE_CORNERS = (33, 263)
GROUPS = {
    "landmarks": list(range(MESH_POINTS)),
    "lids": [*RIGHT_EYE_LANDMARKS, *LEFT_EYE_LANDMARKS],
    "irises": list(range(MESH_POINTS, NUM_LANDMARKS)),
}
"""Numbers of the landmarks behind each measure: the face mesh, the outlines of both eyes, both irises."""


class LandmarkDistance:
    """Mean distance of the landmarks found in a render from those found in the truth.

    Every image is looked at alone, so no image's landmarks are smoothed towards another's. The noise floor, on heads of
    128 to 512 pixels: 0.5 to 1 % for noise of 2 % or a Gaussian blur of half a hundredth of the image.

    Args:
        detect: finds the face of a uint8 RGB image.
    """

    def __init__(self, detect: Detector) -> None:
        self._detect = detect

    @classmethod
    def find(cls) -> Union[LandmarkDistance, str]:
        """The distance by MediaPipe's Face Landmarker, or a sentence why it cannot be had.

        Its model comes from where ``nbs-process-data`` has it from.

        Raises:
            UserError: the path in ``NBS_FACE_LANDMARKER`` is wrong.
        """
        try:
            model = LANDMARKER.find()
        except ModelUnavailable as error:
            return str(error)
        try:
            return cls(FaceLandmarker(model))
        except UserError as error:  # No LiteRT on this machine.
            return str(error)

    def __call__(
        self, prediction: Float[Tensor, "height width 3"], truth: Float[Tensor, "height width 3"]
    ) -> Dict[str, float]:
        """``landmarks lids irises``: mean distances, in percent of that between the truth's outer eye corners.

        Args:
            prediction: in [0, 1].
            truth: in [0, 1], of the same size.

        Returns:
            All NaN where no face is found in either image.
        """
        found, expected = self._landmarks(prediction), self._landmarks(truth)
        if found is None or expected is None:
            return {name: float("nan") for name in GROUPS}
        right, left = expected[list(OUTER_EYE_CORNERS)]
        distances = 100.0 * np.linalg.norm(found - expected, axis=-1) / np.linalg.norm(right - left)
        return {name: float(distances[numbers].mean()) for name, numbers in GROUPS.items()}

    def _landmarks(self, image: Tensor) -> Optional[np.ndarray]:
        """Pixels ``[478, 2]`` of the enlarged image; None where there is no face."""
        pixels = byte_image(image.float())
        scale = LEAST_SIDE / min(pixels.shape[:2])
        if scale > 1.0:
            pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        faces = self._detect(pixels)
        return faces[0].landmarks[:, :2].astype(np.float64) if faces else None
