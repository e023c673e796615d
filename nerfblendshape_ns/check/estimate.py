"""Memory and time of each method on this machine, from a short trial of it."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import psutil
import torch
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.plugins.types import MethodSpecification

from nerfblendshape_ns import method_configs
from nerfblendshape_ns.check.findings import Section
from nerfblendshape_ns.check.trial import TRIAL_RAYS, Trial, run_trial
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParser, NerfBlendshapeDataParserConfig
from nerfblendshape_ns.data.dataset import BYTES_IN_MEMORY
from nerfblendshape_ns.models.head import HeadModelConfig

CACHE_BYTES = 5
"""Bytes per pixel in the image cache: colour, soft head mask, label."""
FRAME_CACHE_BYTES = 9
"""The same where whole frames are reconstructed: the torso image with its alpha comes on top."""
SETTLED_FRACTION = 0.6
"""Mean time of a step over a run, as a fraction of the first steps': the occupancy soon loses its first fog. It was
0.48 to 0.7 in runs of the small method on three clips."""
RENDER_FRACTION = 0.25
"""Fraction of what a training step keeps per ray that is alive at once when an image is rendered."""
BUSY = 0.75
"""Below this fraction of a core the machine is said to be busy."""
MANY_HOURS = 24.0


@dataclass(frozen=True)
class Estimate:
    """What training with a method would take."""

    method: str
    width: int
    height: int
    steps: int
    step_seconds: float
    image_bytes: int
    """The image cache."""
    state_bytes: int
    """Tables, networks and optimiser state."""
    working_bytes: int
    """What a training step or a rendered image needs besides, whichever is more."""
    process_bytes: int
    """The process with its libraries and kernels, without any of these."""
    device: str
    core_fraction: float = 1.0
    """Fraction of the time that other programs left to the measurement."""

    @property
    def hours(self) -> float:
        """Time of all steps."""
        return self.steps * self.step_seconds / 3600

    @property
    def memory_bytes(self) -> int:
        """Peak on the host of a CPU run, without images in a temporary file; on a GPU the part on the device."""
        shared = self.state_bytes + self.working_bytes
        images = min(self.image_bytes, BYTES_IN_MEMORY)
        return shared + (self.process_bytes + images if self.device == "cpu" else 0)

    def as_dict(self) -> Dict[str, Any]:
        """Plain data for JSON."""
        return {
            "method": self.method,
            "device": self.device,
            "width": self.width,
            "height": self.height,
            "steps": self.steps,
            "step_milliseconds": round(1e3 * self.step_seconds, 1),
            "hours": round(self.hours, 3),
            "hours_undisturbed": round(self.hours * self.core_fraction, 3),
            "memory_gb": round(self.memory_bytes / 1e9, 2),
            "parts_gb": {
                "process": round(self.process_bytes / 1e9, 3),
                "images": round(self.image_bytes / 1e9, 3),
                "tables_and_optimiser": round(self.state_bytes / 1e9, 3),
                "step": round(self.working_bytes / 1e9, 3),
            },
        }


def methods() -> List[Any]:
    """The trainer configs of this package's methods, smallest images first."""
    specifications = [value for value in vars(method_configs).values() if isinstance(value, MethodSpecification)]
    configs = [specification.config for specification in specifications]
    return sorted(configs, key=lambda config: config.pipeline.datamanager.dataparser.max_size or 1 << 30)


def is_head(config: Any) -> bool:
    """Whether a method trains a head, which needs nothing but the dataset."""
    return isinstance(config.pipeline.model, HeadModelConfig)


def estimate_methods(config: NerfBlendshapeDataParserConfig) -> Section:
    """Estimate every head method on a dataset that has no errors, and the images of the torso methods.

    Args:
        config: how to read it; its image size is replaced by each method's.
    """
    section = Section("estimate")
    started = time.perf_counter()
    parser = NerfBlendshapeDataParser(config)
    estimates: List[Estimate] = []
    process_bytes: Optional[int] = None
    try:
        for method in filter(is_head, methods()):
            outputs, num_pixels = _dataset_for(method, parser)
            trial = run_trial(method, outputs, method.machine.device_type)
            if process_bytes is None:
                # After the smallest method: libraries, kernels and threads are there, and its own part is known.
                used = trial.table_bytes + int(trial.fixed_bytes + trial.ray_bytes * TRIAL_RAYS)
                process_bytes = psutil.Process().memory_info().rss - used
            estimates.append(_estimate(method, outputs, num_pixels, trial, process_bytes))
    except UserError as error:
        section.user_error(error, topic="training")
    section.figures.update(
        {
            "methods": [estimate.as_dict() for estimate in estimates],
            "machine": machine(),
            "measured_seconds": round(time.perf_counter() - started, 2),
        }
    )
    _compare(section, estimates)
    if estimates:
        _methods_behind_a_head(section, parser)
    return section


def _dataset_for(method: Any, parser: NerfBlendshapeDataParser) -> Tuple[DataparserOutputs, int]:
    """The training split at a method's image size, and the pixels of the frames that train and validate."""
    parser.config.max_size = method.pipeline.datamanager.dataparser.max_size
    train, val = (parser.get_dataparser_outputs(split=split) for split in ("train", "val"))
    height, width = train.metadata["image_size"]
    return train, (len(train.image_filenames) + len(val.image_filenames)) * height * width


def machine() -> Dict[str, Any]:
    """What the figures were taken on."""
    load = psutil.getloadavg()[0] if hasattr(psutil, "getloadavg") else 0.0
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_average": round(load, 2),
    }


def _estimate(method: Any, outputs: DataparserOutputs, num_pixels: int, trial: Trial, process_bytes: int) -> Estimate:
    height, width = outputs.metadata["image_size"]
    rays = method.pipeline.datamanager.train_num_rays_per_batch
    return Estimate(
        method=method.method_name,
        width=width,
        height=height,
        steps=method.max_num_iterations,
        step_seconds=SETTLED_FRACTION * trial.step_seconds(rays),
        image_bytes=num_pixels * CACHE_BYTES,
        state_bytes=trial.table_bytes,
        working_bytes=working_bytes(trial, rays, min(method.pipeline.model.eval_num_rays_per_chunk, height * width)),
        process_bytes=process_bytes,
        device=method.machine.device_type,
        core_fraction=trial.core_fraction,
    )


def working_bytes(trial: Trial, train_rays: int, render_rays: int) -> int:
    """Memory of a training step or of a rendered chunk of an image, whichever is more.

    A step keeps activations for the backward pass, which needs about as much again for its gradients.
    """
    step = 2 * (trial.fixed_bytes + trial.ray_bytes * train_rays)
    return int(max(step, trial.fixed_bytes + RENDER_FRACTION * trial.ray_bytes * render_rays))


def _compare(section: Section, estimates: List[Estimate]) -> None:
    memory = psutil.virtual_memory()
    busy = [estimate for estimate in estimates if estimate.core_fraction < BUSY]
    if busy:
        least = min(estimate.core_fraction for estimate in busy)
        section.note(
            f"other programs left only {least:.0%} of a core to the measurement: the times are those of a busy machine",
            "run nbs-check again when the machine is idle for a better estimate",
        )
    for estimate in estimates:
        section.rows.append((estimate.method, in_words(estimate)))
        on_cpu = estimate.device == "cpu"
        room = memory.total if on_cpu else torch.cuda.get_device_properties(0).total_memory
        needs = f"{estimate.method} needs about {estimate.memory_bytes / 1e9:.1f} GB"
        if estimate.memory_bytes > room:
            section.warn(
                f"{needs} and {'this machine' if on_cpu else 'the GPU'} has {room / 1e9:.1f} GB",
                "give smaller images (nerfblendshape-data --max-size) or tables, or use the small method",
                topic="memory",
            )
        elif on_cpu and estimate.memory_bytes > memory.available:
            section.note(
                f"{needs} and {memory.available / 1e9:.1f} GB are free now",
                "end other programs first",
                topic="memory",
            )


def _methods_behind_a_head(section: Section, parser: NerfBlendshapeDataParser) -> None:
    """What can be said of methods that cannot be tried before there is a trained head: their images."""
    waiting: List[Dict[str, Any]] = []
    for method in itertools.filterfalse(is_head, methods()):
        outputs, num_pixels = _dataset_for(method, parser)
        height, width = outputs.metadata["image_size"]
        images = num_pixels * FRAME_CACHE_BYTES
        waiting.append({"method": method.method_name, "images_gb": round(images / 1e9, 3)})
        words = f"{width}x{height}; needs a trained head and is not tried; images {images / 1e9:.2f} GB"
        section.rows.append((method.method_name, words))
    section.figures["not_tried"] = waiting


def in_words(estimate: Estimate) -> str:
    """One line for people."""
    words = (
        f"{estimate.width}x{estimate.height}, {estimate.steps:,} steps of about {1e3 * estimate.step_seconds:.0f} ms: "
        f"{_long(estimate.hours)}"
    )
    if estimate.core_fraction < BUSY:
        words += f" (perhaps {_long(estimate.hours * estimate.core_fraction)} on the idle machine)"
    words += f"; {estimate.memory_bytes / 1e9:.1f} GB"
    if estimate.device != "cpu":
        return words + " on the GPU"
    return words + ("; meant for a GPU" if estimate.hours > MANY_HOURS else "")


def _long(hours: float) -> str:
    if hours < 1.5:
        return f"{max(1, round(60 * hours))} minutes"
    return f"{hours:.1f} hours" if hours < MANY_HOURS else f"{hours / 24:.1f} days"
