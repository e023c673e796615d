"""Runs work in a process of its own, and lets something happen at one of the system calls by which it writes.

The work is stopped before every call that changes a file below a folder, whoever makes it: Python, torch, OpenCV,
FFmpeg, another thread or a process that it starts. A seccomp filter stops it there and nowhere else, so that it costs
next to nothing. Linux on x86-64 or ARM alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import signal
import struct
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple

SECONDS = 300.0
"""Work that takes longer hangs."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long
_CONT, _SEIZE, _SYSCALL_INFO = 7, 0x4206, 0x420E
_OPTIONS = 0x2 | 0x4 | 0x8 | 0x80 | 0x100000  # Follow forks and threads, stop for seccomp, end all with the tracer.
_STOPPED_BY_FILTER, _ALL_THREADS = 7, 0x40000000
# Numbers on x86-64 and ARM, and which argument is the descriptor or the path; of openat also where its flags are.
_CALLS = {
    "write": (1, 64, "descriptor", 0),
    "pwrite": (18, 68, "descriptor", 0),
    "writev": (20, 66, "descriptor", 0),
    "truncate": (77, 46, "descriptor", 0),
    "allocate": (285, 47, "descriptor", 0),
    "sendfile": (40, 71, "descriptor", 0),
    "copy": (326, 285, "descriptor", 2),
    "sync": (74, 82, "descriptor", 0),
    "open": (2, None, "path", 0),
    "openat": (257, 56, "path", 1),
    "rename": (82, None, "path", 1),
    "renameat": (264, 38, "path", 3),
    "renameat2": (316, 276, "path", 3),
    "mkdir": (83, None, "path", 0),
    "mkdirat": (258, 34, "path", 1),
    "rmdir": (84, None, "path", 0),
    "unlink": (87, None, "path", 0),
    "unlinkat": (263, 35, "path", 1),
}
_ARM = platform.machine() == "aarch64"
_BY_NUMBER = {numbers[_ARM]: (name, kind, at) for name, (*numbers, kind, at) in _CALLS.items() if numbers[_ARM]}
HAS_TRACING = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")


@dataclass(frozen=True)
class Moment:
    """One of the calls by which work writes."""

    label: str
    """The call and the path, whose digits are replaced by #."""
    number: int
    """From 0, among the calls with this label."""


@dataclass(frozen=True)
class Ending:
    """How work has ended."""

    code: Optional[int]
    """Exit status; None where it was killed."""
    said: str
    """What it has written to the terminal."""
    calls: Tuple[str, ...] = ()
    """Labels of the calls by which it wrote, in their order; none where nobody looked."""
    seconds: float = 0.0
    """How long it took."""


@dataclass(frozen=True)
class Call:
    """A call at which a process is stopped."""

    process: int
    name: str
    arguments: Tuple[int, ...]
    path: str
    """What it changes."""

    def half_done(self) -> None:
        """Do the first half of a write, as if the process had ended in its midst."""
        if self.name == "write":
            size = self.arguments[2] // 2
            with open(f"/proc/{self.process}/mem", "rb", 0) as memory:
                memory.seek(self.arguments[1])
                data = memory.read(size)
            at = re.search(r"pos:\s*(\d+)", Path(f"/proc/{self.process}/fdinfo/{self.arguments[0]}").read_text())
            assert at is not None
            file = os.open(f"/proc/{self.process}/fd/{self.arguments[0]}", os.O_WRONLY)
            os.pwrite(file, data, int(at[1]))
            os.close(file)


def run(
    work: Callable[[], Any],
    log: Path,
    folder: Optional[Path] = None,
    moment: Optional[Moment] = None,
    act: Callable[[Call], bool] = lambda call: True,
    kill_after: Optional[float] = None,
) -> Ending:
    """Do work in a process of its own.

    Args:
        work: what to do; this process must have no threads, and have trained nothing.
        log: file for what it says.
        folder: calls that change files below it are recorded; None records none.
        moment: of the call at which ``act`` is called.
        act: does what it likes while the work is stopped; True kills it.
        kill_after: seconds after which the work is killed.
    """
    reading, writing = os.pipe()
    tracer = os.fork()
    if tracer == 0:
        try:
            ending = _traced(work, log, folder, moment, act, kill_after)
        except BaseException:
            ending = {"fault": traceback.format_exc()}
        with os.fdopen(writing, "w") as pipe:
            json.dump(ending, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(tracer, 0)
    ending = json.loads(text)
    if "fault" in ending:
        raise RuntimeError(ending["fault"])
    return Ending(ending["code"], log.read_text(errors="replace"), tuple(ending["calls"]), ending["seconds"])


def _traced(
    work: Callable[[], Any],
    log: Path,
    folder: Optional[Path],
    moment: Optional[Moment],
    act: Callable[[Call], bool],
    kill_after: Optional[float],
) -> Dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        _work(work, log, reading, folder is not None)
    os.close(reading)
    begun, calls = time.monotonic(), []
    if folder is not None:
        _ptrace(_SEIZE, child, _OPTIONS)
    os.write(writing, b"x")
    os.close(writing)
    end = begun + (SECONDS if kill_after is None else kill_after)
    signal.signal(signal.SIGALRM, lambda *_: _kill(child))
    signal.setitimer(signal.ITIMER_REAL, max(0.001, end - time.monotonic()))
    seen: Dict[str, int] = {}
    while True:
        process, status = os.waitpid(-1, _ALL_THREADS)
        if os.WIFSTOPPED(status):
            given = os.WSTOPSIG(status)
            if status >> 16 == _STOPPED_BY_FILTER and folder is not None:
                call = _call(process, str(folder))
                if call is not None:
                    label = f"{call.name} {re.sub('[0-9]+', '#', call.path[len(str(folder)) + 1 :])}"
                    calls.append(label)
                    seen[label] = seen.get(label, 0) + 1
                    if moment == Moment(label, seen[label] - 1) and act(call):
                        _kill(child)
            with suppress(ProcessLookupError):
                _ptrace(_CONT, process, 0 if status >> 16 else given)
        elif process == child:
            seconds = time.monotonic() - begun
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
            if code is None and (os.WTERMSIG(status) != signal.SIGKILL or seconds > SECONDS):
                raise RuntimeError(f"ended by signal {os.WTERMSIG(status)} after {seconds:.0f} s:\n{log.read_text()}")
            return {"code": code, "calls": calls, "seconds": seconds}


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _work(work: Callable[[], Any], log: Path, reading: int, filtered: bool) -> NoReturn:
    code = 70
    try:
        os.read(reading, 1)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for stream in (1, 2):
            os.dup2(file, stream)
        if filtered:
            _install_filter()
        threading.excepthook = _told_by_thread
        try:
            work()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _install_filter() -> None:
    """Let the kernel stop this process, and all that it starts, at the calls of :data:`_CALLS`."""
    count = len(_BY_NUMBER)
    program = [struct.pack("HBBI", 0x20, 0, 0, 0)]  # Load the number of the call.
    program += [struct.pack("HBBI", 0x15, count - at, 0, number) for at, number in enumerate(_BY_NUMBER)]
    program += [struct.pack("HBBI", 0x06, 0, 0, result) for result in (0x7FFF0000, 0x7FF00000)]  # Allow; trace.
    code = ctypes.create_string_buffer(b"".join(program))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)))
    if _libc.prctl(38, 1, 0, 0, 0) or _libc.prctl(22, 2, ctypes.byref(head), 0, 0):
        raise OSError(ctypes.get_errno(), "no filter of system calls can be installed")


def _call(process: int, folder: str) -> Optional[Call]:
    """The call at which a process is stopped; None where it changes nothing below the folder."""
    info = ctypes.create_string_buffer(88)
    if _ptrace(_SYSCALL_INFO, process, ctypes.addressof(info), len(info)) < 0:
        return None
    number, *arguments = struct.unpack_from("<7Q", info, 24)
    name, kind, at = _BY_NUMBER[number]
    if name.startswith("open") and not arguments[at + 1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        return None
    try:
        if kind == "descriptor":
            path = os.readlink(f"/proc/{process}/fd/{arguments[at]}")
        else:
            with open(f"/proc/{process}/mem", "rb", 0) as memory:
                memory.seek(arguments[at])
                path = os.fsdecode(memory.read(4096).split(b"\0")[0])
            if not os.path.isabs(path):
                base = arguments[at - 1] if at else 2**32 - 100
                is_folder = base & (2**32 - 1) != 2**32 - 100
                path = os.path.join(os.readlink(f"/proc/{process}/{f'fd/{base}' if is_folder else 'cwd'}"), path)
    except (OSError, ValueError):
        return None
    return Call(process, name, tuple(arguments), path) if path.startswith(f"{folder}/") else None


def _ptrace(request: int, process: int, data: int, size: int = 0) -> int:
    result = _libc.ptrace(request, process, size, data)
    if result < 0 and ctypes.get_errno() == 3:
        raise ProcessLookupError(process)
    return result


def own_disk(folder: Path, megabytes: int = 256) -> None:
    """Mount a small disk in memory on a folder, for this process and its children alone; it ends with them.

    Raises:
        OSError: this needs root, or a kernel that lets everybody do it in a namespace.
    """
    user, group = os.getuid(), os.getgid()
    _checked(_libc.unshare(0x20000 if user == 0 else 0x10020000))
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _checked(_libc.mount(b"none", b"/", None, 0x44000, None))
    _checked(_libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={megabytes}m".encode()))


def read_only(folder: Path, on: bool) -> None:
    """Let nobody write a disk of :func:`own_disk`, or everybody again."""
    _checked(_libc.mount(None, os.fsencode(folder), None, 32 | int(on), None))


def fill(disk: Path) -> Path:
    """Take all room of a disk; the file that does."""
    filler = disk / "filler"
    with filler.open("wb", 0) as file, suppress(OSError):
        while True:  # Others may be writing.
            file.write(bytes(1 << 20))
    return filler


def _checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def moments(calls: List[str]) -> Dict[str, int]:
    """How often each label occurs."""
    return {label: calls.count(label) for label in dict.fromkeys(calls)}


def _told_by_thread(arguments: threading.ExceptHookArgs) -> None:
    """As Python tells it, but not of TensorBoard's writer, which finds the disk full by itself, amid what we say."""
    if not type(arguments.thread).__module__.startswith("tensorboard"):
        threading.__excepthook__(arguments)
