"""Which steps are done: ``process.json`` with one entry per step, and folders that are replaced as a whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional, Protocol, Sequence, Tuple

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract

# To be raised when a step's code changes so that output of the earlier code must not be reused.
FORMAT = 5

Result = Tuple[Dict[str, Any], List[str]]
"""What a step puts into ``process.json``: its summary and its warnings."""


class Progress(Protocol):
    """A step's progress bar."""

    def __call__(self, amount: int, total: Optional[int] = None) -> None:
        """``amount`` more is done; ``total``, once it is known, says of how much."""
        ...


class StepRecord:
    """The steps finished in one dataset directory, with the inputs that each was finished for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.document: Dict[str, Any] = {"steps": {}}
        path = root / contract.PROCESS
        if path.exists():
            loaded = file_io.load_json(path)
            steps = loaded.setdefault("steps", {}) if isinstance(loaded, dict) else None
            if not isinstance(steps, dict) or not all(isinstance(entry, dict) for entry in steps.values()):
                raise UserError(f"{path} is not a record of nbs-process-data; give --output another folder.")
            self.document = loaded

    @property
    def steps(self) -> Dict[str, Any]:
        """Entry of each finished step by name."""
        return self.document["steps"]

    def is_done(self, name: str, key: str, outputs: Sequence[str]) -> bool:
        """Whether step ``name`` was finished for ``key`` and its outputs are still there."""
        entry = self.steps.get(name)
        return bool(entry) and entry.get("key") == key and all((self.root / output).exists() for output in outputs)

    def finish(
        self,
        name: str,
        key: str,
        begun: float,
        seconds: float,
        summary: Dict[str, Any],
        warnings: List[str],
        order: Sequence[str],
    ) -> None:
        """Record a finished step and save the record, its steps in ``order``.

        ``begun``, the time by the clock in seconds, tells which steps overlapped. What the summary holds under
        ``sections`` goes to the top level of the record, for reports and other tools.
        """
        self.document.update(summary.pop("sections", {}))
        self.steps[name] = {
            "key": key,
            "begun": round(begun, 3),
            "seconds": round(seconds, 3),
            "summary": summary,
            "warnings": warnings,
        }
        # A step done again keeps its position among the others.
        self.document["steps"] = {known: self.steps[known] for known in order if known in self.steps}
        self.save()

    def forget(self, names: Sequence[str]) -> None:
        """Drop the entries of steps that are about to be done again."""
        for name in names:
            self.steps.pop(name, None)
        self.save()

    def save(self) -> None:
        """Write ``process.json``."""
        file_io.save_json(self.root / contract.PROCESS, self.document)


def step_key(name: str, previous: Sequence[str], options: Dict[str, Any]) -> str:
    """A digest of everything that a step's output follows from: the steps before it and its own options."""
    text = json.dumps([FORMAT, name, list(previous), options], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def video_key(path: Path) -> str:
    """A digest of a video by name, size and first and last megabyte, quick for any length."""
    digest = hashlib.sha256()
    size = path.stat().st_size
    digest.update(f"{path.name} {size}".encode())
    with path.open("rb") as file:
        digest.update(file.read(2**20))
        file.seek(max(0, size - 2**20))
        digest.update(file.read())
    return digest.hexdigest()[:16]


def _partial_and_marker(folder: Path) -> Tuple[Path, Path]:
    """The sibling folder in which a folder's new content is prepared, and the file that says what it is made for."""
    return folder.with_name(f".{folder.name}.partial"), folder.with_name(f".{folder.name}.partial.key")


def fresh_folder(folder: Path) -> Path:
    """An empty sibling folder for the new content of ``folder``; leftovers of an interrupted run are deleted."""
    discard_partial(folder)
    partial, _ = _partial_and_marker(folder)
    partial.mkdir(parents=True)
    return partial


def resumed_folder(folder: Path, content: Any) -> Path:
    """Like :func:`fresh_folder`, but what an interrupted run left is kept if it was made for the same ``content``.

    Files in it must be written atomically; the caller skips those that exist.

    Args:
        folder: the folder to be prepared.
        content: anything JSON can hold that decides what the files contain.
    """
    partial, marker = _partial_and_marker(folder)
    key = step_key(folder.name, [], {"content": content})
    if not (partial.is_dir() and marker.is_file() and marker.read_text() == key):
        fresh_folder(folder)
        file_io.save_text(marker, key)
    file_io.remove_temporaries(partial)
    return partial


def finish_replacing(folder: Path) -> None:
    """Settle folders of the contract that a killed process was replacing."""
    for name in (contract.IMAGES, contract.PARSING, contract.ALPHA, contract.REPORT):
        old = folder / f".{name}.old"
        if old.is_dir() and (folder / name).exists():
            shutil.rmtree(old)
        elif old.is_dir():
            # Killed between the two renames of put_in_place: the old folder is still the valid one.
            os.replace(old, folder / name)


def discard_partial(folder: Path) -> None:
    """Delete what was prepared for ``folder``."""
    partial, marker = _partial_and_marker(folder)
    marker.unlink(missing_ok=True)
    shutil.rmtree(partial, ignore_errors=True)


def put_in_place(partial: Path, folder: Path) -> None:
    """Replace ``folder`` by its finished sibling."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(partial, folder)
    shutil.rmtree(old, ignore_errors=True)
    _partial_and_marker(folder)[1].unlink(missing_ok=True)
