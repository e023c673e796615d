"""Long runs: how slopes are fitted, and that driving leaves no thread and no open file behind."""

from __future__ import annotations

import long_runs as benchmark
import pytest


def test_slopes_are_of_a_unit_and_leave_the_warm_up_out():
    growth = benchmark.Growth("minute", 60.0)
    warm_up = [(0.0, 10.0, 1, 1), (10.0, 500.0, 9, 9)]
    growth.samples = warm_up + [(20.0 + 10.0 * n, 500.0 + 0.5 * n, 12, 30 - n) for n in range(4)]
    assert growth.slopes() == {
        "per": "minute",
        **{"mb_slope": 3.0, "threads_slope": 0.0, "files_slope": -6.0},
        **{"mb": 501.5, "threads": 12.0, "files": 27.0},
    }


@pytest.mark.slow
def test_driving_leaves_no_thread_and_no_file(tmp_path):
    driven = benchmark.drive(tmp_path / "drive", 60, 5)
    assert driven["frames"] == 60 and abs(driven["threads_slope"]) + abs(driven["files_slope"]) < 1e-6
