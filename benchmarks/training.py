"""Train a dataset for a few minutes without any download; figures on its test frames; what a step is made of.

    python benchmarks/training.py train DATASET --output DIR [--minutes 2] [--method nerfblendshape-head]
    python benchmarks/training.py figures RUN [--frames 8]
    python benchmarks/training.py profile RUN [--steps 16]

``train`` runs nerfstudio's trainer with the method as it is, but for the patch loss, which is "dssim" where the method
has patches, and without evaluation on the way; its run lies in DIR. ``figures`` renders test frames of a run and
measures them, LPIPS apart. ``profile`` goes on from a run's checkpoint under torch.profiler: operations by the device's
own time, launches and waits of the host per step. The last line of each is one JSON object.
"""

from __future__ import annotations

import argparse
import collections
import copy
import json
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any, Dict, List, cast

import torch
import yaml
from encode import wait_for
from nerfstudio.engine.callbacks import TrainingCallbackLocation
from torch.profiler import ProfilerActivity, profile

from nerfblendshape_ns import method_configs
from nerfblendshape_ns.common.errors import report_user_errors
from nerfblendshape_ns.common.frame_numbers import spread
from nerfblendshape_ns.common.memory import peak_memory_mb
from nerfblendshape_ns.evaluation.trained_run import open_run
from nerfblendshape_ns.model_components.losses import head_where_seen, truth_where_seen
from nerfblendshape_ns.model_components.metrics.image_metrics import head_metrics
from nerfblendshape_ns.recipes.values import apply_overrides

NEVER = 1_000_000_000
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")


def train(options: argparse.Namespace) -> Dict[str, Any]:
    """Train for the minutes; the run's ``config.yml``, its steps, what a step takes in time and memory."""
    config = copy.deepcopy(cast(Any, getattr(method_configs, options.method.replace("-", "_")).config))
    config.data = config.pipeline.datamanager.data = options.dataset
    config.output_dir, config.max_minutes, config.max_num_iterations = options.output, options.minutes, NEVER
    config.machine.device_type, config.vis = options.device, "tensorboard"
    config.steps_per_eval_batch = config.steps_per_eval_image = config.steps_per_eval_all_images = NEVER
    patches = config.pipeline.datamanager.patch_size > 1
    config.pipeline.model.perceptual_loss = "dssim" if patches else "none"
    changes = (text.partition("=") for text in options.set)
    apply_overrides(config, {name: yaml.safe_load(value) for name, _, value in changes}, "--set")
    config.set_timestamp()
    config.save_config()
    started = time.monotonic()
    trainer = trainer_of(config)
    setup = time.monotonic() - started
    trainer.train()
    device, first = torch.device(options.device), trainer.step + 1
    seconds = []
    for place in range(5):
        wait_for(device)
        start = time.perf_counter()
        take_steps(trainer, first + 16 * place, 16)
        wait_for(device)
        seconds.append((time.perf_counter() - start) / 16)
    figures = {
        "config": str(config.get_base_dir() / "config.yml"),
        "setup_s": round(setup, 1),
        "minutes": options.minutes,
        "steps": trainer.step,
        "step_ms": round(1e3 * statistics.median(seconds), 2),
        "host_peak_mb": peak_memory_mb(),
    }
    if device.type == "cuda":
        figures["gpu_peak_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
        figures["gpu_reserved_mb"] = round(torch.cuda.max_memory_reserved() / 2**20)
    return figures


def figures(options: argparse.Namespace) -> Dict[str, Any]:
    """Mean ``psnr ssim l1 psnr_head ssim_head`` of test frames, evenly spread."""
    run, measured = open_run(options.run), []
    frames = run.frames("test")
    for index in spread(len(frames), options.frames):
        batch = frames[index].dataset[frames[index].index]
        rgb = run.model.get_outputs_for_camera(frames[index].camera.to(run.device))["rgb"].cpu()
        measured.append(head_metrics(rgb, truth_where_seen(batch["image"], rgb, batch), head_where_seen(batch)))
    means = {name: round(statistics.mean(one[name] for one in measured), 4) for name in measured[0]}
    return {**means, "frames": len(measured)}


def profile_steps(options: argparse.Namespace) -> Dict[str, Any]:
    """Print the table of the profiler; launches, waits and operations (those inside others too) per step."""
    trainer, count = resumed(options.run), options.steps
    on_gpu = trainer.device.startswith("cuda")
    first = trainer._start_step
    take_steps(trainer, first, count)
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    with profile(activities=activities) as profiler:
        take_steps(trainer, first + count, count)
        wait_for(torch.device(trainer.device))
    averages = profiler.key_averages()
    print(averages.table(sort_by="self_cuda_time_total" if on_gpu else "self_cpu_time_total", row_limit=30), flush=True)
    calls = {event.key: event.count for event in averages}
    result: Dict[str, Any] = {
        "operations": round(sum(number for key, number in calls.items() if key.startswith("aten::")) / count, 1),
        "launches": round(sum(calls.get(key, 0) for key in LAUNCHES) / count, 1),
        "runtime_waits": round(sum(number for key, number in calls.items() if "Synchronize" in key) / count, 1),
    }
    if on_gpu:
        result["host_waits"] = host_waits(trainer, first + 2 * count, count)
    return result


def host_waits(trainer: Any, first: int, count: int) -> Dict[str, float]:
    """Waits of the host per step by the line that caused them, as torch's own warnings tell."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        take_steps(trainer, first, count)
        torch.cuda.set_sync_debug_mode("default")
    places = [f"{Path(one.filename).name}:{one.lineno}" for one in caught if "synchroniz" in str(one.message)]
    return {place: round(number / count, 2) for place, number in collections.Counter(places).most_common(40)}


def trainer_of(config: Any) -> Any:
    """nerfstudio's trainer, set up."""
    torch.manual_seed(config.machine.seed)
    trainer = config.setup(local_rank=0, world_size=1)
    trainer.setup()
    return trainer


def resumed(run: Path) -> Any:
    """The trainer of a run's ``config.yml``, its checkpoint loaded."""
    config = yaml.load(run.read_text(), Loader=yaml.Loader)  # noqa: S506 - as nerfstudio reads a run of one's own.
    config.load_dir, config.max_minutes = config.get_checkpoint_dir(), None
    return trainer_of(config)


def take_steps(trainer: Any, first: int, count: int) -> None:
    """Training steps with what nerfstudio's loop calls before and after each."""
    trainer.pipeline.train()
    for step in range(first, first + count):
        for callback in trainer.callbacks:
            callback.run_callback_at_location(step, location=TrainingCallbackLocation.BEFORE_TRAIN_ITERATION)
        trainer.train_iteration(step)
        for callback in trainer.callbacks:
            callback.run_callback_at_location(step, location=TrainingCallbackLocation.AFTER_TRAIN_ITERATION)


def main(arguments: List[str]) -> None:
    """Do one of the three and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train")
    command.add_argument("dataset", type=Path, help="a prepared dataset")
    command.add_argument("--output", type=Path, required=True, help="nerfstudio's folder of runs")
    command.add_argument("--minutes", type=float, default=2.0)
    command.add_argument("--method", default="nerfblendshape-head")
    default = "cuda" if torch.cuda.is_available() else "cpu"
    command.add_argument("--device", default=default, help="cpu or cuda (default: cuda where there is a GPU)")
    command.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="replaced settings of the trainer")
    command.set_defaults(work=train)
    command = commands.add_parser("figures")
    command.add_argument("run", type=Path, help="config.yml of a run")
    command.add_argument("--frames", type=int, default=8, help="test frames, evenly spread")
    command.set_defaults(work=figures)
    command = commands.add_parser("profile")
    command.add_argument("run", type=Path, help="config.yml of a run")
    command.add_argument("--steps", type=int, default=16)
    command.set_defaults(work=profile_steps)
    options = parser.parse_args(arguments)
    with report_user_errors():
        print(json.dumps(options.work(options)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
