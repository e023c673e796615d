"""What a batch costs beside its clips: many short jobs, on a Dask cluster of one machine and by threads of one process.

    python benchmarks/batch.py [--jobs 1000] [--seconds 0.05] [--workers 2] [--json]

A job is a process that sleeps. Overhead is what it takes beyond that: ``overhead_ms`` by the clock, for each job and
worker; ``process_ms`` is the part of it that starting such a process takes alone, and ``cpu_ms`` the processor time of
batch, scheduler and workers, for each job. Memory is the scheduler's, before the first job and after the last, and the
batch's own.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List

import psutil
from rich.console import Console

from nerfblendshape_ns.batch.options import BatchOptions
from nerfblendshape_ns.batch.plan import Clip
from nerfblendshape_ns.batch.run import make_clips

START_SECONDS = 300


def start(folder: Path, tool: str, *words: str) -> psutil.Popen:
    """A scheduler or worker of Dask on loopback."""
    own = ["--scheduler-file", str(folder / "scheduler.json"), "--host", "127.0.0.1", "--no-dashboard", *words]
    with (folder / f"{tool}.txt").open("ab") as log:
        return psutil.Popen([sys.executable, "-m", f"distributed.cli.dask_{tool}", *own], stdout=log, stderr=log)


def cpu_seconds(processes: List[Any]) -> float:
    """Processor time of processes, without that of their children."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def batch(
    folder: Path, count: int, seconds: float, workers: int, processes: List[Any], **engine: Any
) -> Dict[str, float]:
    """Make so many clips that sleep; the overhead of each in milliseconds."""
    command = ("-I", "-S", "-c", f"import time; time.sleep({seconds})")
    clips = [Clip(f"clip{number}", folder / f"clip{number}", command, "sleep") for number in range(count)]
    folder.mkdir()
    begun, cpu = time.perf_counter(), cpu_seconds(processes)
    options = BatchOptions((), Path("clip.yaml"), folder, **engine)
    statuses = make_clips(clips, options, "sleepers", Console(file=io.StringIO()))
    took, cpu = time.perf_counter() - begun, cpu_seconds(processes) - cpu
    assert all(status.state == "done" and status.attempts == 1 for status in statuses), "each is done once"
    return {
        "seconds": round(took, 1),
        "overhead_ms": round(1e3 * (took * workers / count - seconds), 1),
        "cpu_ms": round(1e3 * cpu / count, 1),
    }


def process_seconds(seconds: float, rounds: int = 20) -> float:
    """What a job takes beyond its sleep where nothing is done but start its process."""
    command = [sys.executable, "-I", "-S", "-c", f"import time; time.sleep({seconds})"]
    begun = time.perf_counter()
    for _ in range(rounds):
        subprocess.run(command, check=True)
    return (time.perf_counter() - begun) / rounds - seconds


def main() -> None:
    """Run the jobs by each engine, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000, help="clips")
    parser.add_argument("--seconds", type=float, default=0.05, help="what each takes")
    parser.add_argument("--workers", type=int, default=2, help="clips at a time")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    common = (options.jobs, options.seconds, options.workers)
    this = psutil.Process()
    figures: Dict[str, Any] = {"jobs": options.jobs, "load": round(os.getloadavg()[0], 1)}
    figures["process_ms"] = round(1e3 * process_seconds(options.seconds), 1)
    with tempfile.TemporaryDirectory() as work, ExitStack() as stack:
        folder = Path(work)
        processes = [start(folder, "scheduler", "--port", "0")]
        stack.callback(lambda: [process.kill() for process in processes])
        end = time.monotonic() + START_SECONDS
        while not (folder / "scheduler.json").exists():
            assert time.monotonic() < end, "the scheduler did not start"
            time.sleep(0.1)
        words = ("--no-nanny", "--nthreads", "1", "--resources", "clip=1")
        processes += [start(folder, "worker", *words) for _ in range(options.workers)]
        # All workers are there, and have imported what they need, after the first few jobs.
        scheduler = str(folder / "scheduler.json")
        batch(folder / "first", 4 * options.workers, 1.0, options.workers, [this], scheduler=scheduler)
        before = processes[0].memory_info().rss
        figures["dask"] = batch(folder / "dask", *common, [this, *processes], scheduler=scheduler)
        memory = {"scheduler_before": before, "scheduler_after": processes[0].memory_info().rss}
        memory["batch"] = this.memory_info().rss
        figures["memory_mb"] = {name: round(value / 1e6, 1) for name, value in memory.items()}
        print(f"Dask: {figures['dask']}; memory, MB: {figures['memory_mb']}", flush=True)
        figures["threads"] = batch(folder / "threads", *common, [this], jobs=options.workers)
        print(f"threads: {figures['threads']}", flush=True)
    print(f"a process alone: {figures['process_ms']} ms; load {figures['load']}")
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
