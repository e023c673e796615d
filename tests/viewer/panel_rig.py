"""The panel on a real viser server, with stand-ins for what is round it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Optional

import numpy as np
from viser import GuiEvent

from nerfblendshape_ns.expressions.live.performer import LivePerformer
from nerfblendshape_ns.expressions.retarget import CoefficientSpace
from nerfblendshape_ns.viewer.actions import Actions
from nerfblendshape_ns.viewer.coefficients import CoefficientTable
from nerfblendshape_ns.viewer.panel import ExpressionPanel
from nerfblendshape_ns.viewer.state import StateStore

NAMES = ["jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "tongueOut"]


class Outputs:
    """Stands for nerfstudio's output choice."""

    def __init__(self) -> None:
        self.names: List[str] = []
        self.shown = "not set"

    def options(self) -> List[str]:
        return self.names

    def selected(self) -> str:
        return self.shown

    def select(self, output: str) -> None:
        self.shown = output


class Client:
    """Stands for a browser."""

    def __init__(self) -> None:
        self.notes: List[str] = []
        self.downloads: List[bytes] = []

    def add_notification(self, title: str, body: str, **_: Any) -> None:
        self.notes.append(f"{title}: {body}")

    def send_file_download(self, name: str, content: bytes) -> None:
        self.downloads.append(content)


def table(num_more: int = 0) -> CoefficientTable:
    names = NAMES + [f"extra{index:02d}" for index in range(num_more)]
    count = len(names)
    track = np.linspace(0, 1, 10, dtype=np.float32)[:, None] * np.linspace(1, 0.1, count, dtype=np.float32)
    maximum = np.full(count, 0.8, np.float32)
    maximum[3] = 0.0
    return CoefficientTable(names, np.zeros(count), maximum, track, np.arange(8))


class Rig:
    """A panel with everything that it touches."""

    def __init__(
        self, server: Any, folder: Path, coefficients: CoefficientTable, camera: Optional[str] = "clip.mp4"
    ) -> None:
        self.actions, self.outputs, self.client = Actions(coefficients, seed=0), Outputs(), Client()
        self.store = StateStore(self.actions.initial())
        self.views: List[Any] = []
        person = CoefficientSpace(
            coefficients.names, "", coefficients.track.astype(float), coefficients.minimum, coefficients.maximum
        )
        self.panel = ExpressionPanel(
            server, self.store, self.actions, self.outputs, folder,
            lambda mode: LivePerformer(person, np.full((4, 3), 20.0), mode), lambda: "9 images per second.",
            lambda client: self.views.append("front"),
            lambda client, frame: self.views.append(frame),
            camera,
        )  # fmt: skip
        self.panel.live.port.value = 0

    def send(self, handle: Any, value: Any = True) -> None:
        """What viser does when a browser reports a value."""
        handle._impl.value = value
        for callback in handle._impl.update_cb:
            callback(GuiEvent(client=self.client, client_id=0, target=handle))  # type: ignore[arg-type]

    def slider(self, name: str) -> Any:
        return self.panel.sliders.handles[self.actions.table.index(name)]
