"""What of the avatar is shown, over what, and from where: output, background and view."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Dict, Optional, Protocol, Sequence, Tuple

from viser import ClientHandle, GuiEvent, ViserServer

from nerfblendshape_ns.viewer.bound_controls import on_click, show_value, tie
from nerfblendshape_ns.viewer.state import Color, ControlState, StateStore

OUTPUT_LABELS: Dict[str, str] = {
    "rgb": "whole",
    "head_rgb": "head",
    "torso_rgb": "torso",
    "depth": "depth",
    "accumulation": "alpha",
    "torso_alpha": "torso alpha",
}
"""How the models' outputs are called here; others keep their own names."""

OWN_BACKGROUND, CUSTOM_BACKGROUND = "model's own", "chosen colour"
BACKGROUNDS: Dict[str, Optional[Color]] = {
    OWN_BACKGROUND: None,
    "white": (1.0, 1.0, 1.0),
    "grey": (0.5, 0.5, 0.5),
    "black": (0.0, 0.0, 0.0),
    "green": (0.0, 0.69, 0.25),
}
"""Backgrounds by name; the chosen colour comes beside them."""


class OutputSelector(Protocol):
    """Who decides which output of the model is shown."""

    def options(self) -> Sequence[str]:
        """The model's outputs; empty until something was rendered."""
        ...

    def selected(self) -> str:
        """The output shown."""
        ...

    def select(self, output: str) -> None:
        """Show another."""
        ...


class ImageControls:
    """Output, background and view.

    Args:
        server: viser's.
        store: the state, which has the background.
        outputs: chooses the output.
        front: moves a browser's camera before the face.
    """

    def __init__(
        self,
        server: ViserServer,
        store: StateStore,
        outputs: OutputSelector,
        front: Callable[[ClientHandle], None],
    ) -> None:
        self._store, self._outputs = store, outputs
        self._output_names: Tuple[str, ...] = ()
        gui = server.gui
        with gui.add_folder("Image"):
            self.output: Any = gui.add_dropdown("Show", ("whole",), hint="Which of the model's outputs")
            self.background: Any = gui.add_dropdown("Background", (*BACKGROUNDS, CUSTOM_BACKGROUND))
            self.color = gui.add_rgb("Colour", (255, 128, 0), visible=False)
            self.front = gui.add_button("View from the front", hint="As most of the clip was taken")

        @self.output.on_update
        def _(event: GuiEvent) -> None:
            if event.client is not None:
                self._select(self.output.value)

        for element in (self.background, self.color):
            tie(element, store, lambda state, _: self._with_background(state))
        on_click(self.front.on_click, lambda event: None if event.client is None else front(event.client))

    def _with_background(self, state: ControlState) -> ControlState:
        if self.background.value == CUSTOM_BACKGROUND:
            red, green, blue = (channel / 255.0 for channel in self.color.value)
            return replace(state, background=(red, green, blue))
        return replace(state, background=BACKGROUNDS[self.background.value])

    def show(self, state: ControlState) -> None:
        """Show the background's own controls."""
        self.color.visible = self.background.value == CUSTOM_BACKGROUND

    def _select(self, label: str) -> None:
        for name in self._output_names:
            if OUTPUT_LABELS.get(name, name) == label:
                self._outputs.select(name)

    def refresh_outputs(self) -> bool:
        """Take up which outputs the model has and which is shown; False before the first render."""
        names = tuple(self._outputs.options())
        if not names:
            return False
        if set(names) != set(self._output_names):
            known = [name for name in OUTPUT_LABELS if name in names]
            self._output_names = tuple(known + [name for name in names if name not in OUTPUT_LABELS])
            self.output.options = tuple(OUTPUT_LABELS.get(name, name) for name in self._output_names)
        selected = self._outputs.selected()
        if selected in self._output_names:
            show_value(self.output, OUTPUT_LABELS.get(selected, selected))
        return True
