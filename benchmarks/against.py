"""Time a training step and images of the small head by this checkout beside another one.

    python benchmarks/against.py DATASET --other COMMIT [--settle 600] [--rounds 9] [--threads 1 2] [--record] [--json]

Each checkout trains ``nerfblendshape-head-small`` on the dataset at 128 pixels, with its own names, mesh and landmarks,
in a process of its own. After ``--settle`` steps they take turns, and while one is measured the other waits: sixteen
steps, an image of 128 and one of 256 pixels of a training frame, on so many threads. Printed are medians, and of the
ratios within a round: how many times faster this checkout is. ``cpu`` is processor time, which on one thread is what
the clock would show on an idle machine; ``wall`` is what it does show. ``--record`` appends the ratios to
``benchmarks/history.jsonl``. ``COMMIT`` may also be a folder that holds a checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List, Tuple

from checkouts import HERE, checkout, commit_of, record

from nerfblendshape_ns.common.errors import UserError, report_user_errors

STEPS = 16
"""As many as lie between two updates of the occupancy."""
SIZES = (128, 256)
"""Pixels along the longer side of the images."""
CLOCKS = ("cpu", "wall")


class Contestant:
    """A checkout's process, which does as it is told by lines of text.

    Args:
        folder: the checkout.
        arguments: of ``stepper.py``.

    Raises:
        UserError: it ends before it is asked to; what it printed is in the message.
    """

    def __init__(self, folder: Path, arguments: List[str]) -> None:
        self.folder = folder
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        command = [sys.executable, str(HERE / "benchmarks" / "stepper.py"), *arguments]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=folder, env=environment)

    def ask(self, what: str) -> Dict[str, Any]:
        """Do one thing; what it took."""
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> Dict[str, Any]:
        """The next line that is an answer; others are what the checkout says."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise UserError(f"the run of {self.folder} ended with status {self._process.wait()}; see its output above.")

    def end(self) -> None:
        """Let it go, and wait."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def measure(dataset: Path, other: Path, settle: int, rounds: int, threads: Tuple[int, ...]) -> Dict[str, Any]:
    """Milliseconds of both checkouts, and ratios: those of ``other`` over those of this one.

    Args:
        dataset: of the clip.
        other: the other checkout.
        settle: training steps before anything is measured.
        rounds: measurements of each.
        threads: numbers of threads.
    """
    arguments = [str(dataset.resolve()), str(settle), str(STEPS)]
    tasks = {"step": "step", **{f"image_{size}": str(size) for size in SIZES}}
    taken: Dict[str, Dict[str, List[float]]] = {}
    with ExitStack() as stack:
        contestants: List[Contestant] = []
        for folder in (HERE, other):
            contestants.append(Contestant(folder, arguments))
            stack.callback(contestants[-1].end)
            contestants[-1].answer()
        for number in range(rounds):
            for task, word in tasks.items():
                for count in threads:
                    # Who is first changes, so that neither always finds the caches as the other left them.
                    order = (0, 1) if number % 2 else (1, 0)
                    spent = {which: contestants[which].ask(f"{word} {number} {count}") for which in order}
                    for clock in CLOCKS:
                        both = taken.setdefault(f"{task}_{count}t_{clock}", {"this": [], "other": []})
                        scale = 1e3 / (STEPS if task == "step" else 1)
                        both["this"].append(scale * spent[0][clock])
                        both["other"].append(scale * spent[1][clock])
    return {
        "ratios": {
            name: round(statistics.median(b / a for a, b in zip(both["this"], both["other"])), 3)
            for name, both in taken.items()
        },
        "ms": {
            name: {side: round(statistics.median(values), 2) for side, values in both.items()}
            for name, both in taken.items()
        },
    }


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="a prepared clip")
    parser.add_argument("--other", required=True, help="another checkout of this repository: a commit or a folder")
    parser.add_argument("--settle", type=int, default=600, help="training steps before anything is measured")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads")
    parser.add_argument("--record", action="store_true", help="append the ratios to benchmarks/history.jsonl")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    with report_user_errors(), checkout(options.other) as other:
        figures = measure(options.dataset, other, options.settle, options.rounds, tuple(options.threads))
        figures["other"] = commit_of(other) or options.other
    for name, both in figures["ms"].items():
        row = f"{both['this']:10.2f} ms {both['other']:10.2f} ms"
        print(f"{name:>20} {row} {figures['ratios'][name]:8.2f} times faster")
    figures |= {"dataset": options.dataset.resolve().name, "settle": options.settle, "load": os.getloadavg()[0]}
    if options.record:
        remembered = {key: figures[key] for key in ("dataset", "settle", "other")}
        record("against", {**remembered, **figures["ratios"]})
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
