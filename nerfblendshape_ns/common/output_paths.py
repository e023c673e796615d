"""Where tools may write: one rule for all of them, so that what is not theirs is never touched.

A folder belongs to the tool whose record lies in it, whatever its files are called or contain: with the record it is
resumed or replaced without a question, without one it must be empty. A file that exists is replaced only with
``--overwrite``. Nothing is written over, or into, what is read. ``output_folders`` fills folders that passed.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import ABANDONED_SECONDS, TEMPORARY, not_writable, remove_temporaries

RECORD = "nbs-output.json"
"""Name of the record, a JSON file with ``tool``, ``version`` and, in a finished folder, ``files``: a digest by name."""


def check_file(path: Path, overwrite: bool, inputs: Sequence[Path] = (), option: str = "--output") -> None:
    """Refuse a file that a tool must not write, before the work on it begins.

    Args:
        path: the file to write.
        overwrite: whether an existing file may be replaced.
        inputs: files and folders that the tool reads.
        option: how the user gives the path, for messages.

    Raises:
        UserError: the file exists, is a folder, an input or inside one, or cannot be written there.
    """
    check_apart(path, inputs, option)
    if os.path.isdir(path):
        raise UserError(f"{option} {path} is a folder; give the name of a file.")
    if os.path.lexists(path) and not overwrite:
        raise UserError(f"{path} exists already; give --overwrite to replace it, or another {option}.")
    _check_writable(path, path.parent, path.name)
    if path.parent.is_dir():
        remove_temporaries(path.parent, path.name, ABANDONED_SECONDS)


def check_folder(
    folder: Path, tool: str, inputs: Sequence[Path] = (), option: str = "--output", record: str = RECORD
) -> None:
    """Refuse a folder that a tool must not write into, before the work on it begins.

    Args:
        folder: the folder to write; it need not exist.
        tool: name of the tool, as its record states it.
        inputs: files and folders that the tool reads.
        option: how the user gives the folder, for messages.
        record: name of the record.

    Raises:
        UserError: the folder holds something and no record of this tool, is a file, is or holds an input or lies inside
            one, or cannot be written.
    """
    check_apart(folder, inputs, option)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UserError(f"{option} {folder} is a file; give a folder.")
    if os.path.isdir(folder):
        try:
            # A process that was killed before it had written its record may have left no more than a temporary file.
            is_empty = all(TEMPORARY.fullmatch(name) for name in os.listdir(folder))
        except OSError as error:
            raise not_writable(folder, error) from None
        if not is_empty and read_record(folder, tool, record) is None:
            raise UserError(
                f"{folder} is not empty and no {record} in it says that {tool} wrote it, so it is left as it is; give "
                f"{option} a new or an empty folder."
            )
    _check_writable(folder, folder, record)


def check_apart(output: Path, inputs: Sequence[Path], option: str = "--output") -> None:
    """Refuse an output that is an input, lies inside one or holds one.

    Raises:
        UserError: as said.
    """
    target = Path(os.path.realpath(output))
    for given in inputs:
        source = Path(os.path.realpath(given))
        if target == source or (os.path.exists(target) and os.path.exists(source) and os.path.samefile(target, source)):
            raise UserError(f"{option} {output} is {given} itself; give another place.")
        if target.is_relative_to(source):
            raise UserError(f"{option} {output} lies inside {given}; give a place outside of it.")
        if source.is_relative_to(target):
            raise UserError(f"{option} {output} is a folder that holds {given}; give another place.")


def files_among(paths: Sequence[Path]) -> List[Path]:
    """Those of a tool's inputs that are files: a run's folder may hold what is made from the run."""
    return [path for path in paths if path.is_file()]


def read_record(folder: Path, tool: str, record: str = RECORD) -> Optional[Dict[str, Any]]:
    """The record of ``tool`` in a folder; None where there is none, or it is another tool's or damaged."""
    try:
        document = json.loads((folder / record).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    ours = isinstance(document, dict) and document.get("tool") == tool
    return document if ours and all(isinstance(document.get(key, {}), dict) for key in ("files", "former")) else None


def folder_name(name: str) -> str:
    """A name, such as a person's, as that of one folder: letters of any script, their marks, digits, - and _ stay."""
    # One way to write an accented letter, of which macOS takes another for the names of files.
    composed = unicodedata.normalize("NFC", name)
    return re.sub("/+", "_", "".join(each if _stays(each) else "/" for each in composed))


def _stays(character: str) -> bool:
    return character.isalnum() or character in "-_" or unicodedata.category(character).startswith("M")


def missing_folders(folder: Path) -> List[Path]:
    """The folder and those above it, as far as they do not exist, innermost first."""
    missing = []
    for path in [folder, *folder.parents]:
        if os.path.lexists(path):
            break
        missing.append(path)
    return missing


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove those of the folders that are empty."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _check_writable(path: Path, folder: Path, name: str) -> None:
    """Try to write beside what is to be written: permissions alone do not tell (root, network, ``/proc``)."""
    missing = missing_folders(folder)
    trial = folder / f".{name}.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.touch(exist_ok=False)
        trial.unlink(missing_ok=True)
    except OSError as error:
        raise not_writable(path, error) from None
    finally:
        remove_empty(missing)
