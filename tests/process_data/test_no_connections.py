"""Data preparation opens no connection: its process would be killed at the first internet socket."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from socket_guard import available

from nerfblendshape_ns.data import contract

GUARD = Path(__file__).with_name("socket_guard.py")
PREPARE = "from nerfblendshape_ns.scripts.process_data import main; main(sys.argv[1:])"


@pytest.fixture(autouse=True, scope="module")
def seccomp():
    if not available() or guarded("pass").returncode:
        pytest.skip("the guard is a seccomp filter, which this system does not have or allow")


def guarded(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return subprocess.run(
        [sys.executable, str(GUARD), f"import sys; {code}", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_guard_kills_at_an_internet_socket_and_at_no_other():
    assert guarded("import socket; socket.socket(socket.AF_UNIX)").returncode == 0
    for family in ("AF_INET", "AF_INET6"):
        assert guarded(f"import socket; socket.socket(socket.{family})").returncode == -signal.SIGSYS


@pytest.mark.slow
def test_a_video_becomes_a_dataset_without_a_connection(tmp_path, landmarker_path, person_mask_path):
    from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

    video, output = tmp_path / "head.mp4", tmp_path / "out"
    write_dataset(ClipSettings(num_frames=12, width=320, height=320, samples=1), tmp_path / "truth", video)
    options = ["--video", video, "--output", output, "--landmarker", landmarker_path]
    done = guarded(PREPARE, *options, "--person-mask", person_mask_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (output / contract.TRANSFORMS).is_file()
