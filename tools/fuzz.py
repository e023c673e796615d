"""Feeds changed files and packets to every reader and reports what is neither read nor refused in a sentence.

python tools/fuzz.py                              # 1,000 inputs each
python tools/fuzz.py transforms --inputs 200000   # of one reader
python tools/fuzz.py --minutes 5 --output found   # as many as five minutes allow each; what is found lies in found/

An input is a defect that raises anything but a ``UserError``, kills the process, takes longer or more memory than it
may, starts a program, opens a connection or writes outside its folder. The readers are in tests/fuzz/fuzz_targets.py;
a defect's smallest input belongs into tests/fuzz/test_hostile_files.py.
"""

from __future__ import annotations

import argparse
import functools
import json
import mmap
import os
import random
import resource
import select
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, List, NoReturn, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT), str(ROOT / "tests" / "fuzz")]

from fuzz_mutation import mutate  # noqa: E402  # pyright: ignore[reportMissingImports]
from fuzz_targets import SLOW_TARGETS, TARGETS  # noqa: E402  # pyright: ignore[reportMissingImports]

CPU_SECONDS, SLOW_CPU_SECONDS = 2.0, 20.0
"""Longest time of one input."""
SILENT_SECONDS = 300.0
"""A process that begins no other input for so long hangs where Python cannot be interrupted."""
MEMORY, ADDRESS_SPACE = 400 << 20, 4 << 30
"""Bytes that reading one input may add: of memory in use, and of addresses."""
LARGEST_INPUT = 4 << 20
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "socket.connect", "socket.bind")
Defect = Tuple[str, str]
"""What it is, the same for the same fault; and the traceback."""
Guarded = Callable[[bytes], Optional[Defect]]
"""Reads an input and gives the defect that it shows."""


class Stopped(BaseException):
    """Ends an input that nothing else would end."""


def main() -> int:
    """Run the targets that are asked for; status 1 where one has a defect."""
    every = {**TARGETS, **SLOW_TARGETS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(every)}; all where none is given")
    parser.add_argument("--inputs", type=int, default=1000, help="inputs for each")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="time for each, if that is less")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--output", type=Path, help="folder for the inputs that show a defect")
    options = parser.parse_args()
    unknown = sorted(set(options.targets) - set(every))
    if unknown:
        parser.error(f"no target {', '.join(unknown)}")
    warnings.simplefilter("ignore")
    total = 0
    for name in options.targets or every:
        inputs, defects, seconds = fuzz(name, options.first, options.inputs, 60 * options.minutes)
        print(f"{name:24} {inputs:8,} inputs in {seconds:6.1f} s, {len(defects)} defects", flush=True)
        for number, (what, (data, trace)) in enumerate(defects.items()):
            print(f"  {what}\n    {data[:120]!r}{'…' if len(data) > 120 else ''}", flush=True)
            if options.output is not None:
                options.output.mkdir(parents=True, exist_ok=True)
                (options.output / f"{name}-{number}.bin").write_bytes(data)
                (options.output / f"{name}-{number}.txt").write_text(f"{what}\n{trace}", encoding="utf-8")
        total += len(defects)
    return min(1, total)


def fuzz(name: str, first: int, count: int, seconds: float) -> Tuple[int, Dict[str, Tuple[bytes, str]], float]:
    """Run one target in child processes.

    Returns:
        Number of inputs, smallest input and traceback of each defect, and seconds.
    """
    shared = mmap.mmap(-1, 16 + LARGEST_INPUT)  # Number, length and content of the input that is being read.
    defects: Dict[str, Tuple[bytes, str]] = {}
    shared_memory = "/dev/shm"  # noqa: S108 - the folder inside it is made by tempfile.
    base = Path(shared_memory) if os.access(shared_memory, os.W_OK) else Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix="nbs_fuzz_", dir=base, ignore_cleanup_errors=True) as folder:
        seeds, check = {**TARGETS, **SLOW_TARGETS}[name](Path(folder).resolve())
        for seed in seeds:
            check(seed)  # Imports what it needs, and is no defect.
        start, number = time.monotonic(), first
        while number < first + count and time.monotonic() - start < seconds:
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reading)
                guarded = functools.partial(_guarded, check, Path(folder).resolve(), _limit_of(name))
                _child(name, folder, seeds, guarded, range(number, first + count), start + seconds, shared, writing)
            os.close(writing)
            lines, hung = _listen(reading, child, shared)
            _, status = os.waitpid(child, 0)
            number, length = struct.unpack_from("<QQ", shared)
            for line in lines:
                what, data, trace = json.loads(line)
                if what is None:
                    raise RuntimeError(f"{name} cannot be run: {trace}")
                content = bytes.fromhex(data)
                if what not in defects or len(content) < len(defects[what][0]):
                    defects[what] = content, trace
            if status != 0:
                what = "hangs" if hung else f"dies of signal {os.WTERMSIG(status)}"
                defects.setdefault(what, (shared[16 : 16 + length], ""))
            number += 1
    return number - first, defects, time.monotonic() - start


def _limit_of(name: str) -> float:
    return SLOW_CPU_SECONDS if name in SLOW_TARGETS else CPU_SECONDS


def _listen(reading: int, child: int, shared: mmap.mmap) -> Tuple[List[bytes], bool]:
    """What a child reports until it ends, and whether it had to be killed."""
    pieces: List[bytes] = []
    last, since = b"", time.monotonic()
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while True:
            if select.select([pipe], [], [], 1.0)[0]:
                piece = pipe.read(1 << 16)
                if not piece:
                    return b"".join(pieces).splitlines(), False
                pieces.append(piece)
            if shared[:8] != last:
                last, since = shared[:8], time.monotonic()
            elif time.monotonic() - since > SILENT_SECONDS:
                os.kill(child, signal.SIGKILL)
                return b"".join(pieces).splitlines(), True


def _child(
    name: str,
    folder: str,
    seeds: Sequence[bytes],
    make_guarded: Callable[[], Guarded],
    numbers: range,
    end: float,
    shared: mmap.mmap,
    writing: int,
) -> NoReturn:
    """Read inputs and report defects; ends the process."""
    pipe = os.fdopen(writing, "w", buffering=1)
    try:
        tempfile.tempdir = folder
        silence = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(silence, stream)
        guarded = make_guarded()
        left: Dict[str, int] = {}  # How often a defect is still reported.
        for number in numbers:
            if time.monotonic() > end:
                break
            source = random.Random(f"{name} {number}")  # noqa: S311 - reproducible, not secret.
            data = mutate(source.choice(seeds), source)[:LARGEST_INPUT]
            struct.pack_into("<QQ", shared, 0, number, len(data))
            shared[16 : 16 + len(data)] = data
            defect = guarded(data)
            if defect is None or left.get(defect[0]) == 0:
                continue
            if defect[0] not in left:
                data = smallest(data, lambda smaller, what=defect[0]: (guarded(smaller) or ("",))[0] == what)
            left[defect[0]] = left.get(defect[0], 5) - 1
            pipe.write(json.dumps([*defect[:1], data.hex(), defect[1]]) + "\n")
    except BaseException:  # No fault of a reader.
        pipe.write(json.dumps([None, "", traceback.format_exc()]) + "\n")
    finally:
        os._exit(0)


def _guarded(check: Callable[[bytes], None], folder: Path, seconds: float) -> Guarded:
    """``check`` as a function that gives the defect that an input shows, or None."""

    def stop(*_: Any) -> None:
        raise Stopped(f"takes more than {seconds:g} s")

    watched = [False]

    def watch(event: str, arguments: Tuple[Any, ...]) -> None:
        if not watched[0]:
            return
        if event in FORBIDDEN:
            raise Stopped(f"calls {event}")
        if (
            event == "open"
            and isinstance(arguments[0], (str, bytes))
            and arguments[1]
            and set(arguments[1]) & set("wax+")
        ):
            if not os.path.realpath(os.fsdecode(arguments[0])).startswith(str(folder)):
                raise Stopped(f"writes {arguments[0]!r}")

    signal.signal(signal.SIGPROF, stop)
    sys.addaudithook(watch)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESS_SPACE, used + ADDRESS_SPACE))

    def guarded(data: bytes) -> Optional[Defect]:
        before = _peak_memory(reset=True)
        try:
            watched[0] = True
            signal.setitimer(signal.ITIMER_PROF, seconds)
            try:
                check(data)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
                watched[0] = False
        except (Exception, Stopped) as error:
            return _name(error), traceback.format_exc()[-8000:]
        if _peak_memory() - before > MEMORY:
            return f"takes more than {MEMORY >> 20} MB", ""
        return None

    return guarded


def _name(error: BaseException) -> str:
    """The kind of an error and the last line of our own that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "nerfblendshape_ns" in frame.filename]
    place = (ours or list(frames))[-1]
    what = str(error) if isinstance(error, (Stopped, AssertionError)) else type(error).__name__
    return f"{what[:80]} at {Path(place.filename).name}:{place.lineno}"


def _peak_memory(reset: bool = False) -> int:
    """Bytes of the largest memory in use so far, or since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def smallest(data: bytes, shows: Callable[[bytes], bool], seconds: float = 5.0) -> bytes:
    """The input with pieces taken out as long as it shows the same defect."""
    end, size = time.monotonic() + seconds, len(data) // 2
    while size and time.monotonic() < end:
        start = 0
        while start < len(data) and time.monotonic() < end:
            shorter = data[:start] + data[start + size :]
            if shows(shorter):
                data = shorter
            else:
                start += size
        size //= 2
    return data


if __name__ == "__main__":
    sys.exit(main())
