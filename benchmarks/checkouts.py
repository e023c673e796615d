"""What benchmarks share that compare this checkout with another one: getting it, and remembering what came out."""

from __future__ import annotations

import datetime
import io
import json
import platform
import subprocess
import tarfile
import tempfile
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, Iterator

from nerfblendshape_ns.common.errors import UserError

HERE = Path(__file__).resolve().parents[1]
HISTORY = HERE / "benchmarks" / "history.jsonl"
PACKAGES = ("torch", "warp-lang", "nerfstudio", "nerfacc", "numpy")


@contextmanager
def checkout(other: str) -> Iterator[Path]:
    """A checkout of this repository: a folder, or the files of a commit in a temporary one.

    Raises:
        UserError: it is neither.
    """
    if Path(other).is_dir():
        yield Path(other).resolve()
        return
    archive = subprocess.run(["git", "archive", other], cwd=HERE, capture_output=True)
    if archive.returncode:
        raise UserError(f"--other {other} is neither a folder nor a commit of {HERE}; give one of them.")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(folder)  # noqa: S202 - git made it of this repository.
        yield Path(folder)


def record(benchmark: str, ratios: Dict[str, Any], history: Path = HISTORY) -> None:
    """Append a line to the history: which benchmark, when, commit, machine, versions, and its ratios."""
    line = {
        "benchmark": benchmark,
        "date": datetime.date.today().isoformat(),
        "commit": commit_of(HERE),
        "machine": f"{platform.machine()}, {_processor()}",
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
        "ratios": ratios,
    }
    with history.open("a") as file:
        file.write(json.dumps(line) + "\n")


def commit_of(folder: Path) -> str:
    """The commit of a checkout, with a plus where its files differ; empty where there is no repository."""
    found = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=folder, capture_output=True, text=True)
    return found.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
