"""Plays the clip's own expressions: a clock that advances the frame of the state in real time."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Optional

import numpy as np

from nerfblendshape_ns.viewer.state import ControlState, StateStore

SPEED_RANGE = (0.1, 3.0)
"""Slowest and fastest playback, 1 being the clip's own."""
_SHORTEST_TICK, _LONGEST_TICK = 0.01, 0.1


class PlaybackClock:
    """Advances ``frame`` while the source is playback and ``playing`` is set.

    The frame follows the wall clock: where rendering is slower than the clip, frames are left out and the speed stays
    right. The clip starts again after its last frame. A frame set from elsewhere is taken up from there.

    Args:
        store: the state.
        seconds: ``[frames]`` when each frame of the clip was filmed, since the first.
        fps: of the clip.
    """

    def __init__(self, store: StateStore, seconds: np.ndarray, fps: float) -> None:
        self._store = store
        self._seconds, self._fps = seconds, fps
        self._position = 0.0
        self._lock = threading.Lock()
        self._thread: Optional[threading.Thread] = None

    def start(self) -> None:
        """Begin to tick; does nothing while it ticks."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="nbs-viewer-playback", daemon=True)
                self._thread.start()

    @staticmethod
    def _plays(state: ControlState) -> bool:
        return state.playing and state.source == "playback"

    def _run(self) -> None:
        last = time.monotonic()
        while True:
            with self._lock:
                state = self._store.state
                if not self._plays(state):
                    self._thread = None
                    return
            time.sleep(min(max(0.5 / (self._fps * state.speed), _SHORTEST_TICK), _LONGEST_TICK))
            now = time.monotonic()
            self.advance(now - last)
            last = now

    def _frame(self) -> int:
        # A rounding error must not hold a frame back.
        return int(np.searchsorted(self._seconds, self._position + 1e-6, side="right")) - 1

    def advance(self, seconds: float) -> None:
        """Move on by so many seconds at the state's speed."""

        def move(state: ControlState) -> Optional[ControlState]:
            if not self._plays(state):
                return None
            if self._frame() != state.frame:
                self._position = float(self._seconds[state.frame])
            duration = self._seconds[-1] + 1.0 / self._fps
            self._position = (self._position + seconds * state.speed) % duration
            frame = self._frame()
            return None if frame == state.frame else replace(state, frame=frame)

        self._store.change(move)
