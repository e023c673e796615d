"""The error a user is meant to read."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Iterator


class UserError(ValueError):
    """Bad input, told in one sentence: what is wrong, in which file or frame, and what to do about it.

    Library code raises it; the command-line tools print its message without a traceback and exit with status 1.
    """


@contextmanager
def report_user_errors() -> Iterator[None]:
    """Turn a :class:`UserError` into a message on stderr and exit status 1; used round every console script."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
