"""Filling a folder that ``output_paths`` lets a tool write: its record, one process at a time, all or nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Collection, Iterator, List, Sequence

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import ABANDONED_SECONDS, remove_temporaries, room_needed, save_json
from nerfblendshape_ns.common.file_lock import try_lock
from nerfblendshape_ns.common.output_paths import (
    RECORD,
    check_folder,
    missing_folders,
    read_record,
    remove_empty,
)
from nerfblendshape_ns.common.version import __version__

UNFINISHED = ".unfinished"
"""Subfolder in which the new content of a folder is prepared."""


@contextmanager
def claimed_folder(
    folder: Path, tool: str, inputs: Sequence[Path] = (), option: str = "--output", record: str = RECORD
) -> Iterator[bool]:
    """Check a folder, put the tool's record into it and keep other processes of the tool out.

    A folder in which nothing but the record lies at the end is removed again where this made it.

    Args:
        folder: as for :func:`check_folder`, like the others.
        tool: name of the tool.
        inputs: files and folders that the tool reads.
        option: how the user gives the folder.
        record: name of the record.

    Yields:
        Whether the record is new, so that all that comes into the folder is this run's.

    Raises:
        UserError: as :func:`check_folder`, or another process is writing the folder.
    """
    check_folder(folder, tool, inputs, option, record)
    made = missing_folders(folder)
    try:
        with room_needed(folder), _locked(folder, tool, option):
            remove_temporaries(folder, seconds=ABANDONED_SECONDS if os.name == "nt" else 0.0)  # No lock there.
            is_new = read_record(folder, tool, record) is None
            if is_new:
                save_json(folder / record, {"tool": tool, "version": __version__})
            try:
                yield is_new
            finally:
                with suppress(OSError):
                    if os.listdir(folder) == [record]:
                        (folder / record).unlink()
    finally:
        remove_empty(made)


@contextmanager
def replaced_folder(folder: Path, tool: str, inputs: Sequence[Path] = (), option: str = "--output") -> Iterator[Path]:
    """Fill a folder all or nothing: what an earlier run of the tool left stays until the new content is complete.

    Args:
        folder: as for :func:`check_folder`, like the others.
        tool: name of the tool.
        inputs: files and folders that the tool reads.
        option: how the user gives the folder.

    Yields:
        An empty folder, as an absolute path, for the new content; it becomes the folder's content at the end.

    Raises:
        UserError: as :func:`claimed_folder`, or the user has added or changed a file.
    """
    with claimed_folder(folder, tool, inputs, option):
        check_unchanged(folder, tool, option)
        work = Path(os.path.abspath(folder)) / UNFINISHED
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
            publish(work, folder, tool)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def check_unchanged(folder: Path, tool: str, option: str = "--output") -> None:
    """Refuse to replace a folder that has files of the user's beside the tool's.

    Raises:
        UserError: a file was added, or changed, after the tool wrote the folder.
    """
    foreign = foreign_files(folder, tool)
    if foreign:
        raise UserError(
            f"{folder / foreign[0]} was added or changed after {tool} wrote {folder}; move it away, or give {option} "
            "another folder."
        )


def foreign_files(folder: Path, tool: str) -> List[str]:
    """Names, relative to the folder, of files that ``tool`` did not write or that were changed since."""
    document = read_record(folder, tool) or {}
    known = [document.get("files", {}), document.get("former", {})]
    foreign = []
    for name in _files_below(folder):
        if not any(name in files and files[name] == _digest(folder / name) for files in known):
            foreign.append(name)
    return foreign


def publish(work: Path, folder: Path, tool: str, keep: Collection[str] = ()) -> None:
    """Let the files of ``work`` take the place of what ``tool`` has written into ``folder``, and record them.

    A kill in between leaves files that the record knows all of. Files at the top, of which a dataset's
    ``transforms.json`` is one, go first and come last, so that no mixture passes for a finished result.

    Args:
        work: a folder on the same disk.
        folder: has the tool's record.
        tool: name of the tool.
        keep: names of files that stay although ``work`` lacks them.
    """
    recorded = (read_record(folder, tool) or {}).get("files", {})
    foreign = foreign_files(folder, tool)
    former = {name: _digest(folder / name) for name in _files_below(folder) if name not in foreign}
    new = {name: _digest(work / name) for name in _files_below(work)}
    files = {**{name: recorded[name] for name in keep if name in recorded}, **new}
    document = {"tool": tool, "version": __version__, "files": files}
    save_json(folder / RECORD, {**document, "former": former})
    for name in sorted(set(former) - set(keep), key=_depth):
        (folder / name).unlink()
        remove_empty([parent for parent in (folder / name).parents if parent.is_relative_to(folder)][:-1])
    for name in sorted(new, key=_depth, reverse=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(work / name, folder / name)
    save_json(folder / RECORD, document)


def clear_folder(folder: Path) -> None:
    """Delete all that lies in a folder."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _files_below(folder: Path) -> List[str]:
    """Relative names of all files in a folder, links included, but for the record and what is unfinished."""
    names = []
    for where, folders, files in os.walk(folder):
        at = Path(where).relative_to(folder)
        if at == Path():
            folders[:] = [name for name in folders if name != UNFINISHED]
            files = [name for name in files if name != RECORD]
        files += [name for name in folders if os.path.islink(os.path.join(where, name))]
        names += [(at / name).as_posix() for name in files]
    return sorted(names)


def _depth(name: str) -> int:
    return name.count("/")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""


@contextmanager
def _locked(folder: Path, tool: str, option: str) -> Iterator[None]:
    """Make a folder if there is none, and hold a lock on it."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.name == "nt":  # Folders cannot be opened there.
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if not try_lock(handle):
            raise UserError(f"another {tool} is writing {folder}; wait until it is done, or give another {option}.")
        yield
    finally:
        os.close(handle)
