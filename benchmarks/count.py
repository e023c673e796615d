"""Count the torch operations, Warp launches and device synchronisations of a training step and of an image.

    python benchmarks/count.py [--json] [--settle 300]

The small head trains on a synthetic clip with its own coefficient names, mesh and landmarks, so that face parts and
face motion are on; poses are as tracked, then corrected. Counts are the mean of 16 steps, one update of the occupancy
among them, and those of one 128-pixel image. They do not depend on the machine: what runs on the CPU is what a GPU
would be sent.
Views and allocations are not counted. A synchronisation is an operation that cannot return before the device is done:
one whose size depends on data (a boolean mask, ``nonzero``, ``unique``), or a number that Python reads. Copies to the
device are not seen.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict
from unittest import mock

import torch
from step import STEPS_A_ROUND, Run
from torch.utils._python_dispatch import TorchDispatchMode

from nerfblendshape_ns.fields import head_field, networks
from nerfblendshape_ns.model_components.rendering import early_termination
from nerfblendshape_ns.ops import hash_grid
from nerfblendshape_ns.ops.launch import ParallelKernel
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

FREE = frozenset(
    "view detach permute expand slice select t unsqueeze squeeze transpose _unsafe_view alias reshape split "
    "split_with_sizes unbind empty empty_strided as_strided new_empty new_empty_strided empty_like diagonal "
    "lift_fresh _record_function_enter_new _record_function_exit".split()
)
"""Operations that launch nothing."""
WAITS = frozenset(
    "_local_scalar_dense nonzero unique_consecutive _unique2 bincount masked_select unique_dim_consecutive "
    "unique_dim equal".split()
)
"""Operations that wait for the device."""
IMAGE = 128
"""Pixels along the longer side of the image."""


class Count(TorchDispatchMode):
    """Counts what runs inside it: ``operations``, ``launches``, ``waits``; ``names`` has each operation's count."""

    def __init__(self) -> None:
        super().__init__()
        self.names: collections.Counter[str] = collections.Counter()
        self.launches = 0
        self._patches = contextlib.ExitStack()

    def __enter__(self) -> Count:
        call = ParallelKernel.__call__

        def counted(kernel: ParallelKernel, *arguments: Any) -> None:
            self.launches += 1
            call(kernel, *arguments)

        to_list = torch.Tensor.tolist

        def waited(tensor: torch.Tensor) -> Any:
            self.names["_local_scalar_dense"] += 1  # torch does not say so.
            return to_list(tensor)

        self._patches = contextlib.ExitStack()
        self._patches.enter_context(mock.patch.object(ParallelKernel, "__call__", counted))
        self._patches.enter_context(mock.patch.object(torch.Tensor, "tolist", waited))
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._patches.close()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name.split("::")[1]
        self.names[name] += 1
        if name in ("index", "index_put", "index_put_") and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in args[1]
        ):
            self.names["nonzero"] += 1  # What a boolean mask does first.
        return function(*args, **(kwargs or {}))

    @property
    def operations(self) -> int:
        """Torch operations without the free ones."""
        return sum(count for name, count in self.names.items() if name not in FREE)

    @property
    def waits(self) -> int:
        """Device synchronisations."""
        return sum(count for name, count in self.names.items() if name in WAITS)


def counts(work: Callable[[], object], times: int = 1) -> Dict[str, float]:
    """Counts of a call that does something several times, per time."""
    with Count() as count:
        work()
    return {
        "operations": count.operations / times,
        "launches": count.launches / times,
        "synchronisations": count.waits / times,
    }


def measure(root: Path, settle: int, max_size: int = IMAGE, **options: Any) -> Dict[str, Dict[str, float]]:
    """Counts of a step and of an image of a run on a clip.

    Args:
        root: dataset directory.
        settle: training steps before anything is counted.
        max_size: longer image side.
        options: replaced settings of the model.
    """
    run = Run(root, max_size, torch.device("cpu"), **options)
    run.steps(settle)
    # As on a GPU: its segments and networks, and no test of a CPU tensor's values.
    with contextlib.ExitStack() as as_on_gpu:
        for module in (early_termination, head_field, networks):
            as_on_gpu.enter_context(mock.patch.object(module, "is_gpu", lambda _: True))
        as_on_gpu.enter_context(mock.patch.object(hash_grid, "check_frame_index"))
        figures = _step_and_image(run)
        correction = run.model.conditioning.correction
        correction.correct(1e-4 * torch.randn(correction.own.shape, generator=torch.Generator().manual_seed(0)))
        corrected = {f"{name}, poses corrected": row for name, row in _step_and_image(run).items()}
        return figures | corrected


def _step_and_image(run: Run) -> Dict[str, Dict[str, float]]:
    run.pipeline.train()
    step = counts(lambda: run.steps(STEPS_A_ROUND), STEPS_A_ROUND)
    run.pipeline.eval()
    source, camera = run.model.expression_source, run.manager.train_dataset.cameras[0:1]
    camera.rescale_output_resolution(IMAGE / max(camera.height.item(), camera.width.item()))
    state = source.at_track(int(source.train_frames[0]))
    return {"step": step, "image": counts(lambda: run.model.render_driven(camera, state))}


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--settle", type=int, default=300, help="training steps before anything is counted")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "clip"
        write_dataset(ClipSettings(num_frames=40, width=256, height=256, samples=1), root)
        figures = measure(root, arguments.settle)
    for name, row in figures.items():
        print(f"{name}: " + ", ".join(f"{value:.0f} {what}" for what, value in row.items()))
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
