"""Whenever work is killed, or the disk is full, read-only or without inputs: ``tools/kill.py`` tries many more."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fault_tracing import HAS_TRACING

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("fetch", "convert", "batch", "train")


@pytest.mark.skipif(not HAS_TRACING, reason="needs Linux on x86-64 or ARM")
@pytest.mark.slow
def test_what_happens_while_a_tool_writes_spoils_nothing():
    # A process of its own: this one may have threads, and work is forked off.
    command = [sys.executable, str(ROOT / "tools" / "kill.py"), *QUICK, "--faults", "2", "--verbose"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    for name in QUICK:
        assert re.search(rf"^{name} +kill +[1-9]", done.stdout, re.M), done.stdout
