"""A small head that trains and renders as it is told, by any checkout of this repository; started by ``against.py``.

    PYTHONPATH=CHECKOUT python benchmarks/stepper.py DATASET SETTLE STEPS

It runs in the checkout's folder and imports nothing else. After ``SETTLE`` training steps it answers each line of its
input, ``step NUMBER THREADS`` (so many steps as ``STEPS`` says) or ``PIXELS NUMBER THREADS`` (an image of a training
frame), by the processor time and the clock's time that it took, in seconds.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path[0] = str(Path.cwd() / "benchmarks")  # Not this file's.

import torch  # noqa: E402
from step import Run  # noqa: E402


class Stepper:
    """Does what a line asks for.

    Args:
        dataset: of the clip.
        settle: training steps before anything else.
        steps: training steps of one request.
    """

    def __init__(self, dataset: Path, settle: int, steps: int) -> None:
        self.steps = steps
        # Any: another checkout's run has other types.
        self.run: Any = Run(dataset, 128, torch.device("cpu"))
        self.run.steps(settle)

    def do(self, what: str, number: int) -> None:
        """Steps, or an image of so many pixels of a training frame that a number chooses."""
        if what == "step":
            self.run.steps(self.steps)
            return
        source, cameras = self.run.model.expression_source, self.run.manager.train_dataset.cameras
        frame = 7 * number % len(source.train_frames)
        camera = cameras[frame : frame + 1]
        camera.rescale_output_resolution(int(what) / int(max(camera.height.item(), camera.width.item())))
        self.run.pipeline.eval()
        self.run.model.render_driven(camera, source.at_track(int(source.train_frames[frame])))
        self.run.pipeline.train()


def main() -> None:
    """Train, then answer."""
    torch.set_num_threads(1)
    stepper = Stepper(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        what, number, threads = line.split()
        torch.set_num_threads(int(threads))
        processor, wall = time.process_time(), time.perf_counter()
        stepper.do(what, int(number))
        spent = {"cpu": time.process_time() - processor, "wall": time.perf_counter() - wall}
        print(json.dumps(spent), flush=True)


if __name__ == "__main__":
    main()
