"""The Makefile with a stand-in for Python: what it installs, when, and what it refuses before."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import List

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(os.name == "nt" or shutil.which("make") is None, reason="needs make")

PYTHON = """#!/bin/sh
echo "$*" >> "{log}"
case "$*" in
    "-c import sys; print(sys.version)") echo {version} ;;
    "-m venv "*)
        mkdir -p "$3/bin"; touch "$3/bin/has_pip"
        cp "$0" "$3/bin/python"; cp "{recipe}" "$3/bin/nbs-recipe" ;;
    "-m pip --version") test -f "$(dirname "$0")/has_pip" ;;
esac
"""
RECIPE = """#!/bin/sh
printf '%s|' recipe "$@" >> "{log}"
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A checkout with the Makefile, and a PATH with a compiler that is none."""
    folder = tmp_path / "a checkout"
    # Python may be writing there: another process tests the tools.
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("PYTHON", "TORCH", "NUMPY", "MAKEFLAGS", "VIDEO", "QUALITY"):
        monkeypatch.delenv(name, raising=False)
    program(tmp_path / "nbs-recipe", RECIPE.format(log=folder / "log"))
    program(tmp_path / "bin" / "c++", "#!/bin/sh\n")
    for name in ("bin/python3.11", "bin/python3.12", "my python/python3"):
        text = PYTHON.format(log=folder / "log", version=name, recipe=tmp_path / "nbs-recipe")
        program(tmp_path / name, text)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return folder


def program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def make(folder: Path, *words: str, fails: bool = False) -> List[str]:
    """What the stand-ins were called with; of a call that fails what was said."""
    log = folder / "log"
    log.unlink(missing_ok=True)
    done = subprocess.run(["make", *words], cwd=folder, capture_output=True, text=True)
    assert bool(done.returncode) == fails, done.stderr
    called = log.read_text().splitlines() if log.exists() else []
    return done.stderr.splitlines() if fails else called


def installed(called: List[str]) -> List[str]:
    return [line.split(" off ")[1] for line in called if "install" in line]


def test_python_and_video_may_have_spaces_in_their_paths(here):
    (here / "über me.mp4").touch()
    called = make(here, "demo", "VIDEO=über me.mp4", f"PYTHON={here.parent / 'my python' / 'python3'}", "DEMO=my demo")
    assert called[-1] == "recipe|configs/demo_video.yaml|--output|my demo|--video|über me.mp4|"
    assert make(here, "demo", "DEMO=my demo")[-1] == "recipe|configs/demo.yaml|--output|my demo|"


@pytest.mark.parametrize(
    ("word", "message"),
    [("VIDEO=no video.mp4", "there is no file no video.mp4"), ("QUALITY=hihg", "QUALITY is high or")],
)
def test_what_cannot_work_is_refused_before_anything_is_installed(here, word, message):
    assert any(message in line for line in make(here, "demo", word, fails=True))
    assert not (here / "log").exists() and not (here / ".venv").exists()


def test_another_torch_is_installed_and_the_same_one_is_not(here):
    assert installed(make(here, "demo"))[1].startswith("torch==")
    assert installed(make(here, "demo")) == []
    assert installed(make(here, "demo", "TORCH=torch==2.6"))[1] == "torch==2.6"
    assert installed(make(here, "demo", "TORCH=torch==2.6")) == []
    assert installed(make(here, "demo")) == []
    assert installed(make(here, "demo", "NUMPY=numpy>=2"))[2].endswith("numpy>=2 --editable .")


def test_another_python_is_not_ignored_where_there_is_an_environment(here):
    make(here, "demo")
    said = make(here, "demo", "PYTHON=3.12", fails=True)
    assert any("error: .venv has another Python than 3.12; remove it, or give VENV=" in line for line in said)
    assert installed(make(here, "demo")) == []
    assert "-m venv other" in make(here, "demo", "PYTHON=3.12", "VENV=other")


def test_an_environment_whose_making_was_interrupted_is_made_again(here):
    make(here, "demo")
    for name in (".torch", ".installed", "bin/has_pip"):
        (here / ".venv" / name).unlink()
    assert "-m venv .venv" in make(here, "demo")
