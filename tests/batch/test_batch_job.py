"""The process of a clip: its status, log and lock, and that it ends with the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import List

import pytest
from fake_clips import fake_clip
from waiting import has_ended, until

from nerfblendshape_ns.batch import job
from nerfblendshape_ns.batch.job import run_clip
from nerfblendshape_ns.batch.status import Status, last_error, last_step, read_status, write_status

HERE = Path(__file__).parent


def notes(folder: Path) -> List[str]:
    """What the fake process of a clip noted: ``begin`` and ``end``."""
    path = folder / "notes.txt"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def test_a_clip_that_is_done_is_not_run_again(tmp_path):
    clip = fake_clip(tmp_path, "me")
    status = run_clip(clip)
    assert (status.state, status.attempts, status.results["frames"]) == ("done", 1, 20)
    assert read_status(clip.folder) == status == run_clip(clip)
    assert notes(clip.folder) == ["begin", "end"]
    changed = run_clip(replace(clip, made_from="another recipe"))
    assert (changed.state, changed.attempts, changed.made_from) == ("done", 2, "another recipe")
    assert notes(clip.folder) == ["begin", "end"] * 2


def test_a_failed_clip_says_where_and_why_and_is_tried_again(tmp_path):
    clip = fake_clip(tmp_path, "me", "once")
    failed = run_clip(clip)
    assert (failed.state, failed.step, failed.reason) == ("failed", "clip: dataset", "not at the first time.")
    assert (clip.folder / "log.txt").read_text().endswith("error: not at the first time.\n")
    assert run_clip(clip).state == "done"


@pytest.mark.parametrize(
    ("word", "step", "reason"),
    [
        ("user-error", "clip: training", "the clip [red]has[/red] no face; record one."),
        ("crash", "clip: dataset", "RuntimeError: CUDA error: an illegal memory access was encountered"),
        ("kill", "clip: dataset", "ended by SIGKILL, as it happens where memory runs out; the last line of its log: "),
    ],
)
def test_reasons(tmp_path, word, step, reason):
    status = run_clip(fake_clip(tmp_path, "me", word))
    assert (status.state, status.step) == ("failed", step) and status.reason.startswith(reason)


def test_relative_paths_count_from_where_the_batch_was_started(tmp_path):
    """And not from where a worker of a cluster was; one that lacks the folder works where it is."""
    here = "import os, sys; sys.exit(f'error: {os.getcwd()}')"
    for directory, seen in ((tmp_path, tmp_path), (tmp_path / "gone", Path.cwd()), (None, Path.cwd())):
        status = run_clip(fake_clip(tmp_path, "me", command=("-c", here), directory=directory))
        assert status.reason == str(seen)


def test_the_reason_is_of_the_last_attempt(tmp_path):
    assert run_clip(fake_clip(tmp_path, "me", "user-error")).reason.startswith("the clip")
    assert run_clip(fake_clip(tmp_path, "me", "crash")).step == "clip: dataset"


def test_results_of_an_earlier_attempt_are_not_this_ones(tmp_path):
    clip = fake_clip(tmp_path, "me")
    run_clip(clip)
    silent = replace(clip, made_from="other", command=("-c", "pass"))
    assert run_clip(silent).results == {}


@pytest.mark.parametrize("text", ["", "{", '{"name": 3}', '{"name": "me", "state": "fine"}', "[" * 100_000])
def test_a_damaged_status_is_none(tmp_path, text):
    (tmp_path / "status.json").write_text(text)
    assert read_status(tmp_path) == Status(tmp_path.name)


def test_step_and_error_of_a_log():
    log = f"x\n{'─' * 5} clip: dataset {'─' * 5}\n- - -\n--- clip-torso: training ---\n"
    log += "error: bad.\n\x1b[31mdone\x1b[0m\n\n"
    assert last_step(log) == "clip-torso: training" and last_error(log) == "bad."
    assert last_error(log.replace("error: ", "")) == "done"
    assert last_step("") == "" and last_error("") == "it said nothing"


def test_a_clip_that_somebody_makes_is_waited_for_and_not_made_twice(tmp_path):
    clip = fake_clip(tmp_path, "me", "sleep=0.5")
    found: List[Status] = []
    threads = [threading.Thread(target=lambda: found.append(run_clip(clip))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert notes(clip.folder) == ["begin", "end"] and len(set(map(str, found))) == 1


def test_stopping_ends_the_process(tmp_path):
    clip, stop = fake_clip(tmp_path, "me", "sleep=600"), threading.Event()
    threading.Timer(0.0, lambda: (until(lambda: notes(clip.folder) == ["begin"]), stop.set())).start()
    status = run_clip(clip, {}, stop)
    assert status.state == "waiting" and notes(clip.folder) == ["begin"]
    assert run_clip(clip, {}, stop).attempts == 1, "nothing is begun after the stop"


def test_a_clip_that_ends_as_it_is_stopped_is_done(tmp_path, monkeypatch):
    clip, stop = fake_clip(tmp_path, "me"), threading.Event()
    run = job._run
    monkeypatch.setattr(job, "_run", lambda *given: (run(*given), stop.set())[0])
    assert run_clip(clip, {}, stop).state == "done" and notes(clip.folder) == ["begin", "end"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel ends it on Linux")
def test_a_clip_ends_with_the_process_that_started_it(tmp_path):
    """Else the next start would find it at work; and the lock tells that it is."""
    clip = fake_clip(tmp_path, "me", "sleep=600")
    starter = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\nfrom pathlib import Path\nfrom fake_clips import fake_clip\n"
        "from nerfblendshape_ns.batch.job import run_clip\n"
        f"run_clip(fake_clip(Path({str(tmp_path)!r}), 'me', 'sleep=600'))"
    )
    process = subprocess.Popen([sys.executable, "-c", starter])
    until(lambda: notes(clip.folder) == ["begin"])
    pid = int((clip.folder / "notes.txt").read_text().split()[1])
    process.kill()
    process.wait()
    until(lambda: has_ended(pid))
    assert read_status(clip.folder).state == "running", "nobody could say more"
    assert run_clip(fake_clip(tmp_path, "me")).attempts == 2


def test_a_process_that_outlives_its_starter_keeps_the_clip(tmp_path, monkeypatch):
    """Where the kernel ends nothing with the starter, as on macOS."""
    clip = fake_clip(tmp_path, "me", "sleep=600")
    clip.folder.mkdir()
    with (clip.folder / "lock").open("a") as lock:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
        orphan = subprocess.Popen(["sleep", "600"], pass_fds=(lock.fileno(),))
    found: List[Status] = []
    thread = threading.Thread(target=lambda: found.append(run_clip(fake_clip(tmp_path, "me"))))
    thread.start()
    time.sleep(1.0)
    assert notes(clip.folder) == []
    write_status(clip.folder, Status("me", "done", "it", 1))
    os.kill(orphan.pid, signal.SIGKILL)
    orphan.wait()
    thread.join()
    assert notes(clip.folder) == [] and found[0].state == "done", "what it finished is not made again"
