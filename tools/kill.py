"""Kills every tool and the trainer while they write, and lets the disk be full, read-only or without the inputs.

python tools/kill.py                       # 10 faults of each target and kind
python tools/kill.py train --faults 40     # of one target
python tools/kill.py --kinds kill full     # of two kinds

It is a defect if a file that is not whole lies under its own name, if a checkpoint is lost, if the next start of the
same work neither ends as one that nothing happened to nor says in one sentence what to do, or if it leaves behind what
the first one had begun. Kills come at a system call that writes, half of which is done, or after some time. The targets
are in tests/faults/fault_targets.py. Linux alone; full and read-only disks need root or namespaces of users.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT), str(ROOT / "tests" / "faults")]
os.environ["OMP_NUM_THREADS"] = "1"  # Work is forked off this process, which must have no threads.
os.environ["NBS_LPIPS"] = os.devnull  # Figures without networks that take seconds to load.

from fault_targets import TARGETS, networks_are_here  # noqa: E402  # pyright: ignore[reportMissingImports]
from fault_tracing import own_disk  # noqa: E402  # pyright: ignore[reportMissingImports]
from fault_trials import FAULTS, Trials  # noqa: E402  # pyright: ignore[reportMissingImports]

NEEDS_NETWORKS = ("process-data", "drive-by-video")


def main() -> int:
    """Try the targets that are asked for; status 1 where one has a defect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all if none is given")
    parser.add_argument("--kinds", nargs="+", choices=FAULTS, default=FAULTS, help="what happens")
    parser.add_argument("--faults", type=int, default=10, help="of each kind for each target; read-only happens once")
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    parser.add_argument("--verbose", action="store_true", help="show what the work had said")
    options = parser.parse_args()
    unknown = sorted(set(options.targets) - set(TARGETS))
    if unknown:
        parser.error(f"no target {', '.join(unknown)}")
    total = 0
    with tempfile.TemporaryDirectory(prefix="nbs_kill_", ignore_cleanup_errors=True) as folder:
        disk, log = Path(folder).resolve() / "disk", Path(folder).resolve() / "log"
        disk.mkdir()
        kinds = list(options.kinds)
        try:
            own_disk(disk)
        except OSError as error:
            kinds = [kind for kind in kinds if kind in ("kill", "gone")]
            print(f"no disk of its own ({error.strerror}), so none that is full or read-only", flush=True)
        for name in options.targets or TARGETS:
            if name in NEEDS_NETWORKS and not networks_are_here():
                print(f"{name:16} is left out: the networks are not cached", flush=True)
                continue
            total += try_target(name, kinds, options, disk, log)
    return min(1, total)


def try_target(name: str, kinds: list[str], options: argparse.Namespace, disk: Path, log: Path) -> int:
    """Try one target and print what was found; the number of its defects."""
    trials = Trials(TARGETS[name], disk, log)
    for kind in kinds:
        begun, before, number = time.monotonic(), trials.report.faults, options.first
        known = set(trials.report.defects)
        if kind == "read-only":
            trials.read_only()
        while kind != "read-only" and trials.report.faults - before < options.faults:
            source = Random(f"{name} {kind} {number}")  # noqa: S311 - reproducible, not secret.
            if kind == "kill":
                trials.kill(source)
            elif kind == "full":
                trials.full_disk(source)
            elif trials.target.inputs:
                trials.gone(source)
            else:
                break
            number += 1
            if number > options.first + 4 * options.faults:
                break
        happened, seconds = trials.report.faults - before, time.monotonic() - begun
        found = [what for what in trials.report.defects if what not in known]
        print(f"{name:16} {kind:10} {happened:4} in {seconds:6.1f} s, {len(found)} defects", flush=True)
        for what in found:
            print(f"  {what}", flush=True)
            if options.verbose:
                print("    " + trials.report.defects[what].replace("\n", "\n    "), flush=True)
    return len(trials.report.defects)


if __name__ == "__main__":
    sys.exit(main())
