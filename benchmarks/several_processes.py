"""Train one head in one process and in two that talk by gloo: time, rays, what travels between them, memory.

    python benchmarks/several_processes.py [--json] [--settle 64] [--rounds 5]

The small head trains on a synthetic clip on the CPU, one thread a process. After ``--settle`` steps every process takes
rounds of 16 steps, as many as lie between two updates of the occupancy; medians of the rounds are printed. A step of
two processes sees twice the rays. ``processor_ms`` is the processor time of one process, which other work on the
machine does not lengthen. ``bytes`` are those of the tensors that a process gives to torch.distributed in a step, which
with two processes is what it sends: the gradients of the networks (DistributedDataParallel), the tables' gradient rows
(:mod:`nerfblendshape_ns.field_components.table_gradients`), buffers (sent by the first process), and the rest.
``touched`` is the fraction of the gradient rows' entries that are not zero.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import copy
import json
import os
import socket
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List
from unittest import mock

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from nerfstudio.pipelines import base_pipeline
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel
from training import NEVER, take_steps

from nerfblendshape_ns.common.memory import peak_memory_mb
from nerfblendshape_ns.method_configs import nerfblendshape_head_small
from nerfblendshape_ns.recipes.values import apply_overrides
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

STEPS_A_ROUND = 16
KINDS = ("network gradients", "table gradients", "buffers", "rest")


class OnCPU(DistributedDataParallel):
    """nerfstudio's, which names a CUDA device; it adds gradients up by Python's ``all_reduce``, so that it is seen."""

    def __init__(self, model: torch.nn.Module, device_ids: List[int], **options: Any) -> None:
        super().__init__(model, **options)
        self.register_comm_hook(None, allreduce_hook)


class Traffic:
    """Counts the bytes of the tensors that are given to torch.distributed inside it, by what they carry."""

    def __init__(self) -> None:
        self.bytes: collections.Counter[str] = collections.Counter()
        self._patches = contextlib.ExitStack()

    def __enter__(self) -> Traffic:
        for name, kind, place in (
            ("all_reduce", "network gradients", 0),
            ("all_gather", "table gradients", 1),
            ("_broadcast_coalesced", "buffers", 1),
            ("broadcast", "rest", 0),
        ):
            self._patches.enter_context(mock.patch.object(dist, name, self._counted(getattr(dist, name), kind, place)))
        return self

    def __exit__(self, *exception: Any) -> None:
        self._patches.close()

    def _counted(self, function: Callable[..., Any], kind: str, place: int) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            given = arguments[place]
            self.bytes[kind] += sum(tensor_bytes(each) for each in (given if isinstance(given, list) else [given]))
            return function(*arguments, **options)

        return counted


def tensor_bytes(tensor: torch.Tensor) -> int:
    """Of a tensor's values."""
    return tensor.numel() * tensor.element_size()


def trainer_of(data: Path, output: Path, rank: int, world: int, changes: Dict[str, Any]) -> Any:
    """nerfstudio's trainer of the small head, set up as one of several processes.

    Args:
        data: dataset directory.
        output: nerfstudio's folder of runs.
        rank: number of this process.
        world: number of all.
        changes: of the method's config, by names with dots.
    """
    config: Any = copy.deepcopy(nerfblendshape_head_small.config)
    config.data = config.pipeline.datamanager.data = data
    config.output_dir, config.timestamp, config.vis = output, "run", "tensorboard"
    config.machine.device_type = "cpu"
    config.steps_per_eval_batch = config.steps_per_eval_image = config.steps_per_eval_all_images = NEVER
    apply_overrides(config, changes, "changes")
    config.save_config()
    torch.manual_seed(config.machine.seed + rank)
    trainer = config.setup(local_rank=rank, world_size=world)
    trainer.setup()
    return trainer


def work(
    rank: int, world: int, port: int, data: Path, output: Path, settle: int, rounds: int, changes: Dict[str, Any]
) -> None:
    """What one process does; its figures go to a file."""
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
        base_pipeline.DDP = OnCPU  # type: ignore
        base_pipeline.dist = SimpleNamespace(barrier=lambda device_ids: dist.barrier())  # type: ignore
    trainer = trainer_of(data, output, rank, world, changes)
    take_steps(trainer, 0, settle)
    wall, processor = [], []
    with Traffic() as traffic:
        for number in range(rounds):
            before, before_processor = time.perf_counter(), time.process_time()
            take_steps(trainer, settle + number * STEPS_A_ROUND, STEPS_A_ROUND)
            wall.append((time.perf_counter() - before) / STEPS_A_ROUND)
            processor.append((time.process_time() - before_processor) / STEPS_A_ROUND)
    rows = trainer.pipeline.model.field.encoding.table_gradients.grad
    figures = {
        "step_ms": round(1e3 * statistics.median(wall), 1),
        "processor_ms": round(1e3 * statistics.median(processor), 1),
        "rays_a_step": world * trainer.config.pipeline.datamanager.train_num_rays_per_batch,
        "bytes": {kind: round(traffic.bytes[kind] / rounds / STEPS_A_ROUND) for kind in KINDS},
        "touched": round(float((rows != 0).float().mean()), 3),
        "peak_mb": peak_memory_mb(),
    }
    (output / f"{world}_{rank}.json").write_text(json.dumps(figures), encoding="utf-8")
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


def measure(
    data: Path, output: Path, world: int, settle: int, rounds: int, changes: Dict[str, Any]
) -> List[Dict[str, Any]]:
    """Figures of each of so many processes; arguments as in :func:`trainer_of` and :func:`main`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, args=(world, port, data, output, settle, rounds, changes), nprocs=world)
    return [json.loads((output / f"{world}_{rank}.json").read_text(encoding="utf-8")) for rank in range(world)]


def main() -> None:
    """Measure one process, then two, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settle", type=int, default=64, help="training steps before anything is measured")
    parser.add_argument("--rounds", type=int, default=5, help=f"of {STEPS_A_ROUND} steps")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    figures: Dict[str, Any] = {"load": round(os.getloadavg()[0], 1)}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "clip")
        write_dataset(ClipSettings(num_frames=40, width=256, height=256, samples=1), data)
        for world, name in ((1, "one process"), (2, "two processes")):
            every = measure(data, Path(folder), world, options.settle, options.rounds, {})
            step = statistics.mean(each["step_ms"] for each in every)
            figures[name] = {"rays_per_second": round(1e3 * every[0]["rays_a_step"] / step), "each": every}
            print(f"{name}: {figures[name]['rays_per_second']} rays per second", *every, sep="\n    ", flush=True)
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
