"""What the controls do, as functions from one state to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import numpy as np

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.viewer.coefficients import CoefficientTable
from nerfblendshape_ns.viewer.state import SOURCES, ControlState


class Actions:
    """The edits that a person can make.

    Args:
        table: the model's coefficients.
        seed: of random expressions; None draws others each time.
    """

    def __init__(self, table: CoefficientTable, seed: Optional[int] = None) -> None:
        self.table = table
        self._generator = np.random.default_rng(seed)

    def initial(self) -> ControlState:
        """The first training frame, which is also what nerfstudio's viewer shows first; neutral without a clip."""
        neutral = self.table.neutral
        state = ControlState(manual=neutral, live=neutral, frame=int(self.table.train_frames[0]))
        return state if self.table.num_frames > 1 else replace(state, source="manual")

    def choose_source(self, state: ControlState, source: str) -> ControlState:
        """Change what drives; choosing playback starts it."""
        chosen = next(name for name in SOURCES if name == source)
        return replace(state, source=chosen, playing=chosen == "playback")

    def choose_frame(self, state: ControlState, frame: int) -> ControlState:
        """Show a frame of the clip; a playback continues from there."""
        frame = min(max(int(frame), 0), self.table.num_frames - 1)
        source = "playback" if state.source == "playback" else "captured frame"
        return replace(state, frame=frame, source=source)

    def play(self, state: ControlState) -> ControlState:
        """Start or continue the playback."""
        return replace(state, source="playback", playing=True)

    def pause(self, state: ControlState) -> ControlState:
        """Stop the playback at the frame it shows."""
        return replace(state, playing=False)

    def edit(self, state: ControlState, index: int, value: float) -> ControlState:
        """Set one coefficient of the expression that is shown, whatever drove it; by hand from then on."""
        base = state.base(self.table)
        if state.source != "manual" and state.clamp:
            base = self.table.clamp(base)
        return self._by_hand(state, self.table.edited(base, index, value, state.symmetric))

    @staticmethod
    def set(field: str) -> Callable[[ControlState, Any], ControlState]:
        """An action that sets one field of the state to the value it is given."""
        return lambda state, value: replace(state, **{field: value})

    def neutral(self, state: ControlState) -> ControlState:
        """Set all coefficients to neutral."""
        return self._by_hand(state, self.table.neutral)

    def to_frame(self, state: ControlState) -> ControlState:
        """Set all coefficients to those of the frame that the frame slider names."""
        shown = self.table.track[state.frame]
        return self._by_hand(state, self.table.clamp(shown) if state.clamp else shown)

    def random(self, state: ControlState) -> ControlState:
        """Set all coefficients at random."""
        return self._by_hand(state, self.table.random(self._generator))

    def named(self, state: ControlState) -> Dict[str, float]:
        """The shown coefficients by name, after clamp and gain."""
        return {name: float(value) for name, value in zip(self.table.names, state.expression(self.table))}

    def load(self, state: ControlState, values: Mapping[str, float]) -> Tuple[ControlState, List[str]]:
        """Show exactly the coefficients given; the gain becomes 1, and clamping ends where it would change them.

        Args:
            state: before.
            values: by name, raw units; names that are missing become neutral.

        Returns:
            The new state and the names that the model lacks.

        Raises:
            UserError: the model has none of the names.
        """
        vector, unknown = self.table.from_names(values)
        if len(unknown) == len(values):
            raise UserError(
                f"The expression has none of this model's {len(self.table)} coefficients (it has "
                f"{', '.join(unknown[:3]) or 'none at all'}); load one that was saved with the same basis."
            )
        inside = np.allclose(self.table.clamp(vector), vector, atol=1e-5)
        return replace(self._by_hand(state, vector), gain=1.0, clamp=state.clamp and inside), unknown

    @staticmethod
    def _by_hand(state: ControlState, manual: np.ndarray) -> ControlState:
        return replace(state, manual=manual, source="manual", playing=False)
