"""Time ``nerfblendshape-head``, the method for a GPU: a settled training step, and pictures after a slider moved.

    python benchmarks/large_head.py [--sizes 256 512] [--settle 600] [--rounds 9] [--device cuda] [--json]

The head trains on a synthetic clip with the patch loss "dssim", which needs no weights, for ``--settle`` steps. Then a
step is timed in rounds of 16, as many as lie between two updates of the occupancy, and a picture of each size for
several values of one coefficient, tables blended anew; the device is waited for at the start and the end of each. With
``--json`` the last line is one JSON object: ``step_ms``, ``samples`` per step and ``picture_ms`` by size, medians.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Dict, List
from unittest import mock

import numpy as np
import torch
from step import STEPS_A_ROUND, Run, median_of

from nerfblendshape_ns.fields import head_field
from nerfblendshape_ns.method_configs import nerfblendshape_head
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

OPACITY_WARMUP = 300
"""Shorter than the method's, so that the head is opaque when it is timed."""


@mock.patch.object(head_field, "OPACITY_WARMUP", OPACITY_WARMUP)
def measure(root: Path, sizes: List[int], settle: int, rounds: int, device: torch.device) -> Dict[str, Any]:
    """Write a clip whose images have the smallest of the sizes, train on it, take the figures."""
    side = min(sizes)
    write_dataset(ClipSettings(num_frames=20, width=side, height=side, samples=1), root)
    run = Run(root, side, device, nerfblendshape_head, perceptual_loss="dssim", max_resolution=1024)
    print(f"{settle} steps to settle", flush=True)
    run.steps(settle)
    figures: Dict[str, Any] = {"step_ms": median_of([run.steps(STEPS_A_ROUND)[0] for _ in range(rounds)])}
    figures.update({"samples": run.samples, "picture_ms": {}})
    print(figures, flush=True)
    for size in sizes:
        run.slider_seconds(0.0, size)
        seconds = [run.slider_seconds(fraction, size)[0] for fraction in np.linspace(0.0, 1.0, rounds)]
        figures["picture_ms"][str(size)] = median_of(seconds)
    return figures


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="sides of the pictures in pixels")
    parser.add_argument("--settle", type=int, default=600, help="training steps before anything is measured")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each (default 9)")
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default, help="cpu or cuda (default: cuda where there is a GPU)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "clip"
        figures = measure(root, options.sizes, options.settle, options.rounds, torch.device(options.device))
    pictures = ", ".join(f"{size}: {value} ms" for size, value in figures["picture_ms"].items())
    print(f"step {figures['step_ms']} ms, {figures['samples']} samples; pictures {pictures}")
    if options.json:
        print(json.dumps({**figures, "threads": torch.get_num_threads(), "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
