"""Whoever performs live: their coefficients and head turns become those of the person that a model shows."""

from __future__ import annotations

import threading
from typing import List, Optional, Tuple

import numpy as np
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_BASIS, ARKIT_NAMES
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.head_turns import soften
from nerfblendshape_ns.expressions.live.frame import LiveFrame
from nerfblendshape_ns.expressions.retarget import (
    CoefficientSpace,
    Retargeting,
    RetargetMode,
    match_names,
    retargeting,
)

FEWEST_FRAMES = 60
"""Frames seen before the performer's neutral face and range are estimated; until then values pass as they are."""
EVERY = 30
"""Frames between two estimates."""
MOST_FRAMES = 1200
"""Frames remembered; when there are more, every second one is forgotten, and half as many are remembered from then."""


class LivePerformer:
    """Maps live frames to a model's coefficients, learning how the performer uses theirs as the stream goes on.

    Coefficients are retargeted as those of a video (:mod:`~nerfblendshape_ns.expressions.retarget`), with the frames
    seen so far for the clip. Head turns are measured from the mean turn and kept near the range of the model's clip.

    Args:
        person: coefficients of the model, and its training frames.
        turns: ``[frames, 3]`` head turns of the model's training frames, rotation vectors in degrees from its neutral
            pose in the image's axes; they limit the performer's.
        mode: how coefficients are retargeted.

    Raises:
        UserError: no coefficient of the model is ARKit's.
    """

    def __init__(self, person: CoefficientSpace, turns: np.ndarray, mode: RetargetMode = "range") -> None:
        driver = CoefficientSpace(ARKIT_NAMES, ARKIT_BASIS, np.zeros((1, len(ARKIT_NAMES))))
        try:
            self.matched = int((match_names(driver, person) >= 0).sum())
            """How many of the model's coefficients are ARKit's."""
        except UserError:
            shown = ", ".join(person.names[:3])
            raise UserError(
                f"Live sources give ARKit's coefficients and this model knows none of them (it has {shown}, …); "
                "train on a dataset with ARKit names to drive it live."
            ) from None
        self._person, self._turns = person, turns
        self._mode: RetargetMode = mode
        self._lock = threading.Lock()
        self._frames: List[Tuple[np.ndarray, Optional[np.ndarray]]] = []
        self._count, self._stride = 0, 1
        self._last: Optional[LiveFrame] = None
        self._calibrated: Optional[np.ndarray] = None
        self._straight: Optional[np.ndarray] = None
        self._mean_turn: Optional[np.ndarray] = None
        self._map = self._estimate()

    def calibrate(self) -> None:
        """Take the last frame for the performer's neutral face and head pose from now on.

        Raises:
            UserError: there was none.
        """
        with self._lock:
            if self._last is None:
                raise UserError("No face has been received yet; start the source, then calibrate.")
            self._calibrated, self._straight = _vector(self._last), self._last.turn
            self._map = self._estimate()

    def retarget(self, mode: RetargetMode) -> None:
        """Retarget in another way from now on; what was learnt and calibrated stays."""
        with self._lock:
            self._mode = mode
            self._map = self._estimate()

    def __call__(self, frame: LiveFrame) -> Tuple[np.ndarray, Optional[np.ndarray]]:
        """Take the next frame.

        Returns:
            The model's coefficients, float32 ``[basis]``, raw units, and the head's turn ``[3, 3]`` from the neutral
            pose in the image's axes; None where the source does not say.
        """
        with self._lock:
            values = _vector(frame)
            self._remember(values, frame)
            coefficients = self._map.apply(values[None], clamp=False)[0].astype(np.float32)
            straight = self._mean_turn if self._straight is None else self._straight
            if frame.turn is None or straight is None:
                return coefficients, None
            turn = Rotation.from_matrix(frame.turn @ straight.T).as_rotvec(degrees=True)
            return coefficients, Rotation.from_rotvec(soften(turn[None], self._turns)[0], degrees=True).as_matrix()

    def _remember(self, values: np.ndarray, frame: LiveFrame) -> None:
        self._last = frame
        if self._count % self._stride == 0:
            self._frames.append((values, frame.turn))
            if len(self._frames) > MOST_FRAMES:
                self._frames, self._stride = self._frames[::2], 2 * self._stride
        if self._count % EVERY == 0:
            turns = [turn for _, turn in self._frames if turn is not None]
            self._mean_turn = Rotation.from_matrix(np.stack(turns)).mean().as_matrix() if turns else None
            self._map = self._estimate()
        self._count += 1

    def _estimate(self) -> Retargeting:
        frames = np.stack([values for values, _ in self._frames] or [np.zeros(len(ARKIT_NAMES))])
        mode: RetargetMode = self._mode if self._count >= FEWEST_FRAMES else "none"
        return retargeting(CoefficientSpace(ARKIT_NAMES, ARKIT_BASIS, frames), self._person, mode, self._calibrated)


def _vector(frame: LiveFrame) -> np.ndarray:
    """Float64 ``[52]`` in the order of :data:`ARKIT_NAMES`; what did not come is 0."""
    return np.array([frame.coefficients.get(name, 0.0) for name in ARKIT_NAMES])
