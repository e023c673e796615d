"""Two clips of the synthetic head, from their videos to avatars, reports and the page; one is killed on the way."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import psutil
import pytest
from waiting import until

from nerfblendshape_ns.avatar.avatar_file import read_avatar_file
from nerfblendshape_ns.batch.status import last_step, read_log, read_status
from nerfblendshape_ns.scripts.batch import main
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
RECIPE = f"""
base: {CONFIGS / "ci.yaml"}
name: tiny
description: The smallest, of videos.
dataset: {{synthetic: null, video: {{}}}}
overrides: {{max_num_iterations: 60}}
protocol: {{unseen_expressions: 0, unseen_views: 0, turned_frames: 0, sweep_frames: 0}}
torso: {{overrides: {{max_num_iterations: 40}}}}
"""


@pytest.mark.slow
def test_clips_become_avatars_and_a_killed_one_goes_on(tmp_path, monkeypatch, capfd, landmarker_path, person_mask_path):
    monkeypatch.setenv("NBS_FACE_LANDMARKER", str(landmarker_path))
    monkeypatch.setenv("NBS_PERSON_MASK", str(person_mask_path))
    monkeypatch.setenv("COLUMNS", "300")
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    videos, out = [tmp_path / f"{name}.mp4" for name in ("anna", "bo")], tmp_path / "out"
    for seed, video in enumerate(videos):
        write_dataset(ClipSettings(num_frames=20, width=128, height=128, seed=seed, fps=10), None, video)
    arguments = [*map(str, videos), "--recipe", str(tmp_path / "tiny.yaml"), "--output", str(out)]
    arguments += ["--jobs", "2", "--consent", "nobody is shown"]

    def kill_at_the_torso() -> None:
        until(lambda: last_step(read_log(out / "anna")) == "tiny-torso: training", 3600)
        clip = [one for one in psutil.Process().children() if str(out / "anna") in one.cmdline()]
        clip[0].kill()

    killer = threading.Thread(target=kill_at_the_torso)
    killer.start()
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    killer.join()
    assert caught.value.code == 1
    said = capfd.readouterr().out
    assert "bo: done" in said and "1 of the clips failed" in said
    assert re.search(r"anna\W+tiny-torso: training\W+ended by SIGKILL, as it happens where memory runs out", said)
    assert "1 done, 1 failed" in (out / "index.html").read_text()

    main(arguments)
    assert "1 of 2 clips are done and stay as they are" in capfd.readouterr().out
    assert [read_status(out / name).attempts for name in ("anna", "bo")] == [2, 1]
    again = read_log(out / "anna").rpartition("tiny: dataset")[2]
    assert "60 steps are trained; delete it to train anew" in again, "the head is trained once"
    assert len(list((out / "anna" / "tiny-anna" / "runs" / "tiny").rglob("config.yml"))) == 1
    for name in ("anna", "bo"):
        results = read_status(out / name).results
        assert results["frames"] >= 18 and results["figures"]["whole"]["psnr"] > 10
        stated = read_avatar_file(out / name / f"{name}.avatar").provenance
        assert (stated.person, stated.consent, stated.source) == (name, "nobody is shown", f"{name}.mp4")
    page = (out / "index.html").read_text()
    links = set(re.findall(r'(?:href|src)="([^"]+)"', page))
    assert len(links) == 8 and all((out / link).is_file() for link in links)
