"""Time the preparation of a clip by this checkout beside another one.

    python benchmarks/preparation.py VIDEO --other COMMIT [--rounds 3] [--max-frames 352] [--record] [--json]

Both run ``nbs-process-data`` in turn, each time into a new folder, as processes of this Python on the cores that this
process may use (``taskset -c 0,1 python ...`` for two of them). ``COMMIT`` may also be a folder that holds a checkout;
``--record`` appends the ratio to ``benchmarks/history.jsonl``. With ``--json`` the last line is one JSON object: the
median ``seconds``, ``cpu_seconds`` and ``peak_mb`` of either checkout, ``preparation_ratio`` (seconds of this one over
those of the other), the seconds of every run, the cores and the load average.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List

from checkouts import HERE, checkout, record

from nerfblendshape_ns.common.errors import UserError, report_user_errors
from nerfblendshape_ns.common.parallel import num_workers

FIGURES = ("seconds", "cpu_seconds", "peak_mb")


def prepare(folder: Path, arguments: List[str]) -> Dict[str, float]:
    """What one preparation takes.

    Raises:
        UserError: it fails.
    """
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-m", "nerfblendshape_ns.scripts.process_data", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        start = time.perf_counter()
        with (Path(work) / "log.txt").open("w+b") as log:
            process = subprocess.Popen(
                [*command, "--output", f"{work}/dataset"], stdout=log, stderr=log, env=environment, cwd=work
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            if status:
                log.seek(0)
                raise UserError(f"preparing by {folder} failed: {log.read().decode(errors='replace')[-2000:]}")
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return {"seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / scale}


def main() -> None:
    """Prepare in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, help="a clip")
    parser.add_argument("--other", required=True, help="another checkout of this repository: a commit or a folder")
    parser.add_argument("--rounds", type=int, default=3, help="preparations by each")
    parser.add_argument("--max-frames", type=int, help="use only the first so many frames")
    parser.add_argument("--record", action="store_true", help="append the ratio to benchmarks/history.jsonl")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    arguments = ["--video", str(options.video.resolve())]
    if options.max_frames:
        arguments += ["--max-frames", str(options.max_frames)]
    runs: Dict[str, List[Dict[str, float]]] = {"this": [], "other": []}
    with report_user_errors(), checkout(options.other) as other:
        for number in range(options.rounds):
            for name, folder in (("this", HERE), ("other", other)):
                runs[name].append(prepare(folder, arguments))
                text = "{seconds:.1f} s, {cpu_seconds:.1f} s of CPU, {peak_mb:.0f} MB".format(**runs[name][-1])
                print(f"round {number + 1}, {name}: {text}", flush=True)
    medians = {
        name: {figure: round(statistics.median(run[figure] for run in found), 1) for figure in FIGURES}
        for name, found in runs.items()
    }
    ratio = round(medians["this"]["seconds"] / medians["other"]["seconds"], 3)
    print(f"this checkout takes {ratio} of the other's time")
    if options.record:
        record("preparation", {"video": options.video.name, "other": options.other, "preparation_ratio": ratio})
    if options.json:
        every = {name: [round(run["seconds"], 1) for run in found] for name, found in runs.items()}
        figures = {"preparation_ratio": ratio, **medians, "every_run": every}
        print(json.dumps({**figures, "cores": num_workers(), "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
