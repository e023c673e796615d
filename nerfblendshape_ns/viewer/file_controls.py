"""Saving the shown expression and loading saved ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Mapping, Tuple

from viser import GuiEvent, ViserServer

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.viewer.actions import Actions
from nerfblendshape_ns.viewer.bound_controls import notify, on_click
from nerfblendshape_ns.viewer.expression_file import (
    expression_text,
    file_name,
    load_expression,
    parse_expression,
    save_expression,
)
from nerfblendshape_ns.viewer.state import ControlState, StateStore

_NOTHING = "(none saved)"


class FileControls:
    """Expression files: in a folder beside the run, and to and from the browser's machine.

    Args:
        server: viser's.
        store: the state that is saved and loaded into.
        actions: what loading does.
        folder: where the program saves; made when something is saved.
    """

    def __init__(self, server: ViserServer, store: StateStore, actions: Actions, folder: Path) -> None:
        self._store, self._actions, self._folder = store, actions, folder
        gui = server.gui
        with gui.add_folder("Expression file", expand_by_default=False):
            self.name = gui.add_text("Name", "expression")
            self.save = gui.add_button("Save", hint=f"Into {folder}")
            self.saved: Any = gui.add_dropdown("Saved", self._saved_names())
            self.load = gui.add_button("Load", hint="The one chosen above")
            self.download = gui.add_button("Download", hint="To the browser's machine")
            self.upload = gui.add_upload_button("Load from a file…", mime_type="application/json")
        on_click(self.save.on_click, self._save)
        on_click(self.load.on_click, self._load)
        on_click(self.download.on_click, self._download)
        on_click(
            self.upload.on_upload, lambda event: self._take(event, self.upload.value.name, self.upload.value.content)
        )

    def _saved_names(self) -> Tuple[str, ...]:
        names = sorted(path.stem for path in self._folder.glob("[!.]*.json"))
        return tuple(names) or (_NOTHING,)

    def _save(self, event: GuiEvent) -> None:
        path = self._folder / file_name(self.name.value)
        save_expression(path, self._actions.named(self._store.state))
        self.saved.options = self._saved_names()
        self.saved.value = path.stem
        notify(event, "Saved", str(path))

    def _load(self, event: GuiEvent) -> None:
        if self.saved.value == _NOTHING:
            raise UserError("No expression is saved here yet; save one, or load one from a file.")
        if self.saved.value not in self._saved_names():  # What a page sends may be a path.
            raise UserError(f"{self.saved.value!r} is not among the saved expressions; choose another.")
        path = self._folder / f"{self.saved.value}.json"
        self._apply(event, path.name, load_expression(path))

    def _download(self, event: GuiEvent) -> None:
        if event.client is not None:
            text = expression_text(self._actions.named(self._store.state))
            event.client.send_file_download(file_name(self.name.value), text.encode("utf-8"))

    def _take(self, event: GuiEvent, name: str, content: bytes) -> None:
        self._apply(event, name, parse_expression(content, name))

    def _apply(self, event: GuiEvent, name: str, values: Mapping[str, float]) -> None:
        unknown: List[str] = []

        def load(state: ControlState) -> ControlState:
            loaded, missing = self._actions.load(state, values)
            unknown[:] = missing
            return loaded

        clamped_before = self._store.state.clamp
        state = self._store.change(load)
        text = f"{name}: {len(values) - len(unknown)} coefficients."
        if unknown:
            text += f" This model lacks {len(unknown)}: {', '.join(unknown[:5])}{', …' if len(unknown) > 5 else ''}."
        if clamped_before and not state.clamp:
            text += " It leaves the training range, so clamping is off."
        notify(event, "Loaded", text)
