"""Ties elements of viser's GUI to the state of the controls, without the two chasing each other."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Optional

from viser import GuiEvent

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.viewer.state import ControlState, StateStore

Change = Callable[[ControlState, Any], Optional[ControlState]]
"""Makes the new state from the current one and an element's value."""


def tie(handle: Any, store: StateStore, change: Change) -> None:
    """Let an element change the state when somebody in a browser moves it.

    viser also reports the values that this program sets, with no client. Those show the state and must not change it:
    this is what keeps the two sliders of a pair from answering each other.

    viser runs the reports of one drag in several threads. The value is read under the store's lock, not where the
    report came in, so that the last report wins.

    Args:
        handle: an input of viser.
        store: holds the state.
        change: what the element does.
    """

    def on_update(event: GuiEvent) -> None:
        if event.client is not None:
            store.change(lambda state: change(state, handle.value))

    handle.on_update(on_update)


def on_click(register: Callable[[Callable[[GuiEvent], None]], Any], action: Callable[[GuiEvent], object]) -> None:
    """Run an action when a button is pressed (or a file uploaded), and report its errors in the browser.

    Args:
        register: ``on_click`` of a button or button group, ``on_upload`` of an upload button.
        action: may raise ``UserError``; its sentence is shown as a notification.
    """

    def clicked(event: GuiEvent) -> None:
        try:
            action(event)
        except UserError as error:
            notify(event, "Not done", str(error), "red")

    register(clicked)


def notify(event: GuiEvent, title: str, body: str, color: Any = None) -> None:
    """Show a message in the browser that caused an event."""
    if event.client is not None:
        event.client.add_notification(title, body, auto_close=8000, color=color)


def show_value(handle: Any, value: Any) -> None:
    """Set an element's value if it shows another."""
    if handle.value != value:
        handle.value = value


def as_markdown(text: str) -> str:
    """Markdown that shows a text as it is, in one line.

    viser's is MDX: the browser runs what stands in braces, or behind ``export`` or ``import`` at a line's beginning.
    """
    return re.sub(r"[^\w\s.,:;()'%-]|^[ei]", lambda found: f"&#{ord(found[0])};", " ".join(text.split()))


@contextmanager
def unless_stopped() -> Iterator[None]:
    """Leave off where viser takes no message any more because its server is being stopped."""
    try:
        yield
    except RuntimeError as error:
        if "shutdown" not in str(error):
            raise
