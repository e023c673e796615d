"""Launching Warp kernels from torch."""

import threading
import time

import pytest
import torch

from nerfblendshape_ns.ops import launch
from nerfblendshape_ns.ops.launch import ParallelKernel
from nerfblendshape_ns.ops.packed_scan_kernels import scan_exclusive_sum


def test_a_kernel_that_cannot_be_recorded_says_so_every_time(monkeypatch):
    """A half-filled list of recorded launches would hide the reason from the second call on."""
    kernel = ParallelKernel(scan_exclusive_sum.kernel, [launch.wp.float32])

    def fail(*_, **__):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(launch.wp, "launch", fail)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no compiler"):
            kernel(1, (), [torch.zeros(1)])


def test_an_interrupt_waits_for_the_threads(monkeypatch):
    """nerfstudio's viewer raises in the middle of a render; no thread may write into tensors that are gone."""
    started, finished = threading.Event(), threading.Event()

    class Part:
        def __init__(self, number):
            self.number = number

        def set_dim(self, dim):
            pass

        def set_param_at_index_from_ctype(self, index, value):
            pass

        def launch(self):
            if self.number == 0:
                started.wait(5)
                raise KeyboardInterrupt
            started.set()
            time.sleep(0.2)
            finished.set()

    kernel = ParallelKernel(scan_exclusive_sum.kernel, [launch.wp.float32])
    monkeypatch.setattr(kernel, "_launches", lambda *_: [Part(0), Part(1)])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(KeyboardInterrupt):
        kernel(2, (), [torch.zeros(2)])
    assert finished.is_set()
