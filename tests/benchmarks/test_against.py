"""Comparing with another checkout: getting one, remembering the ratios, and both sides of a run in miniature."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import checkouts
import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_another_checkout_is_a_folder_or_a_commit(tmp_path, monkeypatch):
    with checkouts.checkout(str(tmp_path)) as other:
        assert other == tmp_path
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "what").write_text("first")
    monkeypatch.setattr(checkouts, "HERE", repository)
    identity = ["-c", "user.name=A", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "what"], [*identity, "commit", "-q", "-m", "First"], ["tag", "one"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    (repository / "what").write_text("second")
    with checkouts.checkout("one") as other:
        assert other != repository and (other / "what").read_text() == "first"
    assert not other.exists()
    with pytest.raises(UserError, match="--other two is neither a folder nor a commit"), checkouts.checkout("two"):
        pass
    assert checkouts.commit_of(repository).endswith("+")


def test_ratios_are_remembered_one_line_a_run(tmp_path):
    for ratio in (1.5, 2.0):
        checkouts.record("encode", {"encode_ratio": ratio}, tmp_path / "history.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [line["ratios"]["encode_ratio"] for line in lines] == [1.5, 2.0]
    assert set(lines[0]) == {"benchmark", "date", "commit", "machine", "versions", "ratios"}
    assert "torch" in lines[0]["versions"]


@pytest.mark.slow
def test_a_checkout_beside_itself(tmp_path):
    """Both sides take steps and render; on one machine they are about as fast."""
    write_dataset(ClipSettings(num_frames=8, width=32, height=32, samples=1), tmp_path / "clip")
    command = [
        sys.executable,
        str(BENCHMARKS / "against.py"),
        str(tmp_path / "clip"),
        "--other",
        str(BENCHMARKS.parent),
    ]
    options = ["--other", str(BENCHMARKS.parent), "--settle", "1", "--rounds", "1", "--threads", "1", "--json"]
    path = os.pathsep.join([str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([*command, *options], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    names = {f"{task}_1t_{clock}" for task in ("step", "image_128", "image_256") for clock in ("cpu", "wall")}
    assert set(figures["ratios"]) == set(figures["ms"]) == names
    assert all(both["this"] > 0.0 and both["other"] > 0.0 for both in figures["ms"].values())
