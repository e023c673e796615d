"""One slider per coefficient: the most active first, the rest in a folder, with a filter where there are many."""

from __future__ import annotations

import threading
from typing import Any, Dict, List, Optional

import numpy as np
from viser import GuiFolderHandle, ViserServer

from nerfblendshape_ns.viewer.actions import Actions
from nerfblendshape_ns.viewer.bound_controls import show_value, tie
from nerfblendshape_ns.viewer.coefficients import SliderRange
from nerfblendshape_ns.viewer.state import StateStore

NUM_FIRST = 12
"""Sliders shown outright."""
FILTER_ABOVE = 60
"""A text filter is shown above this many coefficients."""


_LABEL_LENGTH = 13
_BREAK = "\u200b"


def _label(name: str) -> str:
    """A name that may break before its last word where it is wider than the panel's column of labels."""
    if len(name) <= _LABEL_LENGTH:
        return name
    last_word = max((index for index, letter in enumerate(name) if letter.isupper() and index), default=0)
    return name[:last_word] + _BREAK + name[last_word:] if last_word else name


class SliderGroup:
    """The coefficients' sliders.

    Args:
        server: viser's.
        store: the state that the sliders change.
        actions: what changing them does.
    """

    def __init__(self, server: ViserServer, store: StateStore, actions: Actions) -> None:
        self._server, self._store, self._actions = server, store, actions
        self._order = actions.table.by_activity()
        self._lock = threading.Lock()
        self.handles: Dict[int, Any] = {}
        """The slider of each coefficient, by its index."""
        self._ranges: Dict[int, SliderRange] = {}
        self._beyond: Optional[bool] = None
        self._text = ""
        self._rest: Optional[GuiFolderHandle] = None
        self._folder = server.gui.add_folder("Coefficients")
        with self._folder:
            unmoved = len(actions.table) - len(self._order)
            if unmoved:
                server.gui.add_markdown(f"{unmoved} more never move in training and have no slider.")
            if len(self._order) > FILTER_ABOVE:
                text = server.gui.add_text("Filter", "", hint="Show only coefficients whose name contains this")
                text.on_update(lambda _: self.filter(text.value))
        self._build(beyond=False)

    def show(self, values: np.ndarray, beyond: bool) -> None:
        """Set all sliders.

        Args:
            values: ``[basis]`` raw units; a slider shows the nearest value in its range.
            beyond: let sliders leave the training range.
        """
        with self._lock:
            if beyond != self._beyond:
                self._build(beyond)
            for index, handle in self.handles.items():
                # The slider that somebody drags already shows the value, to the step; writing it back would jerk.
                slider, value = self._ranges[index], float(values[index])
                if abs(handle.value - min(max(value, slider.minimum), slider.maximum)) > 0.5 * slider.step:
                    show_value(handle, slider.nearest(value))

    def filter(self, text: str) -> None:
        """Show only the sliders whose name contains a text, whatever its case; an empty text shows all."""
        with self._lock:
            self._text = text.strip().lower()
            self._build(bool(self._beyond))

    def _build(self, beyond: bool) -> None:
        """Make new sliders: viser's can change neither their ends nor their folder."""
        gui, table = self._server.gui, self._actions.table
        shown = self._store.state.base(table)
        wanted = [index for index in self._order if self._text in table.names[index].lower()]
        num_first = len(wanted) if self._text else NUM_FIRST
        for handle in self.handles.values():
            handle.remove()
        if self._rest is not None:
            self._rest.remove()  # It has no children left.
        self.handles, self._beyond, self._rest = {}, beyond, None
        with self._folder:
            self._add(wanted[:num_first], shown, beyond)
            if len(wanted) > num_first:
                self._rest = gui.add_folder(f"{len(wanted) - num_first} more", expand_by_default=False)
                with self._rest:
                    self._add(wanted[num_first:], shown, beyond)

    def _add(self, indices: List[int], shown: np.ndarray, beyond: bool) -> None:
        for index in indices:
            slider = self._actions.table.slider(index, beyond)
            name = self._actions.table.names[index]
            low, high = self._actions.table.minimum[index], self._actions.table.maximum[index]
            handle = self._server.gui.add_slider(
                _label(name),
                slider.minimum,
                slider.maximum,
                slider.step,
                slider.nearest(float(shown[index])),
                hint=f"{name}: {low:.3g} to {high:.3g}",
            )
            tie(handle, self._store, lambda state, value, index=index: self._actions.edit(state, index, value))
            self.handles[index], self._ranges[index] = handle, slider
