"""Label probabilities of single frames, before they are averaged over time and follow the image's edges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Callable, Iterable, Optional, Tuple

import numpy as np

from nerfblendshape_ns.process_data.labels.clip_model import ClipModel, SampleFrame
from nerfblendshape_ns.process_data.labels.colour_models import colour_bins
from nerfblendshape_ns.process_data.labels.face_layout import FaceGeometry


class LabelEvidence(ABC):
    """Probabilities of background, head, neck and torso in single frames."""

    @abstractmethod
    def fit(self, samples: Iterable[Tuple[np.ndarray, FaceGeometry]]) -> None:
        """Learn from frames spread over the clip: pairs of uint8 RGB ``[height, width, 3]`` and the face's geometry."""

    @abstractmethod
    def probabilities(self, image: np.ndarray, geometry: FaceGeometry) -> np.ndarray:
        """Probabilities of background, head, neck and torso in one frame.

        Args:
            image: uint8 RGB ``[height, width, 3]`` at working size.
            geometry: where the face lies in it.

        Returns:
            float32 ``[4, height, width]``, summing to 1.
        """


class ClipEvidence(LabelEvidence):
    """A person mask, and the clip's own colours and positions (:mod:`.clip_model`).

    Args:
        person_mask: gives the probability that each pixel of a uint8 RGB image belongs to a person.
    """

    def __init__(self, person_mask: Callable[[np.ndarray], np.ndarray]) -> None:
        self._person_mask = person_mask
        self._model: Optional[ClipModel] = None

    def fit(self, samples: Iterable[Tuple[np.ndarray, FaceGeometry]]) -> None:
        """Fit the clip model."""
        self._model = ClipModel([self._sample(image, geometry) for image, geometry in samples])

    def probabilities(self, image: np.ndarray, geometry: FaceGeometry) -> np.ndarray:
        """As :meth:`LabelEvidence.probabilities`; :meth:`fit` comes first."""
        assert self._model is not None, "fit comes before probabilities"
        return self._model.label_probabilities(self._sample(image, geometry))

    def _sample(self, image: np.ndarray, geometry: FaceGeometry) -> SampleFrame:
        return SampleFrame(colour_bins(image), self._person_mask(image), geometry)
