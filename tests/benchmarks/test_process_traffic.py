"""What the benchmark of several processes counts: bytes that follow from the sizes of tensors."""

from __future__ import annotations

import pytest
import several_processes as benchmark
import torch
import torch.distributed as dist

from nerfblendshape_ns.recipes.datasets import write_synthetic
from nerfblendshape_ns.synthetic.dataset import ClipSettings

TINY = {
    "pipeline.datamanager.train_num_rays_per_batch": 64,
    "pipeline.datamanager.dataparser.test_frames": 2,
    "pipeline.model.num_levels": 4,
    "pipeline.model.log2_table_size": 9,
    "pipeline.model.occupancy_resolution": 32,
    "pipeline.model.occupancy_warmup": 4,
    "pipeline.model.occupancy_interval": 4,
}


@pytest.fixture
def alone(tmp_path):
    """A group of one process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_tensors_are_counted_by_what_they_carry(alone):
    gather, broadcast = dist.all_gather, dist.broadcast
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    model = benchmark.OnCPU(module, device_ids=[0])
    with benchmark.Traffic() as traffic:
        dist.all_gather([torch.empty(5)], torch.ones(5))
        dist.broadcast(torch.ones(3, dtype=torch.float64), src=0)
        model(torch.rand(4, 3)).sum().backward()
    assert traffic.bytes == {
        "table gradients": 5 * 4,
        "rest": 3 * 8,
        "network gradients": (3 * 2 + 2 + 2 + 2) * 4,
        "buffers": (2 + 2) * 4 + 8,  # Mean and variance of the batches, and their number.
    }
    assert dist.all_gather is gather and dist.broadcast is broadcast


@pytest.mark.slow
def test_two_processes_send_gradients_alone(tmp_path):
    write_synthetic(ClipSettings(num_frames=12, width=48, height=48, fps=10), tmp_path / "clip")
    (first, second) = benchmark.measure(tmp_path / "clip", tmp_path, 2, 8, 1, TINY)
    assert first["bytes"] == second["bytes"] and first["rays_a_step"] == 128
    assert first["bytes"]["buffers"] == first["bytes"]["rest"] == 0
    assert first["bytes"]["network gradients"] > 1000 and first["bytes"]["table gradients"] > 1000
