"""Launching Warp kernels from torch."""

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
