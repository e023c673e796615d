"""What the targets share: how a reader is asked, and a file that is read by itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable, List, Tuple

from nerfblendshape_ns.common.errors import UserError

TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(TESTS), *(str(TESTS / name) for name in ("data", "expressions", "models", "process_data"))]

Check = Callable[[bytes], None]
Target = Callable[[Path], Tuple[List[bytes], Check]]
"""From an empty folder to valid inputs and the function that reads any."""

MESSAGES: List[str] = []
"""What readers have refused their inputs with."""


def refused(read: Callable[[], Any]) -> Any:
    """What a reader gives; None where it refuses the input in a sentence."""
    try:
        return read()
    except UserError as error:
        assert len(str(error)) < 20_000, f"a message of {len(str(error))} characters"
        MESSAGES.append(str(error))
        return None


def file_target(name: str, write: Callable[[Path], Any], read: Callable[[Path], Any]) -> Target:
    """A file that is read by itself."""

    def prepare(folder: Path) -> Tuple[List[bytes], Check]:
        path = folder / name
        write(path)
        seeds = [path.read_bytes()]

        def check(data: bytes) -> None:
            path.write_bytes(data)
            refused(lambda: read(path))

        return seeds, check

    return prepare
