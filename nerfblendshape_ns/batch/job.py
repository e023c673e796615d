"""Runs one clip of a batch as a process of its own, here or on the worker of a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import IO, Iterator, Mapping, Optional

from nerfblendshape_ns.batch import tied
from nerfblendshape_ns.batch.plan import RESULTS, Clip
from nerfblendshape_ns.batch.status import (
    LOG,
    START,
    Status,
    last_error,
    last_step,
    read_log,
    read_status,
    write_status,
)
from nerfblendshape_ns.common.file_io import load_json, remove_temporaries
from nerfblendshape_ns.common.file_lock import try_lock

LOCK = "lock"
"""File of a clip's folder that is locked while the clip is made."""
POLL_SECONDS = 1.0
END_SECONDS = 10.0
"""A process that is told to end is killed after so long."""
OUTPUT = {"PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1", "COLUMNS": "120", "TERM": "dumb"}
"""Environment in which a process writes a plain log at once."""


def run_clip(
    clip: Clip, environment: Optional[Mapping[str, str]] = None, stop: Optional[threading.Event] = None
) -> Status:
    """Make a clip's avatar, unless it is done; a clip that somebody else is making is waited for.

    Args:
        clip: what to make.
        environment: variables of the process beside those of this one.
        stop: ends the process when it is set.

    Returns:
        The status, which the clip's folder then has too: ``done`` or ``failed``, or ``waiting`` where it was stopped.
    """
    clip.folder.mkdir(parents=True, exist_ok=True)
    with (clip.folder / LOCK).open("a") as lock, _locked(lock, stop) as is_ours:
        # Another worker may have finished it since it was planned, such as one that a scheduler took for lost.
        former = read_status(clip.folder)
        if not is_ours or is_done(former, clip):
            return former
        remove_temporaries(clip.folder)
        (clip.folder / RESULTS).unlink(missing_ok=True)
        status = Status(clip.name, "running", clip.made_from, former.attempts + 1)
        write_status(clip.folder, status)
        begun = time.monotonic()
        with (clip.folder / LOG).open("ab") as log:
            start = log.tell()
            code = _run(clip, log, lock.fileno(), {**os.environ, **OUTPUT, **(environment or {})}, stop)
        status = replace(status, minutes=round((time.monotonic() - begun) / 60, 3))
        if not code:
            results = load_json(clip.folder / RESULTS) if (clip.folder / RESULTS).is_file() else {}
            status = replace(status, state="done", results=results)
        elif stop is not None and stop.is_set():
            status = replace(status, state="waiting")
        else:
            text = read_log(clip.folder, start)
            status = replace(status, state="failed", step=last_step(text) or START, reason=_reason(code, text))
        write_status(clip.folder, status)
        return status


def is_done(status: Status, clip: Clip) -> bool:
    """Whether a status says that the clip as it is planned is done."""
    return status.state == "done" and status.made_from == clip.made_from


def _run(clip: Clip, log: IO[bytes], lock: int, environment: Mapping[str, str], stop: Optional[threading.Event]) -> int:
    """The exit status of the clip's process, negative where a signal ended it."""
    command = [sys.executable, *clip.command]
    # By the path, so that nothing is imported but what it needs. The lock is passed on: it is held as long as the
    # process lives, even where nothing ends it with this one.
    process = subprocess.Popen(  # noqa: S603 - the list of words that the plan made, no shell.
        [sys.executable, "-I", "-S", tied.__file__, str(os.getpid()), *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        cwd=clip.directory if clip.directory is not None and clip.directory.is_dir() else None,
        pass_fds=(lock,),
        start_new_session=True,  # Control-C ends the batch, which then ends its clips.
    )
    while True:
        try:
            # In this thread, whose end would be the process's.
            return process.wait(None if stop is None else POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if stop is not None and stop.is_set():
                return _ended(process)


def _ended(process: "subprocess.Popen[bytes]") -> int:
    """End a process with all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            return process.wait(END_SECONDS)
    return process.wait()


def _reason(code: int, log: str) -> str:
    if code >= 0:
        return last_error(log)
    name = signal.Signals(-code).name
    hint = ", as it happens where memory runs out" if name == "SIGKILL" else ""
    return f"ended by {name}{hint}; the last line of its log: {last_error(log)}"


@contextmanager
def _locked(file: IO[str], stop: Optional[threading.Event]) -> Iterator[bool]:
    """Wait for a lock, which ends with the last process that has the file open; False where stopped before."""
    while not (stop is not None and stop.is_set()):
        if try_lock(file):
            yield True
            return
        time.sleep(POLL_SECONDS / 4)
    yield False
