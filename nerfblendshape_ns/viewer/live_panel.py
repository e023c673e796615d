"""The controls of live driving: a listener that is off until somebody turns it on."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Callable, Dict, Optional

from viser import GuiEvent, ViserServer

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.live.listener import LOOPBACK, LiveLinkListener, LiveMapping
from nerfblendshape_ns.expressions.live.live_link import DEFAULT_PORT
from nerfblendshape_ns.viewer.bound_controls import notify, on_click, show_value
from nerfblendshape_ns.viewer.state import StateStore

_OFF = "Off. Live Link Face on a phone sends to this machine's address and port."


class LivePanel:
    """Live Link Face drives the avatar.

    Args:
        server: viser's.
        store: takes the received coefficients.
        make_mapping: gives the map from ARKit's coefficients to the model's, or raises ``UserError``.
    """

    def __init__(self, server: ViserServer, store: StateStore, make_mapping: Callable[[], LiveMapping]) -> None:
        self._store, self._make_mapping = store, make_mapping
        self._listener: Optional[LiveLinkListener] = None
        self._mapping: Optional[LiveMapping] = None
        self._last: Dict[str, float] = {}
        self._lock = threading.Lock()
        gui = server.gui
        with gui.add_folder("Live (ARKit face capture)", expand_by_default=False):
            self.listen = gui.add_checkbox("Listen", False, hint="Receive Live Link Face packets over UDP")
            self.address = gui.add_text(
                "Address",
                LOOPBACK,
                hint="127.0.0.1 hears this machine alone, 0.0.0.0 the network; no password protects it",
            )
            self.port = gui.add_number("Port", DEFAULT_PORT, min=1, max=65535, step=1)
            self.calibrate = gui.add_button("Calibrate: my face is neutral now")
            self.status = gui.add_markdown(_OFF)

        @self.listen.on_update
        def _(event: GuiEvent) -> None:
            if event.client is None:
                return
            try:
                self.start() if self.listen.value else self.stop()
            except UserError as error:
                show_value(self.listen, False)
                self.status.content = str(error)
                notify(event, "Not listening", str(error), "red")

        on_click(self.calibrate.on_click, lambda _: self._calibrate())

    @property
    def listener(self) -> Optional[LiveLinkListener]:
        """The listener while there is one."""
        return self._listener

    def start(self) -> None:
        """Listen, and let what comes drive.

        Raises:
            UserError: the address cannot be bound, or the model shares no coefficient with ARKit.
        """
        with self._lock:
            if self._listener is not None:
                return
            self._mapping = self._make_mapping()
            listener = LiveLinkListener(self._receive, self.address.value.strip() or LOOPBACK, int(self.port.value))
            listener.start()
            self._listener = listener
        self._store.set(source="live", playing=False)
        threading.Thread(target=self._report, args=(listener,), name="nbs-live-status", daemon=True).start()

    def stop(self) -> None:
        """Stop listening; the last expression stays."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop()
        self.status.content = _OFF

    def _receive(self, coefficients: Dict[str, float]) -> None:
        mapping = self._mapping
        if mapping is not None:
            self._last = coefficients
            live = mapping(coefficients)
            self._store.change(lambda state: replace(state, live=live))

    def _calibrate(self) -> None:
        if self._mapping is None or not self._last:
            raise UserError("No face has been received yet; tick Listen and start to send, then calibrate.")
        self._mapping.calibrate(self._last)
        self._receive(self._last)

    def _report(self, listener: LiveLinkListener) -> None:
        while self._listener is listener:
            text = self.describe(listener)
            if text != self.status.content:
                self.status.content = text
            time.sleep(0.5)

    def describe(self, listener: LiveLinkListener) -> str:
        """What the status line says of a listener."""
        counts, mapping = listener.counts, self._mapping
        where = f"Listening on {self.address.value}:{listener.port}. "
        if not counts.faces:
            text = where + ("No face in the packets yet." if counts.empty else "Nothing received yet.")
        else:
            matched = 0 if mapping is None else len(mapping.matched)
            text = where + f"{counts.subject or 'face'}: {counts.faces} frames, {listener.rate():.0f} per second, "
            text += f"{matched} of 52 coefficients drive."
        dropped = counts.malformed + counts.late + counts.failed
        if dropped:
            text += f" Dropped: {counts.malformed} malformed, {counts.late} late, {counts.failed} failed"
            text += f" ({counts.last_problem})." if counts.last_problem else "."
        return text
