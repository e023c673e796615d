"""Time the blended hash grid beside nerfstudio's torch ``HashEncoding``, and frames of many bases beside frames of one.

    python benchmarks/encode.py [--json] [--rounds 7] [--device cuda] [--record]

What is compared runs alternately, round by round, on all cores of the process, and the median over the rounds of the
ratio within a round is printed, so that another job on the machine slows both sides. With ``--json`` the last line is
one JSON object with ``encode_ratio`` (nerfstudio's forward and backward time over ours, without the blend),
``encode_blend_ratio`` (the same with the blend of 52 bases and the stashing of its gradient on our side),
``train_ratio`` (a training step of the blended encoding, optimiser included: torch's blend, nerfstudio's encoding and
torch's Adam over ours), ``tcnn_ratio`` and ``drjit_ratio`` (tiny-cuda-nn's grid, on a GPU, and Dr.Jit's over ours, each
where it is installed),
``frame_ratio_k52_k1`` (rendering a frame with 52 bases over rendering it with one), and the medians in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Callable, Dict, List

import torch
from checkouts import record
from nerfacc import OccGridEstimator, accumulate_along_rays, render_weight_from_density
from nerfstudio.field_components.encodings import HashEncoding
from torch import Tensor

from nerfblendshape_ns.common.parallel import num_cores
from nerfblendshape_ns.engine.table_optimizer import BlendshapeTableAdam
from nerfblendshape_ns.field_components.blendshape_encoding import BlendshapeHashEncoding
from nerfblendshape_ns.fields.head_field import HeadField
from nerfblendshape_ns.ops import nerfacc_backend
from nerfblendshape_ns.ops.hash_grid import HashGridLayout, hash_grid_encode

SAMPLES = 131_072
BASES = 52
LAYOUT = HashGridLayout(
    num_levels=16, features_per_level=4, log2_table_size=14, base_resolution=16, max_resolution=1024
)
GROWTH = (LAYOUT.max_resolution / LAYOUT.base_resolution) ** (1 / (LAYOUT.num_levels - 1))
"""Of the resolution from one level to the next."""
IMAGE_SIZE = 128
STEPS_PER_BOX = 128


def wait_for(device: torch.device) -> None:
    """A GPU works on after its launches return."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def run_rounds(
    contestants: Dict[str, Callable[[], object]], rounds: int, device: torch.device
) -> Dict[str, List[float]]:
    """Seconds of each contestant in each round, after one run of each to compile and warm up."""
    times: Dict[str, List[float]] = {name: [] for name in contestants}
    for run in contestants.values():
        run()
    for _ in range(rounds):
        for name, run in contestants.items():
            wait_for(device)
            start = time.perf_counter()
            run()
            wait_for(device)
            times[name].append(time.perf_counter() - start)
    return times


def median_ratio(numerator: List[float], denominator: List[float]) -> float:
    """Median of the ratios within a round."""
    return statistics.median(above / below for above, below in zip(numerator, denominator))


def torch_encoding(device: torch.device) -> HashEncoding:
    """nerfstudio's encoding in torch, of the same layout."""
    return HashEncoding(
        num_levels=LAYOUT.num_levels,
        min_res=LAYOUT.base_resolution,
        max_res=LAYOUT.max_resolution,
        log2_hashmap_size=LAYOUT.log2_table_size,
        features_per_level=LAYOUT.features_per_level,
        implementation="torch",
    ).to(device)


def encode_contestants(device: torch.device) -> Dict[str, Callable[[], object]]:
    """Forward and backward of 131,072 random samples: nerfstudio's encoding, ours, ours with the blend."""
    torch.manual_seed(0)
    positions = torch.rand(SAMPLES, 3, device=device)
    weights = torch.randn(SAMPLES, LAYOUT.output_dim, device=device)
    reference = torch_encoding(device)
    tables = torch.randn(1, LAYOUT.rows, LAYOUT.features_per_level, device=device, requires_grad=True)
    blended = BlendshapeHashEncoding(LAYOUT, BASES).to(device)
    expression = 0.01 + torch.rand(1, BASES, device=device)

    def run_reference() -> None:
        reference.zero_grad()
        reference(positions).backward(weights)

    def run_ours() -> None:
        tables.grad = None
        hash_grid_encode(positions, tables, LAYOUT).backward(weights)

    def run_blended() -> None:
        blended.zero_grad()
        blended(positions, blended.blend(expression)).backward(weights)

    contestants: Dict[str, Callable[[], object]] = {
        "reference": run_reference,
        "ours": run_ours,
        "ours_blended": run_blended,
    }
    if device.type == "cuda" and find_spec("tinycudann"):
        config = {"otype": "HashGrid", "n_levels": LAYOUT.num_levels, "base_resolution": LAYOUT.base_resolution}
        config |= {"n_features_per_level": LAYOUT.features_per_level, "log2_hashmap_size": LAYOUT.log2_table_size}
        peer: Any = import_module("tinycudann").Encoding(3, {**config, "per_level_scale": GROWTH})

        def run_tcnn() -> None:
            peer.zero_grad()
            peer(positions).backward(weights.half())

        contestants["tcnn"] = run_tcnn
    if find_spec("drjit"):
        contestants["drjit"] = drjit_contestant(positions, weights)
    return contestants


def drjit_contestant(positions: Tensor, weights: Tensor) -> Callable[[], object]:
    """Forward and backward of Dr.Jit's hash grid at the same positions."""
    drjit: Any = import_module("drjit")
    backend: Any = import_module("drjit.cuda.ad" if positions.is_cuda else "drjit.llvm.ad")
    make: Any = import_module("drjit.hashgrid").HashGridEncoding
    grid = make(
        3,
        n_levels=LAYOUT.num_levels,
        n_features_per_level=LAYOUT.features_per_level,
        hashmap_size=2**LAYOUT.log2_table_size,
        base_resolution=LAYOUT.base_resolution,
        per_level_scale=GROWTH,
    ).alloc(backend.Float)
    where = backend.ArrayXf(positions.T.contiguous().numpy(force=True))
    above = backend.ArrayXf(weights.T.contiguous().numpy(force=True))

    def run() -> None:
        drjit.clear_grad(grid.data)
        drjit.enable_grad(grid.data)
        drjit.backward(drjit.sum(grid(where) * above, axis=None))
        drjit.eval(drjit.grad(grid.data))
        drjit.sync_thread()

    return run


def train_contestants(device: torch.device) -> Dict[str, Callable[[], object]]:
    """A training step of the blended encoding: eager torch with torch's Adam, and ours with its optimiser."""
    torch.manual_seed(0)
    positions = torch.rand(SAMPLES, 3, device=device)
    weights = torch.randn(SAMPLES, LAYOUT.output_dim, device=device)
    expression = 0.01 + torch.rand(1, BASES, device=device)
    reference = torch_encoding(device)
    shape = reference.hash_table.shape
    bases = torch.randn(BASES + 1, *shape, device=device, requires_grad=True)
    eager = torch.optim.Adam([bases], lr=1e-2)
    ours = BlendshapeHashEncoding(LAYOUT, BASES).to(device)
    table_adam = BlendshapeTableAdam(ours.tables, lr=1e-2)

    def run_eager() -> None:
        eager.zero_grad()
        blended = torch.tensordot(torch.nn.functional.pad(expression[0], (1, 0), value=1.0), bases, dims=1)
        torch.func.functional_call(reference, {"hash_table": blended}, (positions,)).backward(weights)
        eager.step()

    def run_ours() -> None:
        table_adam.zero_grad()
        ours(positions, ours.blend(expression)).backward(weights)
        table_adam.step()

    return {"train_eager": run_eager, "train_ours": run_ours}


def frame_contestants(device: torch.device) -> Dict[str, Callable[[], object]]:
    """A frame of 128 x 128 pixels through a head-like shell, with 52 bases and with one."""
    torch.manual_seed(0)
    nerfacc_backend.install()
    estimator = OccGridEstimator(torch.tensor([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]), resolution=64).to(device)
    coordinates: Tensor = estimator.grid_coords  # type: ignore[assignment]
    radius = ((coordinates + 0.5) / 32.0 - 1.0).norm(dim=-1)
    estimator.binaries = ((radius > 0.55) & (radius < 0.8)).view_as(estimator.binaries)
    pixels = (torch.arange(IMAGE_SIZE) + 0.5) / IMAGE_SIZE - 0.5
    y, x = torch.meshgrid(-pixels, pixels, indexing="ij")
    directions = torch.stack([0.5 * x, 0.5 * y, torch.full_like(x, -1.0)], dim=-1).view(-1, 3)
    directions = torch.nn.functional.normalize(directions, dim=-1).to(device)
    origins = torch.tensor([0.0, 0.0, 4.5], device=device).expand_as(directions).contiguous()

    def frame_of(num_basis: int) -> Callable[[], Tensor]:
        field = HeadField(LAYOUT, num_basis=num_basis, num_frames=1, network_expression=True).eval().to(device)
        expression = 0.01 + torch.rand(1, num_basis, device=device)

        @torch.no_grad()
        def render() -> Tensor:
            tables, of_frames = field.blend(expression)
            rays, starts, ends = estimator.sampling(origins, directions, render_step_size=2.0 / STEPS_PER_BOX)
            positions = origins[rays] + directions[rays] * (0.5 * (starts + ends))[:, None]
            density, geometry = field.density(0.5 * (positions + 1.0), tables, of_frames)
            color = field.color(directions, rays, geometry)
            weights, _, _ = render_weight_from_density(starts, ends, density, ray_indices=rays, n_rays=len(origins))
            return accumulate_along_rays(weights, color, rays, len(origins))

        return render

    return {f"frame_k{num_basis}": frame_of(num_basis) for num_basis in (BASES, 1)}


def main() -> None:
    """Run both comparisons and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each contestant (default 7)")
    parser.add_argument("--record", action="store_true", help="append the ratios to benchmarks/history.jsonl")
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default, help="cpu or cuda (default: cuda where there is a GPU)")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    cores = num_cores()
    torch.set_num_threads(cores)

    times = run_rounds(encode_contestants(device), arguments.rounds, device)
    times.update(run_rounds(train_contestants(device), arguments.rounds, device))
    times.update(run_rounds(frame_contestants(device), 3 * arguments.rounds, device))
    ratios = {
        "encode_ratio": median_ratio(times["reference"], times["ours"]),
        "encode_blend_ratio": median_ratio(times["reference"], times["ours_blended"]),
        "train_ratio": median_ratio(times["train_eager"], times["train_ours"]),
        "frame_ratio_k52_k1": median_ratio(times["frame_k52"], times["frame_k1"]),
    }
    peers = [name for name in ("tcnn", "drjit") if name in times]
    ratios.update({f"{name}_ratio": median_ratio(times[name], times["ours"]) for name in peers})
    ratios = {name: round(value, 3) for name, value in ratios.items()}
    milliseconds = {f"{name}_ms": round(1e3 * statistics.median(seconds), 2) for name, seconds in times.items()}
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{cores} threads"
    print(f"{where}, {SAMPLES} samples, medians of {arguments.rounds} interleaved rounds")
    for name, value in {**milliseconds, **ratios}.items():
        print(f"{name:>20} {value:10.2f}")
    if arguments.record:
        record("encode", {"device": where, **ratios})
    if arguments.json:
        print(json.dumps({**ratios, **milliseconds, "machine": where}))


if __name__ == "__main__":
    main()
