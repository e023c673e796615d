"""What a training run took and ran on, saved beside its ``config.yml`` so that figures can be traced."""

from __future__ import annotations

import datetime
import math
import platform
import subprocess
import time
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

import torch

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import load_json, save_json
from nerfblendshape_ns.common.memory import peak_memory_mb
from nerfblendshape_ns.common.parallel import num_cores
from nerfblendshape_ns.common.version import __version__

FILE = "training.json"
"""Name of the record in a run's folder."""


class TrainingClock:
    """Time spent in training, earlier parts of a resumed run included.

    Args:
        earlier: the record of the run that is resumed; None for a new one.
    """

    def __init__(self, earlier: Optional[Mapping[str, Any]] = None) -> None:
        commit()  # Which code this is: at the end the checkout may be another.
        self._wall = time.monotonic() - 60.0 * (earlier or {}).get("minutes", 0.0)
        self._cpu = time.process_time() - 60.0 * (earlier or {}).get("cpu_minutes", 0.0)

    def minutes(self) -> Dict[str, float]:
        """``minutes`` by the clock and ``cpu_minutes`` of this process, all its threads together."""
        return {
            "minutes": round((time.monotonic() - self._wall) / 60.0, 3),
            "cpu_minutes": round((time.process_time() - self._cpu) / 60.0, 3),
        }


def save_training_record(folder: Path, config: Any, steps: int, clock: TrainingClock) -> None:
    """Write what belongs to a run's figures.

    Args:
        folder: of the run.
        config: nerfstudio's trainer config.
        steps: how many were trained.
        clock: started with the training.
    """
    on_gpu = config.machine.device_type == "cuda"
    record = {
        "method": config.method_name,
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": machine(on_gpu),
        "device": config.machine.device_type,
        "seed": config.machine.seed,
        "steps": steps,
        **clock.minutes(),
        "host_memory_mb": peak_memory_mb(),
        "gpu_memory_mb": round(torch.cuda.max_memory_reserved() / 2**20) if on_gpu else None,
        "versions": versions(),
    }
    save_json(folder / FILE, record)


def load_training_record(folder: Path) -> Optional[Dict[str, Any]]:
    """A run's record, None where it has none.

    Raises:
        UserError: the file is broken.
    """
    if not (folder / FILE).is_file():
        return None
    record = load_json(folder / FILE)
    times = [record.get(name, 0.0) for name in ("minutes", "cpu_minutes")] if isinstance(record, dict) else [None]
    if not all(isinstance(time, (int, float)) and math.isfinite(time) for time in times):
        raise UserError(f"{folder / FILE} is no record of a training; remove it.")
    return record


def versions() -> Dict[str, str]:
    """Releases of what the figures depend on."""
    return {
        "python": platform.python_version(),
        "nerfblendshape_ns": __version__,
        "torch": str(torch.__version__),  # With the build's CUDA, which the package's metadata lack.
        **{name: version(name) for name in ("numpy", "nerfstudio", "nerfacc", "warp-lang")},
    }


def machine(on_gpu: bool) -> str:
    """The GPU's name, or the processor's with the number of cores that this process may use."""
    if on_gpu:
        return torch.cuda.get_device_name()
    cores = num_cores()
    return f"{_processor()}, {cores} {'core' if cores == 1 else 'cores'}"


@cache
def commit() -> Optional[str]:
    """Commit of the package's checkout when this was first asked, since what comes into it later is not the code that
    runs; with ``+`` where tracked files other than results differ from it, None outside of git."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)results")
        return f"{head}+" if changed else head
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - constants; whose git, PATH says.
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
