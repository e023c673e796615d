"""What libraries say about themselves stays off the console; what a user could act on does not."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import List, Type

import pytest
import torch

from nerfblendshape_ns.common import library_output
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.library_output import (
    LITERT_LINES,
    WARP_WITHOUT_DRIVER,
    ignore_library_warnings,
    nvidia_gpu_possible,
    without_lines,
)

NON_TUPLE = (
    "Using a non-tuple sequence for multidimensional indexing is deprecated and will be changed in pytorch 2.9; use "
    "x[tuple(seq)] instead of x[seq]. (Triggered internally at /pytorch/torch/csrc/autograd/python_variable.cpp:347.)"
)
COPY = (
    "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
    "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor)."
)
SCALER = (
    "`torch.cuda.amp.GradScaler(args...)` is deprecated. Please use `torch.amp.GradScaler('cuda', args...)` instead."
)
FORWARD = (
    "`torch.cuda.amp.custom_fwd(args...)` is deprecated. Please use `torch.amp.custom_fwd(args..., "
    "device_type='cuda')` instead."
)
SCALAR = (
    "Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior.\nConsider using "
    "tensor.detach() first. (Triggered internally at /pytorch/torch/csrc/autograd/python_variable_methods.cpp:820.)"
)
SCRIPT = "`torch.jit.script` is deprecated. Please switch to `torch.compile` or `torch.export`."
ACTIVATIONS = "nerfstudio.field_components.activations"
DRIVER = b"Warp CUDA warning: Could not find or load the NVIDIA CUDA driver. GPU execution will not be available.\n"


def warn_from(module: str, message: str, category: Type[Warning]) -> List[str]:
    """The messages that are shown when a module's code warns, with the filters of this package alone."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.resetwarnings()
        ignore_library_warnings()
        warnings.simplefilter("always", append=True)
        space = {"__name__": module, "message": message, "category": category}
        exec("import warnings\nwarnings.warn(message, category)", space)
    return [str(one.message) for one in shown]


@pytest.mark.parametrize(
    "module, message, category",
    [
        ("nerfstudio.cameras.cameras", NON_TUPLE, UserWarning),
        ("nerfstudio.cameras.camera_utils", COPY, UserWarning),
        ("nerfstudio.engine.trainer", SCALER, FutureWarning),
        (ACTIVATIONS, FORWARD, FutureWarning),
        (ACTIVATIONS, FORWARD.replace("fwd", "bwd"), FutureWarning),
        ("nerfstudio.utils.writer", SCALAR, UserWarning),
        ("torch.jit._script", SCRIPT, FutureWarning),
    ],
)
def test_a_warning_that_no_user_can_act_on_is_filtered_and_one_like_it_is_not(module, message, category):
    assert warn_from(module, message, category) == []
    for other_module in ("my_project", f"{module}_of_mine", f"my.{module}"):
        assert warn_from(other_module, message, category) == [message]
    assert warn_from(module, message, RuntimeWarning) == [message]
    other = message.replace("deprecated", "wrong").replace("unexpected", "no").replace("copy", "make")
    assert warn_from(module, other, category) == [other]


def test_torch_warns_of_other_things_in_the_same_place():
    other = "`torch.jit.script` is not supported in Python 3.14+ and may break. Please switch to `torch.compile`."
    assert warn_from("torch.jit._script", other, FutureWarning) == [other]


def test_a_filter_of_the_user_s_goes_first():
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("error")
        ignore_library_warnings()
        with pytest.raises(FutureWarning):
            warnings.warn_explicit(SCALER, FutureWarning, "trainer.py", 137, "nerfstudio.engine.trainer")


def test_lines_of_native_code_are_dropped_one_by_one(capfd):
    with without_lines([WARP_WITHOUT_DRIVER]):
        os.write(2, b"\r\x1b[2Kframes 1/20")  # A progress bar, whose line goes on.
        os.write(2, DRIVER)
        os.write(2, b"Warp CUDA error: out of memory\n" + DRIVER)
    os.write(2, b"after\n" + DRIVER)
    assert capfd.readouterr().err == f"\r\x1b[2Kframes 1/20Warp CUDA error: out of memory\nafter\n{DRIVER.decode()}"


def test_what_was_written_before_an_error_is_shown(capfd):
    with pytest.raises(RuntimeError), without_lines(LITERT_LINES):
        os.write(2, b"E0000 model broken\n")
        raise RuntimeError
    assert capfd.readouterr().err == "E0000 model broken\n"


def test_lines_of_litert(capfd):
    with without_lines(LITERT_LINES):
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nINFO: Created nothing.\n")
    assert capfd.readouterr().err == "INFO: Created nothing.\n"


@pytest.fixture
def pci(tmp_path, monkeypatch):
    """Adds a device to a machine that has none."""
    monkeypatch.setattr(library_output, "PCI_DEVICES", tmp_path / "pci")
    monkeypatch.setattr(library_output, "WSL_GPU", tmp_path / "dxg")
    monkeypatch.setattr(library_output.sys, "platform", "linux")

    def add(vendor: str, kind: str) -> None:
        folder = tmp_path / "pci" / f"{vendor}{kind}"
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(f"{vendor}\n")
        (folder / "class").write_text(f"{kind}\n")

    return add


def test_a_gpu_without_a_driver_is_noticed(pci, tmp_path, monkeypatch):
    assert nvidia_gpu_possible(), "a machine that does not show its devices"
    pci("0x8086", "0x030000")  # Another maker's display.
    pci("0x10de", "0x040300")  # The maker's sound device.
    assert not nvidia_gpu_possible()
    pci("0x10de", "0x030200")
    assert nvidia_gpu_possible()
    monkeypatch.setattr(library_output, "PCI_DEVICES", tmp_path / "empty")
    (tmp_path / "empty").mkdir()
    assert not nvidia_gpu_possible()
    (tmp_path / "dxg").touch()
    assert nvidia_gpu_possible()


def test_where_a_gpu_cannot_be_looked_for_there_may_be_one(pci, monkeypatch):
    monkeypatch.setattr(library_output.sys, "platform", "win32")
    assert nvidia_gpu_possible()


@pytest.mark.parametrize("gpu", [False, True])
def test_warp_without_a_driver_is_news_only_on_a_machine_with_a_gpu(gpu, pci, monkeypatch, capfd):
    from nerfblendshape_ns.common import warp_start

    monkeypatch.setattr(warp_start.wp, "init", lambda: os.write(2, DRIVER + b"other\n"))
    pci("0x10de" if gpu else "0x8086", "0x030000")
    warp_start.start_warp.__wrapped__()
    assert capfd.readouterr().err == gpu * DRIVER.decode() + "other\n"


@pytest.mark.parametrize("level, then", [("LOG_INFO", "LOG_WARNING"), ("LOG_DEBUG", "LOG_DEBUG")])
def test_a_log_level_of_warp_that_a_user_set_stays(level, then, monkeypatch):
    from nerfblendshape_ns.common import warp_start

    wp = warp_start.wp
    monkeypatch.setattr(wp, "init", lambda: None)
    monkeypatch.setattr(wp.config, "log_level", getattr(wp, level))
    warp_start.start_warp.__wrapped__()
    assert wp.config.log_level == getattr(wp, then)


def test_kernels_that_have_no_place_are_a_sentence(monkeypatch):
    """A container's user without a home got fifteen lines of Warp's."""
    from nerfblendshape_ns.common import warp_start

    def refuse():
        raise PermissionError(13, "Permission denied", "/.cache")

    monkeypatch.setattr(warp_start.wp, "init", refuse)
    with pytest.raises(UserError, match=r"Permission denied: '/.cache'\); name one .* WARP_CACHE_PATH"):
        warp_start.start_warp.__wrapped__()


PROGRAM = """
import sys
from pathlib import Path
from nerfblendshape_ns.scripts import synthetic
folder = Path(sys.argv[1])
words = ["--output", str(folder / "clip"), "--num-frames", "24", "--size", "32", "32", "--samples", "1"]
synthetic.main(words)
from nerfstudio.scripts.eval import ComputePSNR
from tiny_runs import tiny_config
from nerfblendshape_ns.recipes.training import run_training
run = run_training(tiny_config(folder / "clip", folder / "runs", max_num_iterations=3, steps_per_eval_image=2))
ComputePSNR(run, folder / "eval.json").main()
"""


@pytest.mark.slow
@pytest.mark.skipif(
    nvidia_gpu_possible() and not torch.cuda.is_available(),
    reason="this machine may have a GPU without its driver, of which Warp warns",
)
def test_stderr_holds_what_is_ours_alone(tmp_path):
    """Data, training and evaluation in one process: it imports nerfstudio after this package, as our tools do."""
    paths = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    environment.pop("PYTHONWARNINGS", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    bar, dataset = done.stderr.splitlines()
    assert bar.startswith("frames") and dataset == f"dataset: {tmp_path / 'clip'}"
    assert "\x1b" not in done.stdout and done.stdout.count("Step (% Done)") == 1, "rows in a file are not drawn over"
    assert "Warp" not in done.stdout and "Module" not in done.stdout
    assert "HeadModelConfig(" not in done.stdout
