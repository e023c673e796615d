"""The controls of live driving: a source that is off until somebody turns it on."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any, Callable, Optional, Protocol

from viser import GuiEvent, ViserServer

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.live.frame import LiveFrame
from nerfblendshape_ns.expressions.live.listener import LOOPBACK, PROTOCOLS, UdpListener
from nerfblendshape_ns.expressions.live.performer import LivePerformer
from nerfblendshape_ns.expressions.retarget import RetargetMode
from nerfblendshape_ns.viewer.bound_controls import as_markdown, notify, on_click, show_value, tie, unless_stopped
from nerfblendshape_ns.viewer.state import StateStore

CAMERA = "Camera"
"""Name of the source that is no protocol."""
RETARGET_MODES = ("range", "neutral", "none")
"""See :func:`~nerfblendshape_ns.expressions.retarget.retargeting`."""
_OFF = "Off. Phones and programs send to this machine's address and port."


class LiveSource(Protocol):
    """What gives live frames."""

    problem: str
    """Why it ended by itself; empty while it has not."""

    def start(self) -> None:
        """Begin; raises ``UserError``."""
        ...

    def stop(self) -> None:
        """End."""
        ...

    def status(self) -> str:
        """One line for the user."""
        ...


class LivePanel:
    """A performer drives the avatar: packets over UDP, or a camera.

    Args:
        server: viser's.
        store: takes the coefficients and head turns.
        make_performer: gives the map to the model's coefficients, or raises ``UserError``.
        rendering: says how fast images are made.
        camera: which camera, or which video in its place; None offers none.
    """

    def __init__(
        self,
        server: ViserServer,
        store: StateStore,
        make_performer: Callable[[RetargetMode], LivePerformer],
        rendering: Callable[[], str],
        camera: Optional[str] = None,
    ) -> None:
        self._store, self._make_performer, self._rendering = store, make_performer, rendering
        self._source: Optional[LiveSource] = None
        self._performer: Optional[LivePerformer] = None
        self._given_camera = camera
        self._lock = threading.Lock()
        gui = server.gui
        names = [*PROTOCOLS, *([] if camera is None else [CAMERA])]
        with gui.add_folder("Live", expand_by_default=False):
            self.kind: Any = gui.add_dropdown("Source", names, names[0], hint="What gives face and head")
            self.receive = gui.add_checkbox("Receive", False, hint="Listen for packets, or track the camera")
            self.address = gui.add_text(
                "Address",
                LOOPBACK,
                hint="127.0.0.1 hears this machine alone, 0.0.0.0 the network; no password protects it",
            )
            self.port = gui.add_number("Port", PROTOCOLS[names[0]].port, min=1, max=65535, step=1)
            self.camera = gui.add_text(
                "Camera", camera or "0", visible=False, hint="Number of a camera here; 0 is first"
            )
            self.retarget: Any = gui.add_dropdown(
                "Retarget",
                RETARGET_MODES,
                RETARGET_MODES[0],
                hint="range: the performer's neutral face and peaks become this person's, learned as frames come",
            )
            self.turn_head = gui.add_checkbox("Turn the head", True, hint="As the performer's, from its mean")
            self.calibrate = gui.add_button("Calibrate: my face is neutral now")
            self.status = gui.add_markdown(_OFF)

        def changed(event: GuiEvent) -> None:
            if event.client is not None:
                self.stop()  # It comes from elsewhere than what is shown now.
                if event.target is self.kind:
                    self._show_kind()

        for element in (self.kind, self.address, self.port, self.camera):
            element.on_update(changed)
        tie(self.turn_head, store, lambda state, on: state if on else replace(state, turn=None))

        @self.receive.on_update
        def _(event: GuiEvent) -> None:
            if event.client is None:
                return
            try:
                self.start() if self.receive.value else self.stop()
            except UserError as error:
                show_value(self.receive, False)
                self.status.content = as_markdown(str(error))
                notify(event, "Nothing is received", str(error), "red")

        @self.retarget.on_update
        def _(event: GuiEvent) -> None:
            if event.client is not None and self._performer is not None:
                self._performer.retarget(self.retarget.value)

        on_click(self.calibrate.on_click, lambda _: self._calibrate())

    @property
    def source(self) -> Optional[LiveSource]:
        """What is received from while there is something."""
        return self._source

    def start_camera(self) -> None:
        """Receive from the camera that was given.

        Raises:
            UserError: as :meth:`start`.
        """
        show_value(self.kind, CAMERA)
        self._show_kind()
        self.start()

    def start(self) -> None:
        """Receive, and let what comes drive.

        Raises:
            UserError: the address cannot be bound, the camera not be opened, or the model shares no coefficient with
                ARKit.
        """
        with self._lock:
            if self._source is not None:
                return
            self._performer = self._make_performer(self.retarget.value)
            source = self._make_source()
            source.start()
            self._source = source
        show_value(self.receive, True)
        self._store.set(source="live", playing=False)
        threading.Thread(target=self._report, args=(source,), name="nbs-live-status", daemon=True).start()

    def stop(self, told: str = _OFF) -> None:
        """Stop receiving; the last expression stays.

        Args:
            told: what the status line says then.
        """
        with self._lock:
            source, self._source, self._performer = self._source, None, None
        if source is not None:
            source.stop()
            self._store.set()  # The sliders, which rest while frames come, show what stays.
        with unless_stopped():
            show_value(self.receive, False)
            self.status.content = as_markdown(told)

    def _make_source(self) -> LiveSource:
        if self.kind.value != CAMERA:
            address, port = self.address.value.strip() or LOOPBACK, int(self.port.value)
            return UdpListener(self.kind.value, lambda frame: self._take(frame, time.monotonic()), address, port)
        # LiteRT and the tracker are loaded only where a camera is asked for.
        from nerfblendshape_ns.viewer.live_camera import CameraSource

        if CAMERA not in self.kind.options:  # What a page sends may be anything.
            raise UserError("This viewer offers no camera; start it on 127.0.0.1, or with --camera.")
        camera = self.camera.value.strip()
        # Files are for who started the viewer, not for whoever is connected to it.
        if not camera.isdecimal() and camera != self._given_camera:
            raise UserError(f"{camera!r} is no camera; give its number, 0 for the first.")
        return CameraSource(camera, self._take)

    def _show_kind(self) -> None:
        is_camera = self.kind.value == CAMERA
        self.address.visible = self.port.visible = not is_camera
        self.camera.visible = is_camera
        if not is_camera:
            show_value(self.port, PROTOCOLS[self.kind.value].port)

    def _take(self, frame: LiveFrame, came: float) -> None:
        performer = self._performer
        if performer is not None:
            live, turn = performer(frame)
            self._store.change(
                lambda state: replace(state, live=live, turn=turn if self.turn_head.value else None, came=came)
            )

    def _calibrate(self) -> None:
        if self._performer is None:
            raise UserError("No face has been received yet; choose a source and tick Receive, then calibrate.")
        self._performer.calibrate()

    def _report(self, source: LiveSource) -> None:
        while self._source is source:
            if source.problem:
                self.stop(source.problem)
                return
            text = as_markdown(self.describe())
            with unless_stopped(), self._lock:  # Else it could come after what stopping writes.
                if self._source is source and text != self.status.content:
                    self.status.content = text
            time.sleep(0.5)

    def describe(self) -> str:
        """What the status line says."""
        source, performer = self._source, self._performer
        if source is None or performer is None:
            return _OFF
        return (
            f"{source.status()} {performer.matched} coefficients of this avatar are driven. {self._rendering()}".strip()
        )
