"""Where fetched files are kept, and what pip's failures come down to."""

import subprocess
import sys
from pathlib import Path

import pytest

from nerfblendshape_ns.common import fetching
from nerfblendshape_ns.common.fetching import NotFetched, cache_folder, pip_download


def answer(monkeypatch, code: int, told: str = "") -> list:
    commands: list = []

    def run(command, **_):
        commands.append(command)
        if code == 0:
            folder = Path(command[command.index("--dest") + 1])
            folder.mkdir()
            (folder / "thing.whl").touch()
        return subprocess.CompletedProcess(command, code, "", told)

    monkeypatch.setattr(fetching.subprocess, "run", run)
    return commands


def test_the_cache_is_the_user_s_unless_a_variable_names_another_folder(monkeypatch, tmp_path):
    for name in (fetching.CACHE_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder() == Path.home() / ".cache" / "nerfblendshape_ns"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "nerfblendshape_ns"
    monkeypatch.setenv(fetching.CACHE_VARIABLE, str(tmp_path / "other"))
    assert cache_folder() == tmp_path / "other"


def test_pip_downloads_with_this_interpreter_and_no_dependencies(monkeypatch, tmp_path):
    commands = answer(monkeypatch, 0)
    file = pip_download("thing==1", "00", tmp_path, ["--only-binary=:all:"], 10)
    assert file.name == "thing.whl" and file.exists()
    (command,) = commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"] and "--no-deps" in command
    assert command[-4:-1] == ["--only-binary=:all:", "--require-hashes", "--requirement"]
    assert Path(command[-1]).read_text() == "thing==1 --hash=sha256:00\n"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (
            "/usr/bin/python: No module named pip\n",
            f"{sys.executable} has no pip to download thing==1 with; add it with 'python -m ensurepip' or "
            "'uv pip install pip'",
        ),
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError(...)': /simple/thing/\n"
            "ERROR: No matching distribution found for thing==1\n",
            "pip could not reach the package index to download thing==1; a network connection is needed",
        ),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n    Got        00\n",
            "the package index gave another file than the known one for thing==1",
        ),
        (
            "noise\nERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n\n"
            "[notice] A new release of pip is available\n",
            "pip could not download thing==1 (ERROR: Could not install packages due to an OSError: [Errno 28] No space "
            "left on device)",
        ),
        ("something else\n", "pip could not download thing==1 (something else)"),
        ("", "pip could not download thing==1 (no reason given)"),
    ],
)
def test_why_pip_failed_is_told_in_a_sentence(monkeypatch, tmp_path, told, reason):
    answer(monkeypatch, 1, told)
    with pytest.raises(NotFetched) as raised:
        pip_download("thing==1", "00", tmp_path, [], 10)
    assert str(raised.value) == reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (subprocess.TimeoutExpired("pip", 10), "pip had not downloaded thing==1 after 10 seconds"),
        (OSError("no memory"), "pip could not download thing==1 (no memory)"),
    ],
)
def test_a_pip_that_hangs_or_cannot_start_is_told(monkeypatch, tmp_path, error, reason):
    def run(*_, **__):
        raise error

    monkeypatch.setattr(fetching.subprocess, "run", run)
    with pytest.raises(NotFetched) as raised:
        pip_download("thing==1", "00", tmp_path, [], 10)
    assert str(raised.value) == reason
