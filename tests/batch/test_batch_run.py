"""A batch on one machine: failures, devices, resuming, page and table."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import List, Tuple

import pytest
from fake_clips import fake_clip
from rich.console import Console
from test_batch_job import notes
from waiting import has_ended, until

from nerfblendshape_ns.batch import run
from nerfblendshape_ns.batch.engines import job_environment, run_here
from nerfblendshape_ns.batch.options import BatchOptions
from nerfblendshape_ns.batch.page import batch_page
from nerfblendshape_ns.batch.plan import Clip
from nerfblendshape_ns.batch.run import make_clips, run_batch
from nerfblendshape_ns.batch.status import Status
from nerfblendshape_ns.batch.table import counts, live_table
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.recipes.recipe import load_recipe
from nerfblendshape_ns.scripts.batch import main

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def batch(folder: Path, *clips: Clip, terminal: bool = False, **values) -> Tuple[List[Status], str]:
    """Make clips; their status and what was shown."""
    console = Console(file=io.StringIO(), width=140, force_terminal=terminal)
    options = BatchOptions(**{"clips": (), "recipe": CONFIGS / "clip.yaml", "output": folder, **values})
    statuses = make_clips(clips, options, "clip: all", console)
    return statuses, console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_failure_stops_no_other_clip_and_is_told_at_the_end(tmp_path, terminal):
    clips = [fake_clip(tmp_path, "a"), fake_clip(tmp_path, "b", "user-error"), fake_clip(tmp_path, "c")]
    statuses, shown = batch(tmp_path, *clips, jobs=2, terminal=terminal)
    assert [one.state for one in statuses] == ["done", "failed", "done"]
    end = shown.partition("1 of the clips failed; the same command tries them again")[2]
    assert "clip: training" in end and "the clip [red]has[/red] no face; record one." in end
    assert str(tmp_path / "index.html") in shown.replace("\n", "")
    if terminal:
        assert "2 done, 1 failed" in shown
    else:
        assert "a: done, 0.0 minutes" in shown and "b: failed" in shown


def test_a_page_that_cannot_be_written_ends_no_clip(tmp_path, monkeypatch):
    """A shared disk is full for a moment; trainings that are broken off begin anew."""
    asked, save = [], run.save_text

    def second_fails(path, text):
        asked.append(path)
        if len(asked) == 2:
            raise UserError(f"{path} cannot be written (No space left on device); give another place or make room.")
        save(path, text)

    monkeypatch.setattr(run, "save_text", second_fails)
    statuses, shown = batch(tmp_path, fake_clip(tmp_path, "a"), fake_clip(tmp_path, "b", "sleep=0.5"))
    assert [one.state for one in statuses] == ["done"] * 2 and "index.html cannot be written (No space" in shown
    assert "2 done" in (tmp_path / "index.html").read_text()
    monkeypatch.setattr(run, "save_text", lambda path, _: save(path / "nowhere", ""))
    with pytest.raises(UserError, match="cannot be written"):
        batch(tmp_path, fake_clip(tmp_path, "a"))


def test_the_next_start_tries_what_is_not_done(tmp_path):
    clips = [fake_clip(tmp_path, "a"), fake_clip(tmp_path, "b", "once"), fake_clip(tmp_path, "c", "kill")]
    batch(tmp_path, *clips)
    statuses, shown = batch(tmp_path, *clips)
    assert [(one.state, one.attempts) for one in statuses] == [("done", 1), ("done", 2), ("failed", 2)]
    assert "1 of 3 clips are done and stay as they are" in shown
    assert notes(tmp_path / "a") == ["begin", "end"]


def test_each_job_has_one_device_and_its_threads(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    clips = [fake_clip(tmp_path, name, "sleep=0.3") for name in "abcdef"]
    begun = time.monotonic()
    statuses, _ = batch(tmp_path, *clips, jobs=3, devices="4,7")
    assert [one.state for one in statuses] == ["done"] * 6
    assert time.monotonic() - begun < 60
    seen = [(tmp_path / name / "notes.txt").read_text().splitlines()[0].split()[3:] for name in "abcdef"]
    assert {device for device, _ in seen} == {"4", "7"}
    assert {threads for _, threads in seen} == {job_environment(3, None)["OMP_NUM_THREADS"]}
    # Devices alone say how many jobs there are; three jobs on two of them: one device has two.
    assert sum(device == "4" for device, _ in seen) >= 2


def test_threads_are_shared_unless_the_user_says_how_many(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("nerfblendshape_ns.batch.engines.num_cores", lambda: 64)
    assert job_environment(3, "1") == {"CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "21"}
    assert job_environment(100, None) == {"OMP_NUM_THREADS": "1"}
    assert job_environment(1, None) == {}
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert job_environment(3, None) == {}


def test_a_job_that_cannot_even_start_fails_alone(tmp_path):
    (tmp_path / "b").write_text("a file where the folder should be")
    statuses, _ = batch(tmp_path, fake_clip(tmp_path, "b"), fake_clip(tmp_path, "c"))
    assert [one.state for one in statuses] == ["failed", "done"]
    assert statuses[0].step == "start" and statuses[0].reason.startswith("FileExistsError")


def test_leaving_the_iterator_ends_what_is_under_way(tmp_path):
    clips = [fake_clip(tmp_path, "a"), *(fake_clip(tmp_path, name, "sleep=600") for name in "bcd")]
    engine = run_here(clips, 2)
    assert next(engine).name == "a"
    until(lambda: notes(tmp_path / "b") == ["begin"])
    engine.close()
    assert notes(tmp_path / "d") == [] and "end" not in notes(tmp_path / "b")


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """What ``nbs-batch`` plans; the fake process of each clip sleeps for seconds unless told otherwise."""
    words = ["sleep=600"]
    monkeypatch.setattr(run, "plan_clips", lambda options, _: [fake_clip(options.output, "me", *words)])
    return words


def test_a_second_batch_in_the_same_folder_is_told(tmp_path, planned):
    out = tmp_path / "out"
    planned[:] = ["wait"]
    options = BatchOptions((tmp_path / "me.mp4",), CONFIGS / "clip.yaml", out)
    first = threading.Thread(target=run_batch, args=(options, Console(file=io.StringIO())))
    first.start()
    until(lambda: notes(out / "me") == ["begin"])
    with pytest.raises(UserError, match=r"another nbs-batch is writing \S+; wait until it is done"):
        run_batch(options)
    (out / "go").touch()
    first.join()
    assert notes(out / "me") == ["begin", "end"]


def test_clips_are_made_by_the_recipe_as_it_was(tmp_path, planned):
    planned[:] = []
    (tmp_path / "mine.yaml").write_text(f"base: {CONFIGS / 'clip_turned.yaml'}\nseed: 7\n")
    recipe = load_recipe(tmp_path / "mine.yaml")
    options = BatchOptions((tmp_path / "me.mp4",), tmp_path / "mine.yaml", tmp_path / "out")
    run_batch(options, Console(file=io.StringIO()))
    (tmp_path / "mine.yaml").unlink()
    assert load_recipe(tmp_path / "out" / "recipe.yaml") == recipe


def test_exit_status(tmp_path, planned):
    arguments = [str(tmp_path / "me.mp4"), "--recipe", str(CONFIGS / "clip.yaml"), "--output", str(tmp_path / "out")]
    planned[:] = ["once"]
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 1
    main(arguments)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel ends the clip on Linux")
def test_a_batch_that_is_ended_ends_its_clips_and_leaves_the_folder_free(tmp_path, number):
    source = (
        # Of a process that a shell runs in the background SIGINT is ignored, and of those that it starts.
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom fake_clips import fake_clip\n"
        "from nerfblendshape_ns.batch import run\nfrom nerfblendshape_ns.scripts.batch import main\n"
        "run.plan_clips = lambda options, _: [fake_clip(options.output, name, 'sleep=600') for name in 'ab']\n"
        f"main(['x', '--recipe', {str(CONFIGS / 'clip.yaml')!r}, '--output', {str(tmp_path / 'out')!r}])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", source], stderr=subprocess.PIPE, text=True)
    until(lambda: notes(tmp_path / "out" / "a") == ["begin"])
    pid = int((tmp_path / "out" / "a" / "notes.txt").read_text().split()[1])
    process.send_signal(number)
    _, said = process.communicate(timeout=300)
    if number == signal.SIGINT:
        assert process.returncode == 130 and said == "stopped; the same command continues\n"
    until(lambda: has_ended(pid))
    assert notes(tmp_path / "out" / "b") == []
    clips = [fake_clip(tmp_path / "out", name) for name in "ab"]
    statuses, _ = batch(tmp_path / "out", *clips)
    assert [(one.state, one.attempts) for one in statuses] == [("done", 2), ("done", 1)]


def test_the_page_shows_every_clip_and_links_to_what_was_made(tmp_path):
    clips = [fake_clip(tmp_path, "a"), fake_clip(tmp_path, "b", "user-error"), fake_clip(tmp_path, "c")]
    statuses, _ = batch(tmp_path, *clips[:2])
    page = batch_page("clip & <more>", [*statuses, Status("c")])
    assert "clip &amp; &lt;more&gt;" in page and "1 done, 1 failed, 1 waiting" in page
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda _, attributes: found.extend(  # type: ignore[method-assign]
        value for name, value in attributes if name in ("href", "src")
    )
    parser.feed(page)
    assert found == [
        *("a/clip/clip.html", "a/a.avatar", "a/log.txt", "a/clip/a%20b.png", "a/clip/a%20b.png", "b/log.txt"),
    ]
    assert '<td class="number">28.94</td>' in page and "in clip: training: the clip [red]has[/red] no face" in page


def test_the_page_is_written_after_each_clip(tmp_path, monkeypatch):
    """And once more at the end, when it can be told that this fails."""
    written: List[str] = []
    monkeypatch.setattr(run, "save_text", lambda path, text: written.append(text))
    batch(tmp_path, *(fake_clip(tmp_path, name) for name in "ab"))
    assert [("2 waiting" in text, "1 done, 1 waiting" in text, "2 done" in text) for text in written] == [
        *((True, False, False), (False, True, False), (False, False, True), (False, False, True)),
    ]


def test_the_live_table_shows_what_a_clip_is_doing(tmp_path):
    clips = [fake_clip(tmp_path, "a", "sleep=600"), fake_clip(tmp_path, "b")]
    board = run._Board(clips)
    engine = run_here(clips, 1)
    thread = threading.Thread(target=lambda: list(engine))
    thread.start()
    until(lambda: "clip: dataset" in text_of(board.table()))
    text = text_of(board.table())
    assert "1 running, 1 waiting" in text
    os.killpg(int((tmp_path / "a" / "notes.txt").read_text().split()[1]), signal.SIGTERM)
    thread.join()


def text_of(table) -> str:
    console = Console(file=io.StringIO(), width=140)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_large_batch_shows_what_runs_and_what_failed():
    statuses = [Status(f"clip{number}", "done") for number in range(100)]
    statuses[3], statuses[7] = (
        Status("three", "running", step="x: training"),
        Status("seven", "failed", reason="no face"),
    )
    text = text_of(live_table(statuses))
    assert counts(statuses) in text and counts(statuses) == "98 done, 1 running, 1 failed"
    assert "three" in text and "no face" in text and "clip1" not in text
