"""What grows in a long run: resident memory, threads and open files, against how much was done.

    python benchmarks/long_runs.py train [--minutes 5]    # training with the viewer on and somebody who looks on
    python benchmarks/long_runs.py drive [--frames 2000]  # frames of nbs-drive in one process
    python benchmarks/long_runs.py runs [--runs 20]       # trainings one after the other in one process

Each prints slopes of straight lines fitted by least squares, past the first third of the samples (warm-up): per minute,
per 1,000 frames, per run. ``train`` trains the small head on a synthetic clip; over a WebSocket a camera turns about it
once a second and takes what the viewer sends. ``drive`` and ``runs`` have a tiny head. The last line with ``--json`` is
one JSON object, with all samples.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple
from unittest import mock

import msgspec
import numpy as np
import psutil
import torch
from rich.console import Console
from several_processes import trainer_of
from training import NEVER
from viser._messages import ViewerCameraMessage
from websockets.sync.client import connect

from nerfblendshape_ns.driving import drive as driving
from nerfblendshape_ns.driving.options import DriveOptions
from nerfblendshape_ns.recipes.training import end_curves
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

TINY = {
    "pipeline.datamanager.train_num_rays_per_batch": 256,
    "pipeline.datamanager.dataparser.test_frames": 4,
    "pipeline.model.num_levels": 6,
    "pipeline.model.log2_table_size": 10,
    "pipeline.model.occupancy_resolution": 32,
    "pipeline.model.occupancy_warmup": 8,
    "viewer.quit_on_train_completion": True,
}
CLIP_SECONDS = 4.0
QUIET = Console(quiet=True)


class Growth:
    """What this process holds, against how much was done.

    Args:
        unit: what slopes are of, in words.
        scale: how much of what is counted makes a unit.
    """

    def __init__(self, unit: str, scale: float = 1.0) -> None:
        self.unit, self.scale = unit, scale
        self.samples: List[Tuple[float, float, int, int]] = []
        self._process = psutil.Process()

    def sample(self, done: float) -> None:
        """Note resident memory in MB, threads and open files."""
        process = self._process
        self.samples.append((done, process.memory_info().rss / 1e6, process.num_threads(), process.num_fds()))

    def slopes(self) -> Dict[str, Any]:
        """Of a unit, past the first third; and what there was in the end."""
        past = np.array(self.samples[len(self.samples) // 3 :])
        lines = np.polyfit(past[:, 0] / self.scale, past[:, 1:], 1)[0]
        names = ("mb", "threads", "files")
        return {
            "per": self.unit,
            **{f"{name}_slope": round(float(slope), 3) for name, slope in zip(names, lines)},
            **{name: round(float(value), 1) for name, value in zip(names, past[-1, 1:])},
        }


class Watcher(threading.Thread):
    """Somebody who looks on: turns the camera once a second and takes what the viewer sends."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.images, self._port = 0, port
        self._done = threading.Event()

    def run(self) -> None:
        """Look on until stopped."""
        with connect(f"ws://127.0.0.1:{self._port}", max_size=None) as page:
            for turn in range(NEVER):
                page.send(msgspec.msgpack.encode(_camera(0.3 * math.sin(turn)).as_serializable_dict()))
                end = time.monotonic() + 1.0
                while (left := end - time.monotonic()) > 0:
                    with contextlib.suppress(TimeoutError):
                        received = page.recv(timeout=left)
                        self.images += isinstance(received, bytes) and b"BackgroundImageMessage" in received
                if self._done.is_set():
                    return

    def stop(self) -> None:
        """End it."""
        self._done.set()
        if self.is_alive():
            self.join()


def _camera(angle: float) -> ViewerCameraMessage:
    """In front of the head, turned about the vertical axis by an angle in radians."""
    at = (3.0 * math.sin(angle), 0.0, 3.0 * math.cos(angle))
    return ViewerCameraMessage(
        wxyz=(0.0, math.cos(angle / 2), 0.0, math.sin(angle / 2)),
        position=at,
        fov=0.4,
        aspect=1.0,
        look_at=(0.0, 0.0, 0.0),
        up_direction=(0.0, 1.0, 0.0),
    )


def train(folder: Path, minutes: float, seconds: float, changes: Dict[str, Any]) -> Dict[str, Any]:
    """Train with the viewer on while somebody looks on.

    Args:
        folder: for the dataset and the run.
        minutes: of training.
        seconds: between two samples.
        changes: of the method's config.
    """
    data = _clip(folder, 40, 256)
    own = {"max_minutes": minutes, "max_num_iterations": NEVER, "steps_per_save": NEVER}
    trainer = trainer_of(
        data, folder, 0, 1, {"vis": "viewer", "viewer.quit_on_train_completion": True, **own, **changes}
    )
    watcher, growth, done = (
        Watcher(trainer.viewer_state.viser_server.get_port()),
        Growth("minute", 60.0),
        threading.Event(),
    )
    begun = time.monotonic()

    def look_on() -> None:
        while trainer.step < 20 and not done.wait(0.1):
            pass
        watcher.start()
        while not done.wait(seconds):
            growth.sample(time.monotonic() - begun)

    sampler = threading.Thread(target=look_on)
    trainer.step = 0
    sampler.start()
    trainer.train()
    done.set()
    sampler.join()
    watcher.stop()
    trainer.shutdown()
    end_curves()
    return {**growth.slopes(), "steps": trainer.step, "images": watcher.images, "samples": growth.samples}


def drive(folder: Path, frames: int, every: int) -> Dict[str, Any]:
    """Drive a tiny head by its own clip, at a rate that makes so many frames; a sample after every so many."""
    data = _clip(folder, 12, 64)
    trainer = trainer_of(data, folder, 0, 1, {**TINY, "max_num_iterations": 20})
    trainer.train()
    run = trainer.config.get_base_dir()
    del trainer
    end_curves()
    growth, render, count = Growth("1,000 frames", 1000.0), driving.render_frame, 0

    def counted(*arguments: Any) -> np.ndarray:
        nonlocal count
        image, count = render(*arguments), count + 1
        if count % every == 0:
            growth.sample(count)
        return image

    options = DriveOptions(avatar=run, output=folder / "driven", by="all", fps=frames / CLIP_SECONDS, size=64)
    with mock.patch.object(driving, "render_frame", counted):
        result = driving.drive(options, QUIET)
    return {**growth.slopes(), "frames": result.num_frames, "samples": growth.samples}


def runs(folder: Path, count: int, vis: str = "tensorboard") -> Dict[str, Any]:
    """Train tiny heads one after the other, as nbs-recipe does; with ``vis`` viewer+tensorboard, each with a viewer."""
    data, growth = _clip(folder, 12, 64), Growth("run")
    for number in range(count):
        changes = {**TINY, "vis": vis, "max_num_iterations": 20}
        trainer = trainer_of(data, folder / str(number), 0, 1, changes)
        trainer.train()
        trainer.shutdown()
        end_curves()
        del trainer
        gc.collect()
        growth.sample(number)
    return {**growth.slopes(), "runs": count, "samples": growth.samples}


def _clip(folder: Path, frames: int, size: int) -> Path:
    settings = ClipSettings(num_frames=frames, width=size, height=size, fps=frames / CLIP_SECONDS, samples=1)
    write_dataset(settings, folder / "clip")
    return folder / "clip"


def main() -> None:
    """Do one of the three and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "drive", "runs"))
    parser.add_argument("--minutes", type=float, default=5.0, help="of train")
    parser.add_argument("--seconds", type=float, default=3.0, help="between two samples of train")
    parser.add_argument("--frames", type=int, default=2000, help="of drive")
    parser.add_argument("--runs", type=int, default=20, help="of runs")
    parser.add_argument("--vis", default="tensorboard", help="of runs; viewer+tensorboard starts and stops viewers too")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        if options.what == "train":
            figures = train(folder, options.minutes, options.seconds, {})
        elif options.what == "drive":
            figures = drive(folder, options.frames, max(1, options.frames // 40))
        else:
            figures = runs(folder, options.runs, options.vis)
    figures["load"] = round(os.getloadavg()[0], 1)
    print({name: value for name, value in figures.items() if name != "samples"}, flush=True)
    if options.json:
        print(json.dumps(figures), flush=True)
    if options.what == "train":
        os._exit(0)  # Where Python ends under a thread in which nerfstudio's viewer renders, torch aborts the process.


if __name__ == "__main__":
    main()
