"""Every console script also runs as a module: ``python -m nerfblendshape_ns.scripts.NAME``."""

from __future__ import annotations

import runpy
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
