"""Where a clip of a batch stands: a file in its folder, and what its log tells."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, Literal

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import load_json, save_json
from nerfblendshape_ns.recipes.values import build

STATUS, LOG = "status.json", "log.txt"
"""Files of a clip's folder."""
START = "start"
"""The step before the first heading of a log."""
LONGEST_REASON = 300
"""Characters of a reason that are shown; the log has the rest."""


@dataclass(frozen=True)
class Status:
    """Where a clip stands."""

    name: str
    """Of the clip."""
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    """``running`` of a clip that nothing works on means that the work was broken off."""
    made_from: str = ""
    """The clip's digest when it was begun."""
    attempts: int = 0
    """How often it was begun."""
    minutes: float = 0.0
    """What the last attempt took."""
    step: str = ""
    """Where it failed."""
    reason: str = ""
    """Why it failed, in one line."""
    results: Dict[str, Any] = field(default_factory=dict)
    """Figures and relative paths of a clip that is done."""


def read_status(folder: Path) -> Status:
    """What a clip's folder says; one that was never begun, or whose file is damaged, waits."""
    try:
        return build(Status, load_json(folder / STATUS), STATUS)
    except UserError:
        return Status(folder.name)


def write_status(folder: Path, status: Status) -> None:
    """Write a clip's status into its folder."""
    save_json(folder / STATUS, asdict(status))


def last_step(log: str) -> str:
    """The last heading of a log, such as ``clip: training``; nothing before the first."""
    headings = re.findall(r"^[─-]{3,} (\S.*?) [─-]{3,}$", log, flags=re.MULTILINE)
    return headings[-1] if headings else ""


def last_error(log: str) -> str:
    """The last line of a log that says what went wrong: that of a user's error, else the last of all."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", log).splitlines() if line.strip()]
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (told or lines or ["it said nothing"])[-1][:LONGEST_REASON]


def read_log(folder: Path, start: int = 0) -> str:
    """A clip's log from a byte on; nothing where there is none."""
    try:
        with (folder / LOG).open("rb") as file:
            file.seek(start)
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
