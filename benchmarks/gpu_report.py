"""Everything that is wanted of a GPU, in two commands of less than five minutes each, without any download.

    pip install torch torchvision --editable . pytest
    python benchmarks/gpu_report.py kernels --output REPORT
    python benchmarks/gpu_report.py train DATASET --output REPORT [--minutes 2.5]

``kernels``: ``encode.py``, ``large_head.py`` (pictures of 256 and 512 pixels), ``step.py``, then the CUDA tests.
``train``: ``nerfblendshape-head`` on a prepared dataset, its figures on test frames, its profile (see ``training.py``).

Neither the tracking packages nor a browser are needed, nor a network. Each stage is a process with a time limit of its
own: one that hangs or fails is reported, and the next one runs. What a stage prints is shown and written at once to
``REPORT/COMMAND.txt``, its outcome and its last line of JSON to ``REPORT/COMMAND.jsonl``, one line per stage.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any, Dict, List, NamedTuple, Optional

HERE = Path(__file__).resolve().parent
TOTAL_SECONDS = 290.0


class Stage(NamedTuple):
    """A command with a time limit."""

    name: str
    command: List[str]
    seconds: float


class Report:
    """The stages of one command.

    Args:
        folder: where the two files go.
        command: their name.
        total_seconds: no stage runs longer than what is left of it.
    """

    def __init__(self, folder: Path, command: str, total_seconds: float = TOTAL_SECONDS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._text = open(folder / f"{command}.txt", "w", buffering=1)
        self._records = open(folder / f"{command}.jsonl", "w", buffering=1)
        self._end = time.monotonic() + total_seconds

    def record(self, entry: Dict[str, Any]) -> None:
        """Print and keep one line of JSON."""
        line = json.dumps(entry)
        print(line, flush=True)
        self._records.write(line + "\n")

    def run(self, stage: Stage) -> Dict[str, Any]:
        """Run a stage to its end or its time limit; the figures that its last line holds, none where it failed."""
        limit = min(stage.seconds, self._end - time.monotonic())
        entry: Dict[str, Any] = {"stage": stage.name, "outcome": "no time was left for it", "seconds": 0.0}
        lines: List[str] = []
        if limit > 1.0:
            self._text.write(f"\n=== {stage.name}: {' '.join(stage.command)}\n")
            started = time.monotonic()
            code = self._follow(stage.command, limit, lines)
            entry["seconds"] = round(time.monotonic() - started, 1)
            over = f"stopped at its limit of {limit:.0f} s"
            entry["outcome"] = over if code is None else "done" if code == 0 else f"failed with exit code {code}"
        entry["figures"] = _figures(lines) if entry["outcome"] == "done" else {}
        if not entry["figures"]:
            entry["tail"] = lines[-15:]
        self.record(entry)
        return entry["figures"]

    def _follow(self, command: List[str], limit: float, lines: List[str]) -> Optional[int]:
        """The exit code; None where the limit came first."""
        paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(paths)}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment,
            cwd=HERE.parent, start_new_session=True,
        )  # fmt: skip
        reader = threading.Thread(target=self._copy, args=(process.stdout, lines), daemon=True)
        reader.start()
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            reader.join(5.0)

    def _copy(self, output: IO[str], lines: List[str]) -> None:
        for line in output:
            print(line, end="", flush=True)
            self._text.write(line)
            lines.append(line.rstrip())


def _figures(lines: List[str]) -> Dict[str, Any]:
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _said(*command: str) -> str:
    """What a command prints, empty where it fails or does not exist."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def machine() -> Dict[str, Any]:
    """What the figures were taken on."""
    import torch

    from nerfblendshape_ns.engine.training_record import commit

    return {
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "driver": _said("nvidia-smi", "--query-gpu=driver_version,memory.total", "--format=csv,noheader") or None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "commit": commit(),
    }


def benchmark(name: str, *options: Any) -> List[str]:
    """The command of another benchmark."""
    return [sys.executable, str(HERE / f"{name}.py"), *map(str, options)]


def kernel_stages(options: argparse.Namespace) -> List[Stage]:
    """The benchmarks of the parts, then the tests, which may take what time is left."""
    common = ("--json", "--rounds", options.rounds, "--device", options.device)
    settle = ("--settle", options.settle)
    files = sorted((HERE.parent / "tests").glob("test_cuda*.py"))
    tests = [sys.executable, "-m", "pytest", *map(str, files), "-q", "--durations=10"]
    return [
        Stage("encode", benchmark("encode", *common), 60.0),
        Stage("large_head", benchmark("large_head", *common, *settle, "--sizes", *options.sizes), 90.0),
        Stage("step", benchmark("step", *common, *settle), 90.0),
        Stage("cuda_tests", tests, 180.0),
    ]


def train(report: Report, options: argparse.Namespace) -> None:
    """Training, then figures and profile of the run that it left."""
    with tempfile.TemporaryDirectory() as runs:
        command = ["train", options.dataset.resolve(), "--output", runs, "--minutes", options.minutes]
        command += ["--method", options.method, "--device", options.device, "--set", *options.set]
        run = report.run(Stage("training", benchmark("training", *command), 60 * options.minutes + 75)).get("config")
        if run is not None:
            report.run(Stage("figures", benchmark("training", "figures", run, "--frames", options.frames), 60.0))
            report.run(Stage("profile", benchmark("training", "profile", run, "--steps", options.steps), 60.0))


def parser() -> argparse.ArgumentParser:
    """The options of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    kernels, training = commands.add_parser("kernels"), commands.add_parser("train")
    for command in (kernels, training):
        command.add_argument("--output", type=Path, default=Path("gpu_report"), help="folder of the two files")
        command.add_argument("--device", default="cuda", help="cpu tries it out where there is no GPU")
    kernels.add_argument("--rounds", type=int, default=7, help="measurements of each")
    kernels.add_argument("--settle", type=int, default=400, help="training steps before anything is measured")
    kernels.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="sides of the pictures in pixels")
    training.add_argument("dataset", type=Path, help="a prepared dataset")
    training.add_argument("--minutes", type=float, default=2.5, help="of training; half a minute more is set-up")
    training.add_argument("--method", default="nerfblendshape-head")
    training.add_argument("--frames", type=int, default=8, help="test frames that are measured")
    training.add_argument("--steps", type=int, default=16, help="steps that are profiled")
    training.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="replaced settings")
    return parser


def main(arguments: List[str]) -> None:
    """Run one of the two commands."""
    options = parser().parse_args(arguments)
    report = Report(options.output, options.command)
    report.record({"stage": "machine", **machine()})
    if options.command == "train":
        train(report, options)
        return
    for stage in kernel_stages(options):
        report.run(stage)


if __name__ == "__main__":
    main(sys.argv[1:])
