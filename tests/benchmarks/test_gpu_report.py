"""``benchmarks/gpu_report.py``: stages that hang or fail, and the whole of it in miniature on the CPU."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

import gpu_report
import large_head
import pytest

from nerfblendshape_ns.fields import head_field
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset


class PatientReport(gpu_report.Report):
    """The limits are those of a GPU; on a busy CPU stages take longer."""

    def __init__(self, folder: Path, command: str) -> None:
        super().__init__(folder, command, total_seconds=3600.0)

    def _follow(self, command: List[str], limit: float, lines: List[str]) -> Any:
        return super()._follow(command, 10 * limit, lines)


def records(path: Path) -> List[Dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def stage(name: str, program: str, seconds: float = 20.0) -> Any:
    return gpu_report.Stage(name, [sys.executable, "-c", program], seconds)


def test_a_stage_that_hangs_or_fails_is_reported_and_the_next_one_runs(tmp_path):
    report = gpu_report.Report(tmp_path, "some")
    started = time.monotonic()
    hanging = "import subprocess, time; print('so far', flush=True); subprocess.run(['sleep', '60'])"
    report.run(stage("hangs", hanging, 5.0))
    assert time.monotonic() - started < 50
    report.run(stage("fails", "print('{\"a\": 1}'); raise ValueError('of no use')"))
    assert report.run(stage("works", "print('words'); print('{\"ms\": 1.5}')")) == {"ms": 1.5}
    hangs, fails, works = records(tmp_path / "some.jsonl")
    assert hangs["outcome"] == "stopped at its limit of 5 s" and hangs["tail"] == ["so far"] and hangs["figures"] == {}
    assert fails["outcome"] == "failed with exit code 1" and fails["figures"] == {}
    assert fails["tail"][-1] == "ValueError: of no use"
    assert works["outcome"] == "done" and works["figures"] == {"ms": 1.5}
    text = (tmp_path / "some.txt").read_text()
    assert "=== hangs" in text and "so far\n" in text and "words\n" in text


def test_what_is_printed_is_in_the_file_while_the_stage_still_runs(tmp_path):
    report = gpu_report.Report(tmp_path, "some")
    # The file is read by the stage itself, until it finds what it printed; the command stands there too.
    look = f"print('first')\nwhile open({str(tmp_path / 'some.txt')!r}).read().count('first') < 3: pass\nprint('seen')"
    report.run(stage("looks", look, 60.0))
    assert records(tmp_path / "some.jsonl")[0]["tail"] == ["first", "seen"]


def test_no_stage_begins_after_the_total_time(tmp_path):
    report = gpu_report.Report(tmp_path, "some", total_seconds=3.0)
    report.run(stage("long", "import time; time.sleep(30)"))
    report.run(stage("late", "print(1)"))
    long, late = records(tmp_path / "some.jsonl")
    assert long["outcome"] in ("stopped at its limit of 3 s", "stopped at its limit of 2 s")  # What was left.
    assert late["outcome"] == "no time was left for it"


def test_the_stages_fit_their_time_in_any_event(tmp_path):
    options = ["kernels", "--output", str(tmp_path)]
    parsed = gpu_report.parser().parse_args(options)
    stages = gpu_report.kernel_stages(parsed)
    assert [one.name for one in stages] == ["encode", "large_head", "step", "cuda_tests"]
    assert all(one.seconds <= gpu_report.TOTAL_SECONDS <= 300 for one in stages)
    tests = [Path(word).name for word in stages[-1].command if word.endswith(".py")]
    assert tests == ["test_cuda.py", "test_cuda_kernels.py", "test_cuda_rays.py"]


@pytest.mark.slow
def test_training_in_miniature(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_report, "Report", PatientReport)
    write_dataset(ClipSettings(num_frames=12, width=48, height=48, fps=10, samples=1), tmp_path / "clip")
    small = [
        "pipeline.datamanager.train_num_rays_per_batch=512",
        "pipeline.datamanager.patch_size=8",
        "pipeline.datamanager.dataparser.test_frames=2",
        "pipeline.model.num_levels=4",
        "pipeline.model.log2_table_size=9",
        "pipeline.model.occupancy_resolution=16",
        "pipeline.model.samples_per_box=32",
    ]
    arguments = ["train", str(tmp_path / "clip"), "--output", str(tmp_path / "report"), "--device", "cpu"]
    gpu_report.main([*arguments, "--minutes", "0.05", "--steps", "2", "--frames", "2", "--set", *small])
    entries = records(tmp_path / "report" / "train.jsonl")
    assert [entry["stage"] for entry in entries] == ["machine", "training", "figures", "profile"]
    machine, training, figures, profile = entries
    assert machine["torch"] and machine["cpus"] and "commit" in machine
    assert [entry["outcome"] for entry in entries[1:]] == ["done"] * 3, entries
    assert training["figures"]["steps"] >= 1 and training["figures"]["step_ms"] > 0
    assert training["figures"]["host_peak_mb"] > 100
    assert set(figures["figures"]) == {"psnr", "ssim", "l1", "psnr_head", "ssim_head", "frames"}
    assert figures["figures"]["frames"] == 2 and 3 < figures["figures"]["psnr"] < 60
    assert profile["figures"]["operations"] > 100
    assert "Self CPU" in (tmp_path / "report" / "train.txt").read_text()


@pytest.mark.slow
def test_the_large_head_is_timed_in_miniature(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(large_head, "STEPS_A_ROUND", 1)  # A step of the large head takes seconds on a CPU.
    options = ["kernels", "--output", str(tmp_path), "--device", "cpu", "--rounds", "1", "--settle", "1"]
    stages = gpu_report.kernel_stages(gpu_report.parser().parse_args([*options, "--sizes", "48", "64"]))
    words = [str(word) for word in stages[1].command]
    monkeypatch.setattr(sys, "argv", words[words.index(large_head.__file__) :])
    warmup = head_field.OPACITY_WARMUP
    large_head.main()
    assert head_field.OPACITY_WARMUP == warmup != large_head.OPACITY_WARMUP, "what trains after it is as it was"
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(figures["picture_ms"]) == ["48", "64"] and figures["step_ms"] > 0
