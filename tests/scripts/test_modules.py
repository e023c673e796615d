"""Every console script starts at once, also as a module, says what it does, and ends on Ctrl-C."""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nerfblendshape_ns import scripts

NAMES = sorted(path.stem for path in Path(scripts.__path__[0]).glob("*.py") if path.stem != "__init__")


@pytest.mark.filterwarnings("ignore:.*found in sys.modules.*:RuntimeWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_script_runs_as_a_module(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"nerfblendshape_ns.scripts.{name}", run_name="__main__", alter_sys=True)
    assert ended.value.code == 0 and "usage: nbs-" in capsys.readouterr().out


def test_no_help_waits_for_torch_or_warp():
    modules = ", ".join(f"nerfblendshape_ns.scripts.{name}" for name in NAMES)
    slow = {"torch", "warp", "matplotlib"}
    code = f"import sys, {modules}; print(sorted({slow} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("batch", "\nThe same command again continues"),
        ("export", "browser; or show what a file says"),
        ("torso_images", "\nMend them in any editor"),
    ],
)
def test_a_description_of_several_lines_is_not_broken_or_indented(name, part, capsys):
    with pytest.raises(SystemExit):
        importlib.import_module(f"nerfblendshape_ns.scripts.{name}").main(["--help"])
    assert part in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="signals are others there")
def test_an_interruption_is_told_in_a_word_and_ends_the_process_by_its_signal():
    code = (
        "import os, signal; from nerfblendshape_ns.common.errors import report_user_errors\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # A test run in the background ignores it.
        "with report_user_errors(): os.kill(os.getpid(), signal.SIGINT)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout) == (-signal.SIGINT, "stopped\n", "")
