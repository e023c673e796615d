"""The error a user is meant to read."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Callable, Iterator, List, Optional, TypeVar
from unicodedata import category

T = TypeVar("T")
LONGEST_MESSAGE = 4000
"""Characters; the middle of a longer one is left out."""


class UserError(ValueError):
    """Bad input, reported in one sentence: what is wrong, in which file or frame, and what to do about it.

    Library code raises it; the command-line tools print its message without a traceback and exit with status 1.

    Args:
        message: what of it comes out of a file may be anything; what no terminal should be sent is left out.
    """

    def __init__(self, message: str) -> None:
        if len(message) > LONGEST_MESSAGE:
            message = f"{message[: LONGEST_MESSAGE // 2]} … {message[-LONGEST_MESSAGE // 2 :]}"
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Text without what a terminal acts on but ends of lines and tabs: escape sequences, or halves of characters."""
    # Names of files may hold other spaces than U+0020, and the joiners of Persian and of emoji.
    return "".join(
        each if each.isprintable() or each in "\n\t\u200c\u200d" or category(each) == "Zs" else "\ufffd"
        for each in text
    )


_collected: ContextVar[Optional[List[UserError]]] = ContextVar("collected_user_errors", default=None)


@contextmanager
def collect_user_errors() -> Iterator[List[UserError]]:
    """Let :func:`raise_or_collect` note errors in the list this gives, so that a reader finds more than the first.

    What a reader returns from inside is only good for looking at: stand-ins take the place of what is wrong.
    """
    errors: List[UserError] = []
    token = _collected.set(errors)
    try:
        yield errors
    finally:
        _collected.reset(token)


def raise_or_collect(error: UserError) -> None:
    """Raise the error; inside :func:`collect_user_errors` note it and return: the caller goes on with a stand-in."""
    errors = _collected.get()
    if errors is None:
        raise error
    errors.append(error)


def collected(read: Callable[[], T], stand_in: T) -> T:
    """What ``read`` gives; where errors are collected and it raises one, the stand-in."""
    try:
        return read()
    except UserError as error:
        raise_or_collect(error)
        return stand_in


@contextmanager
def report_user_errors() -> Iterator[None]:
    """Turn a :class:`UserError` into a message on stderr and exit status 1; used round every console script.

    An interruption (Ctrl-C) is told in a word. The process still ends by it, and with it a shell's loop over files.
    """
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.excepthook = lambda *_: print("stopped", file=sys.stderr)
        raise
