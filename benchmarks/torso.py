"""Time whole frames (head, torso, background) beside frames of the head alone, of one torso run.

    python benchmarks/torso.py RUN [--size 256] [--rounds 9] [--json]

RUN is the directory, config.yml or checkpoint of a torso run, whose head is the one that is timed; the dataset is not
needed. Both render the clip's middle camera with one driving state, alternately, on all cores of the process. With
``--json`` the last line is one JSON object with ``torso_ratio`` (time of the whole frame over the head alone, median
of the ratios within a round), the medians in milliseconds, the size and the load average.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from typing import Callable, Dict, List

import torch
from nerfstudio.cameras.cameras import Cameras

from nerfblendshape_ns.common.errors import UserError, report_user_errors
from nerfblendshape_ns.models.load import load_model
from nerfblendshape_ns.models.torso import TorsoModel


def middle_camera(model: TorsoModel, size: int) -> Cameras:
    """The clip's middle captured camera, its longer side ``size`` pixels."""
    height, width = model.metadata["image_size"]
    scale = size / max(height, width)
    focal = {name: value * scale for name, value in model.metadata["intrinsics"].items()}
    return Cameras(
        camera_to_worlds=model.pose_code.reference.view(1, 3, 4).cpu(),
        fx=focal["fl_x"],
        fy=focal["fl_y"],
        cx=focal["cx"],
        cy=focal["cy"],
        width=round(width * scale),
        height=round(height * scale),
    )


def main() -> None:
    """Time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a torso run")
    parser.add_argument("--size", type=int, default=256, help="longer side of the picture in pixels")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    with report_user_errors():
        model = load_model(options.run)
        if not isinstance(model, TorsoModel) or model.head is None:
            raise UserError(f"{options.run} is a head run; give a run of nerfblendshape-torso.")
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    camera, state = middle_camera(model, options.size), model.expression_source.at_track(0)
    head = model.head
    contestants: Dict[str, Callable[[], object]] = {
        "head": lambda: head.render_driven(camera, state)["rgb"].sum().item(),
        "whole": lambda: model.render_driven(camera, state)["rgb"].sum().item(),
    }
    times: Dict[str, List[float]] = {name: [] for name in contestants}
    for run in contestants.values():
        run()
    for _ in range(options.rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    ratio = statistics.median(whole / head for whole, head in zip(times["whole"], times["head"]))
    milliseconds = {name: round(1e3 * statistics.median(values), 1) for name, values in times.items()}
    print(f"head {milliseconds['head']} ms, head, torso and background {milliseconds['whole']} ms: {ratio:.3f} times")
    if options.json:
        figures = {"torso_ratio": round(ratio, 3), "ms": milliseconds, "size": options.size}
        print(json.dumps({**figures, "threads": torch.get_num_threads(), "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
