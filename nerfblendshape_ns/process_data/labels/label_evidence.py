"""What tells background, head, neck and torso of a frame apart, before time and edges have their say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Iterable, Optional, Tuple

import numpy as np

from nerfblendshape_ns.process_data.labels.clip_model import ClipModel, SampleFrame
from nerfblendshape_ns.process_data.labels.colour_models import colour_bins
from nerfblendshape_ns.process_data.labels.face_layout import FaceGeometry
from nerfblendshape_ns.process_data.labels.person_mask import PersonMask


class LabelEvidence(ABC):
    """Label probabilities of single frames; a context manager, so that networks are released."""

    def __enter__(self) -> LabelEvidence:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @abstractmethod
    def fit(self, samples: Iterable[Tuple[np.ndarray, FaceGeometry]]) -> None:
        """Learn from frames spread over the clip: pairs of uint8 RGB ``[height, width, 3]`` and the face's layout."""

    @abstractmethod
    def probabilities(self, image: np.ndarray, geometry: FaceGeometry) -> np.ndarray:
        """Probabilities of background, head, neck and torso in one frame.

        Args:
            image: uint8 RGB ``[height, width, 3]`` at working size.
            geometry: where the face lies in it.

        Returns:
            float32 ``[4, height, width]``, summing to 1.
        """

    @abstractmethod
    def close(self) -> None:
        """Release what was opened."""


class ClipEvidence(LabelEvidence):
    """MediaPipe's bundled person mask, and the clip's own colours and places (:mod:`.clip_model`).

    Raises:
        UserError: MediaPipe with its bundled models is not installed.
    """

    def __init__(self, person_mask: Optional[PersonMask] = None) -> None:
        self._person_mask = person_mask or PersonMask()
        self._model: Optional[ClipModel] = None

    def fit(self, samples: Iterable[Tuple[np.ndarray, FaceGeometry]]) -> None:
        """Fit the clip model."""
        self._model = ClipModel([self._sample(image, geometry) for image, geometry in samples])

    def probabilities(self, image: np.ndarray, geometry: FaceGeometry) -> np.ndarray:
        """As :meth:`LabelEvidence.probabilities`; :meth:`fit` comes first."""
        assert self._model is not None, "fit comes before probabilities"
        return self._model.label_probabilities(self._sample(image, geometry))

    def close(self) -> None:
        """Release the person network."""
        self._person_mask.close()

    def _sample(self, image: np.ndarray, geometry: FaceGeometry) -> SampleFrame:
        return SampleFrame(colour_bins(image), self._person_mask(image), geometry)
