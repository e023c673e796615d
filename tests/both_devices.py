"""Results on the CPU beside those on the GPU."""

from __future__ import annotations

from typing import Callable, List

import torch
from torch import Tensor


def on_both(function: Callable[..., List[Tensor]], *tensors: Tensor) -> List[List[Tensor]]:
    """Results on the CPU and on the GPU, both on the CPU."""
    results = []
    for device in ("cpu", "cuda"):
        copies = [tensor.clone().to(device) for tensor in tensors]
        results.append([out.detach().cpu() for out in function(*copies)])
    return results


def assert_close(results: List[List[Tensor]], tolerance: float) -> None:
    """Every output within a tolerance relative to its largest value."""
    for on_cpu, on_gpu in zip(*results):
        assert on_cpu.shape == on_gpu.shape and torch.isfinite(on_gpu.float()).all()
        scale = float(on_cpu.float().abs().max()) if on_cpu.numel() else 0.0
        assert on_cpu.numel() == 0 or float((on_cpu.float() - on_gpu.float()).abs().max()) <= tolerance * max(scale, 1)
