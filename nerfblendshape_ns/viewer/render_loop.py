"""Asks nerfstudio's viewer for images: at once, one for many changes, and not too small.

nerfstudio has one ``RenderStateMachine``, a thread, for each browser. It takes the last action it was given, so changes
that come while it renders end in one render. Three of its habits get in the way of driving a face, and are met here:

- An action that reaches a machine which has finished its full-size image also raises the flag that interrupts a
  full-size render under way. Nothing is under way, so the flag stops the very render that was asked for, and nothing is
  shown until the machine has waited 0.2 s. The loop asks again when the newest state was not rendered.
- While things move, it renders as many pixels as fit 1/30 s, on a CPU down to 30 lines. A face needs more.
- Images and training steps wait for one lock, which is not fair: a clip that plays would hold training still. Between
  two images that nobody waits for the lock is left alone, as long as an image takes, and a machine that is left
  without work for 0.2 s is kept from beginning its full-size image.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, Set

from nerfstudio.viewer.render_state_machine import RenderAction, RenderStateMachine
from nerfstudio.viewer.viewer import Viewer

from nerfblendshape_ns.common.rate import Rate

MOVING_SIDE = 128
"""Pixels that the shorter side of an image keeps while it moves."""
_RETRY_SECONDS, _RETRIES = 0.01, 1000
TRAINING_SECONDS, MOST_TRAINING_SECONDS = 0.15, 1.0
"""Training gets at least and at most this long between two images of playback: as long as an image takes."""
_LONGEST_IMAGE = 5.0


def moving_resolution(height: int, width: int, max_res: int, aspect: float) -> "tuple[int, int]":
    """Raise a resolution until its shorter side has :data:`MOVING_SIDE` pixels, as far as the user's limit allows.

    Args:
        height: that the viewer chose.
        width: that the viewer chose.
        max_res: largest side that the user allows.
        aspect: width over height of the browser's canvas.

    Returns:
        Height and width.
    """
    if min(height, width) >= MOVING_SIDE:
        return height, width
    # The longer side is limited to max_res, by which nerfstudio's own rule also shrinks the shorter one.
    largest_height = min(max_res, max_res / aspect)
    new_height = min(max(MOVING_SIDE, MOVING_SIDE / aspect), largest_height)
    return max(height, round(new_height)), max(width, round(new_height * aspect))


class RenderLoop:
    """Requests renders of the newest state from every browser's state machine.

    Args:
        viewer: nerfstudio's.
        version: gives the version of the newest state.
        place: the camera state to render in place of a browser's.
        finished: called after each image.
    """

    def __init__(
        self,
        viewer: Viewer,
        version: Callable[[], int],
        place: Callable[[Any], Any] = lambda camera_state: camera_state,
        finished: Callable[[], None] = lambda: None,
    ) -> None:
        self._viewer: Any = viewer
        self._version, self._place, self._finished = version, place, finished
        self.images = Rate()
        """Of all browsers together."""
        self._rendered: Dict[Any, int] = {}
        self._rendering: Set[Any] = set()
        self._began: Dict[Any, float] = {}
        self._image_seconds = 0.0
        self._by_hand = False
        self._resting = False
        self._stopped = False
        self._wanted = threading.Event()
        self._attaching = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="nbs-viewer-render", daemon=True)
        self._thread.start()

    def request(self, by_hand: bool) -> None:
        """Render the newest state soon; returns at once.

        Args:
            by_hand: a person waits for it, so training holds still a moment, as it does when the camera moves.
        """
        if by_hand:
            self._viewer.last_move_time = time.time()
            self._by_hand = True
        self._wanted.set()

    def stop(self) -> None:
        """End the thread, which holds the viewer and its model; what is requested from now on is not rendered."""
        self._stopped = True
        self._wanted.set()

    def rendering(self, version: int) -> None:
        """Called in the thread of a state machine when it begins to render a version."""
        self._rendered[threading.current_thread()] = version
        self._began[threading.current_thread()] = time.monotonic()

    def attach(self, machine: RenderStateMachine) -> None:
        """Keep a machine's moving images from becoming too small, and full ones out of training's time."""
        with self._attaching:  # The thread of a browser that connects and this loop's may both come here.
            if not getattr(machine, "keeps_moving_resolution", False):
                self._attach(machine)

    def _attach(self, machine: RenderStateMachine) -> None:
        calculate = machine._calculate_image_res

        def at_least(aspect_ratio: float) -> "tuple[int, int]":
            height, width = calculate(aspect_ratio)
            if machine.state == "high":
                return height, width
            return moving_resolution(height, width, int(self._viewer.control_panel.max_res), aspect_ratio)

        render = machine._render_img

        def watched(camera_state: Any) -> Any:
            self._rendering.add(machine)
            try:
                outputs = render(self._place(camera_state))
                self.images.happened()
                self._finished()
                return outputs
            finally:
                self._rendering.discard(machine)
                self._image_seconds = time.monotonic() - self._began.pop(machine, time.monotonic())

        act = machine.action

        def unless_resting(action: RenderAction) -> None:
            if not (self._resting and action.action == "static"):
                act(action)

        attributes = vars(machine)  # This machine's own, in place of its class's.
        attributes["_calculate_image_res"] = at_least
        attributes["_render_img"] = watched
        attributes["action"] = unless_resting
        attributes["keeps_moving_resolution"] = True

    def _machines(self) -> "list[RenderStateMachine]":
        return list(self._viewer.render_statemachines.values())

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._stopped:
                return
            if not self._viewer.ready:
                time.sleep(_RETRY_SECONDS)
                self._wanted.set()
                continue
            by_hand, self._by_hand = self._by_hand, False
            if not by_hand and self._trains():
                self._let_training_on()
            version = self._version()
            for machine in self._machines():
                self.attach(machine)
                self._ask(machine)
            self._resting = False  # Not before: a machine that waits would begin its full-size image first.
            for _ in range(_RETRIES):
                time.sleep(_RETRY_SECONDS)
                behind = [machine for machine in self._machines() if self._rendered.get(machine, -1) < version]
                if not behind or self._wanted.is_set():
                    break
                for machine in behind:
                    if self._was_lost(machine):
                        self._ask(machine)
            for gone in [machine for machine in list(self._rendered) if not machine.is_alive()]:
                self._rendered.pop(gone, None)

    def _trains(self) -> bool:
        return getattr(getattr(self._viewer, "trainer", None), "training_state", None) == "training"

    def _let_training_on(self) -> None:
        """Wait for the images under way, then as long again, unless a person asks; nothing holds the lock then."""
        end = time.monotonic() + _LONGEST_IMAGE
        while self._rendering and time.monotonic() < end:
            time.sleep(_RETRY_SECONDS)
        end = time.monotonic() + min(max(self._image_seconds, TRAINING_SECONDS), MOST_TRAINING_SECONDS)
        self._resting = True
        while time.monotonic() < end and not self._by_hand:
            time.sleep(_RETRY_SECONDS)

    def _was_lost(self, machine: RenderStateMachine) -> bool:
        """Whether a machine that did not begin to render has nothing left that would make it."""
        lock = self._viewer.train_lock
        waits = lock is not None and lock.locked()  # It may be waiting for a training step or another browser.
        # A machine that takes its next action as another is given loses that one, and keeps its interruption.
        interrupted = machine.interrupt_render_flag and machine in self._rendering
        return machine.next_action is None and not interrupted and not waits

    def _ask(self, machine: RenderStateMachine) -> None:
        machine.action(RenderAction("move", self._viewer.get_camera_state(machine.client)))
