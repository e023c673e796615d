"""Time what a user of an avatar waits for: a picture after a slider moved, and the frames of ``nbs-drive``.

    python benchmarks/drive.py AVATAR [--size 256] [--frames 20] [--json]

AVATAR is a run or an exported file. The slider: one picture, its longer side ``--size`` pixels, after one coefficient
has changed, tables blended again. The drive: ``nbs-drive`` by typed keyframes at the training size, video written. With
``--json`` the last line is one JSON object: ``slider_ms`` (median), ``drive_fps``, the sizes and the load average.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console

from nerfblendshape_ns.avatar.avatar import open_avatar
from nerfblendshape_ns.common.errors import report_user_errors
from nerfblendshape_ns.driving.drive import drive
from nerfblendshape_ns.driving.options import DriveOptions
from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState

FPS = 25.0


def slider_seconds(path: Path, size: int, rounds: int) -> float:
    """Median time from a changed coefficient to its picture."""
    avatar = open_avatar(path)
    camera = avatar.camera_of(avatar.camera.camera_to_worlds[0].flatten(), size=size)
    widest = int((avatar.maximum - avatar.minimum).argmax())
    times = []
    for number in range(rounds + 1):
        expression = avatar.neutral().expression.clone()
        expression[widest] = avatar.maximum[widest] * number / (rounds + 1)
        start = time.perf_counter()
        avatar.render(DrivingState(expression, camera.camera_to_worlds[0].flatten()), camera)["rgb"].sum().item()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])  # The first one compiles and warms up.


def drive_rate(path: Path, frames: int) -> float:
    """Frames per second of ``nbs-drive``, the time of its own progress bar."""
    with tempfile.TemporaryDirectory() as folder:
        name = open_avatar(path).names[0]
        keyframes = Path(folder) / "keyframes.yaml"
        seconds = (frames - 1) / FPS
        keyframes.write_text(f"keyframes:\n  - {{time: 0}}\n  - {{time: {seconds}, expression: {{{name}: 50%}}}}\n")
        options = DriveOptions(path, by=str(keyframes), output=Path(folder) / "drive.mp4", fps=FPS)
        result = drive(options, Console(quiet=True))
        return result.num_rendered / result.seconds


def main() -> None:
    """Time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("avatar", type=Path, help="a run or an exported avatar file")
    parser.add_argument("--size", type=int, default=256, help="longer side of the slider's picture in pixels")
    parser.add_argument("--frames", type=int, default=20, help="frames to drive")
    parser.add_argument("--rounds", type=int, default=7, help="pictures of the slider")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    with report_user_errors():
        slider = slider_seconds(options.avatar, options.size, options.rounds)
        rate = drive_rate(options.avatar, options.frames)
    print(f"slider to picture at {options.size}: {1e3 * slider:.0f} ms; nbs-drive: {rate:.2f} frames per second")
    if options.json:
        figures = {"slider_ms": round(1e3 * slider, 1), "drive_fps": round(rate, 2), "size": options.size}
        print(json.dumps({**figures, "threads": torch.get_num_threads(), "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
