"""The state of the controls: immutable snapshots, changed under a lock and read without one."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any, Callable, List, Literal, Optional, Tuple

import numpy as np

from nerfblendshape_ns.viewer.coefficients import CoefficientTable

Source = Literal["captured frame", "manual", "playback", "live"]
"""Where the shown expression comes from."""
SOURCES: Tuple[Source, ...] = ("captured frame", "manual", "playback", "live")
Color = Tuple[float, float, float]
"""Red, green and blue in [0, 1]."""


@dataclass(frozen=True, eq=False)
class ControlState:
    """Everything that decides a rendered image, at one moment. Arrays in it are never written to."""

    manual: np.ndarray
    """``[basis]`` coefficients of the sliders, raw units."""
    live: np.ndarray
    """``[basis]`` coefficients last received."""
    turn: Optional[np.ndarray] = None
    """``[3, 3]`` head turn last received, from the captured head pose, in the axes of the captured image; None leaves
    the head as it was captured."""
    came: float = 0.0
    """``time.monotonic`` of the last received frame."""
    source: Source = "captured frame"
    """What drives."""
    frame: int = 0
    """Frame of the clip, of captured frame and playback; its head pose serves every source."""
    playing: bool = False
    """Whether playback advances."""
    speed: float = 1.0
    """Of the playback; 1 is the clip's own."""
    gain: float = 1.0
    """Exaggeration about the neutral face, applied after clamping."""
    clamp: bool = True
    """Whether coefficients are limited to the training range."""
    symmetric: bool = False
    """Whether an edit of one side of the face edits the other."""
    background: Optional[Color] = None
    """Colour behind the head; None is the model's own background."""

    def base(self, table: CoefficientTable) -> np.ndarray:
        """The coefficients ``[basis]`` of the source, before clamp and gain."""
        if self.source == "manual":
            return self.manual
        if self.source == "live":
            return self.live
        return table.track[self.frame]

    def expression(self, table: CoefficientTable) -> np.ndarray:
        """The coefficients ``[basis]`` that are rendered."""
        return table.effective(self.base(table), self.clamp, self.gain)


class StateStore:
    """Holds the current snapshot.

    Any thread may read :attr:`state` at any time: it is replaced as a whole, so a reader sees all of a change or none.
    Changes are made one after the other. Each counts up :attr:`version` and calls the listeners once, however many
    fields it touches.

    Args:
        state: the first snapshot.
    """

    def __init__(self, state: ControlState) -> None:
        self.current: Tuple[int, ControlState] = (0, state)
        """Version and snapshot that belong together."""
        self._lock = threading.Lock()
        self._listeners: List[Callable[[ControlState, ControlState], None]] = []

    @property
    def state(self) -> ControlState:
        """The current snapshot."""
        return self.current[1]

    @property
    def version(self) -> int:
        """How many changes there have been."""
        return self.current[0]

    def subscribe(self, listener: Callable[[ControlState, ControlState], None]) -> None:
        """Call ``listener(before, after)`` after each change, in the thread that made it."""
        self._listeners.append(listener)

    def change(self, how: Callable[[ControlState], Optional[ControlState]]) -> ControlState:
        """Replace the snapshot.

        Args:
            how: makes the new snapshot from the current one; None or the same object leaves it. It runs under the
                lock, so that whatever it reads is the latest.
        """
        with self._lock:
            version, before = self.current
            after = how(before)
            if after is None or after is before:
                return before
            self.current = (version + 1, after)
        for listener in self._listeners:
            listener(before, after)
        return after

    def set(self, **fields: Any) -> ControlState:
        """Replace some fields of the snapshot."""
        return self.change(lambda state: replace(state, **fields))


def changes_image(before: ControlState, after: ControlState) -> bool:
    """Whether a change can be seen in a render."""
    if (before.source, before.frame, before.gain, before.clamp, before.background) != (
        after.source,
        after.frame,
        after.gain,
        after.clamp,
        after.background,
    ):
        return True
    if after.source == "manual":
        return after.manual is not before.manual
    return after.source == "live" and (after.live is not before.live or after.turn is not before.turn)


def is_streamed(before: ControlState, after: ControlState) -> bool:
    """Whether a change is one of a stream (playback, live) rather than somebody's doing."""
    if before.source != after.source:
        return False
    advanced = after.source == "playback" and after.playing and before.frame != after.frame
    return advanced or after.live is not before.live
