"""The expression panel: all controls in their groups, on any viser server."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Callable, Optional

from viser import ClientHandle, GuiEvent, ViserServer

from nerfblendshape_ns.expressions.live.performer import LivePerformer
from nerfblendshape_ns.expressions.retarget import RetargetMode
from nerfblendshape_ns.viewer.actions import Actions
from nerfblendshape_ns.viewer.bound_controls import on_click, show_value, tie, unless_stopped
from nerfblendshape_ns.viewer.file_controls import FileControls
from nerfblendshape_ns.viewer.image_controls import ImageControls, OutputSelector
from nerfblendshape_ns.viewer.live_panel import LivePanel
from nerfblendshape_ns.viewer.playback import SPEED_RANGE
from nerfblendshape_ns.viewer.slider_group import SliderGroup
from nerfblendshape_ns.viewer.state import SOURCES, ControlState, StateStore

MAX_GAIN = 2.0
"""Largest exaggeration; 1 is the expression as it is."""
_STREAM_SECONDS = 0.1


class ExpressionPanel:
    """The elements show the state and change it; they keep none of their own. Build it inside the folder or tab wanted.

    Args:
        server: viser's.
        store: the state.
        actions: what a person can do to it.
        outputs: chooses what is shown.
        folder: where expressions are saved.
        make_performer: from live frames to the model's coefficients.
        rendering: says how fast images are made.
        to_front: moves a browser's camera before the face.
        to_frame: moves a browser's camera to where a frame was taken from.
        camera: for the live controls, see :class:`LivePanel`.
    """

    def __init__(
        self,
        server: ViserServer,
        store: StateStore,
        actions: Actions,
        outputs: OutputSelector,
        folder: Path,
        make_performer: Callable[[RetargetMode], LivePerformer],
        rendering: Callable[[], str],
        to_front: Callable[[ClientHandle], None],
        to_frame: Callable[[ClientHandle, int], None],
        camera: Optional[str] = None,
    ) -> None:
        self._store, self._actions = store, actions
        self._lock = threading.Lock()
        self._shown_at = 0.0
        state, gui = store.state, server.gui
        has_clip = actions.table.num_frames > 1  # An exported avatar may come without its clip.
        sources = SOURCES if has_clip else ("manual", "live")
        self.source: Any = gui.add_dropdown("Expression", sources, state.source, hint="Where the expression comes from")
        with gui.add_folder("Clip"):
            last = max(1, actions.table.num_frames - 1)
            self.frame = gui.add_slider("Frame", 0, last, 1, state.frame)
            self.play = gui.add_button("Play", hint="Run the clip's expressions from this frame")
            self.pause = gui.add_button("Pause", visible=False)
            self.speed = gui.add_slider("Speed", *SPEED_RANGE, 0.1, 1.0)
            self.frame_view = gui.add_button("View as this frame was taken")
        with gui.add_folder("Edit"):
            self.neutral = gui.add_button("Neutral")
            self.to_frame = gui.add_button("This frame's expression", hint="Sets the sliders to the frame chosen above")
            self.random = gui.add_button("Random", hint="Every coefficient from a training frame of its own")
            self.symmetric = gui.add_checkbox("Symmetric", False, hint="Left and Right of a pair move together")
            self.gain = gui.add_slider(
                "Exaggerate", 0.0, MAX_GAIN, 0.05, 1.0, hint="About the neutral face; 1 is as it is"
            )
            self.clamp = gui.add_checkbox(
                "Clamp to training range", True, hint="Beyond it the model guesses; off lets sliders go there"
            )
        for element in (self.frame, self.play, self.speed, self.to_frame):
            element.disabled = not has_clip
        self.sliders = SliderGroup(server, store, actions)
        self.image = ImageControls(server, store, outputs, to_front)
        self.files = FileControls(server, store, actions, folder)
        self.live = LivePanel(server, store, make_performer, rendering, camera)
        self._tie(to_frame)
        store.subscribe(self._on_change)

    def _tie(self, to_frame: Callable[[ClientHandle, int], None]) -> None:
        store, actions = self._store, self._actions
        tie(self.source, store, actions.choose_source)
        tie(self.frame, store, actions.choose_frame)
        tie(self.speed, store, actions.set("speed"))
        tie(self.symmetric, store, actions.set("symmetric"))
        tie(self.gain, store, actions.set("gain"))
        tie(self.clamp, store, actions.set("clamp"))
        on_click(self.play.on_click, lambda _: store.change(actions.play))
        on_click(self.pause.on_click, lambda _: store.change(actions.pause))
        on_click(self.neutral.on_click, lambda _: store.change(actions.neutral))
        on_click(self.to_frame.on_click, lambda _: store.change(actions.to_frame))
        on_click(self.random.on_click, lambda _: store.change(actions.random))

        def view_frame(event: GuiEvent) -> None:
            if event.client is not None:
                to_frame(event.client, store.state.frame)

        on_click(self.frame_view.on_click, view_frame)

    def _on_change(self, before: ControlState, after: ControlState) -> None:
        streams = after.playing or (after.source == "live" and after.live is not before.live)
        if streams and time.monotonic() - self._shown_at < _STREAM_SECONDS and before.source == after.source:
            return  # A stream of frames must not flood the browser; only the image keeps its pace.
        with unless_stopped():
            self.show()

    def show(self) -> None:
        """Set every element to the newest state."""
        with self._lock:
            self._shown_at = time.monotonic()
            state = self._store.state
            show_value(self.source, state.source)
            show_value(self.frame, state.frame)
            show_value(self.speed, state.speed)
            show_value(self.symmetric, state.symmetric)
            show_value(self.gain, state.gain)
            show_value(self.clamp, state.clamp)
            self.play.visible, self.pause.visible = not state.playing, state.playing
            self.image.show(state)
            if not state.playing and not (state.source == "live" and self.live.source is not None):
                self.sliders.show(state.base(self._actions.table), beyond=not state.clamp)
