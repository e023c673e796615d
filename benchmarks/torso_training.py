"""Time the training of a torso that keeps its frozen head's pixels beside one that renders them anew every step.

    python benchmarks/torso_training.py RUN [--steps 12000] [--json]

RUN is the directory or config.yml of a torso run whose dataset is still there. Two torsos start from its settings, with
new weights, and take turns of 200 steps on the same batches, on all cores of the process. With ``--json`` the last line
is one JSON object: ``torso_step_ratio`` (time of all steps with pixels rendered anew over the time with pixels kept),
the mean step of both in the first and in the last tenth of the steps (``ms``), the fraction of the training frames'
pixels that was rendered, ``psnr_difference`` (largest difference of the two in a step's PSNR, in decibel, as a check
that they do the same work) and the load average.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import torch
from encode import wait_for
from nerfstudio.utils.eval_utils import eval_setup

from nerfblendshape_ns.common.errors import UserError, report_user_errors
from nerfblendshape_ns.models.torso import TorsoModel

TURN = 200
"""Steps before the other has its turn."""


class Contestant:
    """A torso that is trained from the start.

    Args:
        run: config.yml of a torso run.
        megabytes: memory for the head's pixels; 0 renders them anew; None takes the run's setting.
    """

    def __init__(self, run: Path, megabytes: int | None) -> None:
        def change(config: Any) -> Any:
            if megabytes is not None:
                config.pipeline.model.head_pixels_mb = megabytes
            return config

        _, pipeline, _, _ = eval_setup(run, test_mode="val", update_config_callback=change)
        self.model: Any = pipeline.model
        if not isinstance(self.model, TorsoModel):
            raise UserError(f"{run} is a head run; give a run of nerfblendshape-torso.")
        self.batches: Any = pipeline.datamanager
        torch.manual_seed(0)
        for module in self.model.field.modules():
            if isinstance(module, torch.nn.Linear):
                module.reset_parameters()
        with torch.no_grad():
            self.model.field.table.uniform_(-1e-4, 1e-4)
        groups = self.model.get_param_groups().values()
        self.optimizer = torch.optim.Adam([parameter for group in groups for parameter in group], lr=2e-3, eps=1e-15)
        self.model.train()

    def steps(self, first: int, last: int) -> Tuple[float, List[float]]:
        """Seconds of some steps, and their PSNR."""
        psnr = []
        wait_for(self.model.device)
        start = time.perf_counter()
        for step in range(first, last):
            torch.manual_seed(step)
            rays, batch = self.batches.next_train(step)
            outputs = self.model(rays)
            loss = torch.stack(list(self.model.get_loss_dict(outputs, batch).values())).sum()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            psnr.append(float(self.model.get_metrics_dict(outputs, batch)["psnr"]))
        wait_for(self.model.device)
        return time.perf_counter() - start, psnr


def main() -> None:
    """Train both in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a torso run")
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    run = options.run / "config.yml" if options.run.is_dir() else options.run
    with report_user_errors():
        if not run.is_file():
            raise UserError(f"{run} does not exist; give the directory or config.yml of a torso run.")
        contestants = {"kept": Contestant(run, None), "anew": Contestant(run, 0)}
    times: Dict[str, List[float]] = {name: [] for name in contestants}
    apart = 0.0
    for first in range(0, options.steps, TURN):
        last = min(first + TURN, options.steps)
        psnr = []
        for name, contestant in contestants.items():
            seconds, figures = contestant.steps(first, last)
            times[name] += [seconds / (last - first)] * (last - first)
            psnr.append(figures)
        apart = max(apart, *(abs(one - other) for one, other in zip(*psnr)))
        print(f"{last} steps: {', '.join(f'{name} {1e3 * values[-1]:.1f} ms' for name, values in times.items())}")
    pixels = contestants["kept"].model.head_pixels
    tenth = max(1, options.steps // 10)
    figures = {
        "torso_step_ratio": round(sum(times["anew"]) / sum(times["kept"]), 2),
        "ms": {
            name: [round(1e3 * sum(part) / tenth, 1) for part in (values[:tenth], values[-tenth:])]
            for name, values in times.items()
        },
        "pixels_rendered": round(float(pixels.stored.float().mean()), 3) if pixels.kept > 0 else None,
        "psnr_difference": round(apart, 4),
        "steps": options.steps,
    }
    print(f"{options.steps} steps take {figures['torso_step_ratio']} times as long where pixels are rendered anew")
    if options.json:
        print(json.dumps({**figures, "threads": torch.get_num_threads(), "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
