"""A batch on a Dask cluster: a scheduler and two workers on this machine, each a process of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Dict, List, Tuple

import pytest
from fake_clips import fake_clip
from rich.console import Console
from test_batch_job import notes
from waiting import has_ended, until

from nerfblendshape_ns.batch import engines
from nerfblendshape_ns.batch.engines import run_on_cluster
from nerfblendshape_ns.batch.options import BatchOptions
from nerfblendshape_ns.batch.plan import Clip
from nerfblendshape_ns.batch.run import make_clips
from nerfblendshape_ns.batch.status import Status
from nerfblendshape_ns.common.errors import UserError

pytest.importorskip("distributed", reason="make installs it")

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a clip ends with its worker on Linux")


class Cluster:
    """A scheduler, and workers as they are asked for, each a process; all of them listen on loopback alone.

    Args:
        folder: of their files.
        failures: that a clip may have.
    """

    def __init__(self, folder: Path, failures: int = 3) -> None:
        self.file = folder / "scheduler.json"
        self._folder, self._processes = folder, []
        self._environment = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(failures)}

    def __enter__(self) -> Cluster:
        self.scheduler = self._start("scheduler", "--port", "0")
        until(lambda: self.file.exists() and self.file.read_text().rstrip().endswith("}"), 300)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def worker(self, *words: str) -> "subprocess.Popen[bytes]":
        return self._start("worker", "--no-nanny", "--nthreads", "4", *(words or ("--resources", "clip=1")))

    def _start(self, tool: str, *words: str) -> "subprocess.Popen[bytes]":
        own = ["--scheduler-file", str(self.file), "--no-dashboard", "--host", "127.0.0.1", *words]
        command = [sys.executable, "-m", f"distributed.cli.dask_{tool}", *own]
        with (self._folder / f"{tool}{len(self._processes)}.txt").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment, cwd=self._folder)
        self._processes.append(process)
        return process


def batch(folder: Path, scheduler: str, clips: List[Clip]) -> Tuple[List[Status], str]:
    """Make clips on a cluster; their status and what was shown."""
    console = Console(file=io.StringIO(), width=140)
    options = BatchOptions((), Path("clip.yaml"), folder, scheduler=scheduler)
    statuses = make_clips(clips, options, "clip: all", console)
    return statuses, console.file.getvalue()  # type: ignore[attr-defined]


def begun_by(folder: Path) -> Dict[str, int]:
    """The clips that are begun and not ended, with the process that began each."""
    running = {}
    for path in folder.glob("*/notes.txt"):
        lines = [line.split() for line in path.read_text().splitlines()]
        if lines and lines[-1][0] == "begin":
            running[path.parent.name] = int(lines[-1][2])
    return running


@pytest.mark.slow
def test_all_clips_are_done_and_none_twice_though_a_worker_is_killed(tmp_path):
    clips = [fake_clip(tmp_path / "out", name, "wait") for name in "abcdef"]
    with Cluster(tmp_path) as cluster:
        workers = cluster.worker(), cluster.worker()
        result: List[Tuple[List[Status], str]] = []
        thread = threading.Thread(target=lambda: result.append(batch(tmp_path / "out", str(cluster.file), clips)))
        thread.start()
        ours = {process.pid for process in workers}
        until(lambda: set(begun_by(tmp_path / "out").values()) == ours, 300)
        running = begun_by(tmp_path / "out")
        assert len(running) == 2, "a worker of four threads makes one clip at a time: it offers one"
        (clip,) = (name for name, pid in running.items() if pid == workers[0].pid)
        workers[0].kill()
        until(lambda: has_ended(int((tmp_path / "out" / clip / "notes.txt").read_text().split()[1])))
        (tmp_path / "out" / "go").touch()
        thread.join(300)
    ((statuses, shown),) = result
    assert [one.state for one in statuses] == ["done"] * 6
    begins = {name: Counter(notes(tmp_path / "out" / name)) for name in "abcdef"}
    assert begins == {name: {"begin": 1 + (name == clip), "end": 1} for name in "abcdef"}
    assert [one.attempts for one in statuses] == [1 + (one.name == clip) for one in statuses]
    assert "6 done" in (tmp_path / "out" / "index.html").read_text() and "failed" not in shown


@pytest.mark.slow
def test_a_clip_that_costs_its_worker_fails_alone(tmp_path):
    """Nor does a batch end where all workers are gone: it goes on with those that come."""
    clips = [fake_clip(tmp_path / "out", "a", "kill-worker"), *(fake_clip(tmp_path / "out", name) for name in "bcd")]
    with Cluster(tmp_path, failures=0) as cluster:
        address = json.loads(cluster.file.read_text())["address"]
        assert address.startswith("tcp://127.0.0.1:")
        lost = cluster.worker()
        follower = threading.Thread(target=lambda: (lost.wait(), cluster.worker()))
        follower.start()
        statuses, shown = batch(tmp_path / "out", address, clips)
        follower.join()
        assert [one.state for one in statuses] == ["failed", "done", "done", "done"]
        assert (statuses[0].step, statuses[0].reason) == ("clip: dataset", "the worker was lost while it made the clip")
        assert "the same command tries them again" in shown
        assert f"no worker is connected to the scheduler at {address}; the clips wait for one" in shown
        again, _ = batch(tmp_path / "out", address, [fake_clip(tmp_path / "out", "a"), *clips[1:]])
    assert [(one.state, one.attempts) for one in again] == [("done", 2), *[("done", 1)] * 3]


@pytest.mark.slow
def test_a_lost_scheduler_is_told_and_the_next_start_continues(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "CONNECT_SECONDS", 20)
    with Cluster(tmp_path) as cluster:
        cluster.worker()
        clip = tmp_path / "out" / "a"
        killer = threading.Thread(target=lambda: (until(lambda: bool(notes(clip)), 300), cluster.scheduler.kill()))
        killer.start()
        with pytest.raises(UserError, match=r"the scheduler at \S+ is lost; start one, and the same command continues"):
            batch(tmp_path / "out", str(cluster.file), [fake_clip(tmp_path / "out", "a", "sleep=600")])
        killer.join()
    (tmp_path / "again").mkdir()
    with Cluster(tmp_path / "again") as cluster:
        cluster.worker()
        statuses, _ = batch(tmp_path / "out", str(cluster.file), [fake_clip(tmp_path / "out", "a")])
    assert [(one.state, one.attempts) for one in statuses] == [("done", 2)]


@pytest.mark.slow
def test_workers_that_offer_nothing_are_told(tmp_path):
    with Cluster(tmp_path) as cluster:
        cluster.worker("--name", "other")
        with pytest.raises(UserError, match=r'no worker at \S+ takes clips; start them with --resources "clip=1"\.'):
            batch(tmp_path / "out", str(cluster.file), [fake_clip(tmp_path / "out", "a")])
    assert notes(tmp_path / "out" / "a") == []


def test_no_scheduler(tmp_path, monkeypatch):
    clips = [fake_clip(tmp_path, "a")]
    monkeypatch.setattr(engines, "CONNECT_SECONDS", 1)
    with pytest.raises(UserError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9 .*docs/batch\.md"):
        next(run_on_cluster(clips, "tcp://127.0.0.1:9", print))
    with pytest.raises(UserError, match=r"--scheduler here\.json is neither an address .* nor a file"):
        next(run_on_cluster(clips, "here.json", print))
    bad = tmp_path / "bad.json"
    told = {
        "": "not valid JSON",
        "[]": "names no address",
        "{}": "names no address",
        '{"address": 3}': "names no address",
    }
    for text, message in {**told, '{"address": "x://y"}': "no scheduler answers at"}.items():
        bad.write_text(text)
        with pytest.raises(UserError, match=message):
            next(run_on_cluster(clips, str(bad), print))
    assert notes(tmp_path / "a") == []


def test_a_scheduler_file_that_is_still_being_written(tmp_path):
    file = tmp_path / "scheduler.json"
    file.write_text('{"address": ')
    writer = threading.Timer(0.5, file.write_text, ['{"address": "tcp://127.0.0.1:9"}'])
    writer.start()
    assert engines._address_in(file) == "tcp://127.0.0.1:9"
    writer.join()


def test_without_dask(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match='--scheduler needs Dask; .*"nerfblendshape-ns.cluster."'):
        next(run_on_cluster([fake_clip(tmp_path, "a")], "tcp://127.0.0.1:9", print))
