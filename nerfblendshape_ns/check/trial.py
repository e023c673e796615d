"""A few training steps of a method on a few frames of the dataset: what one step costs on this machine.

The model, the sampler, the losses and the optimisers are the real ones; only the number of frames, and on a CPU the
number of rays, are smaller. A step's time is a fixed part (the blend, the optimiser) and a part for each ray; two
numbers of rays separate them.
"""

from __future__ import annotations

import copy
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Dict, Iterator, List, Tuple

import torch
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.engine.optimizers import Optimizers
from torch import Tensor

from nerfblendshape_ns.common.frame_numbers import spread
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset
from nerfblendshape_ns.data.pinhole_rays import PinholeRays
from nerfblendshape_ns.data.pixel_sampler import RegionPixelSampler
from nerfblendshape_ns.models.head import HeadModel

TRIAL_FRAMES = 12
TRIAL_RAYS = 512
"""Most rays of a trial step on a CPU."""
TRIAL_SECONDS = 0.6
"""Time for the steps of each number of rays."""
LEAST_STEPS, MOST_STEPS = 2, 30
SLOW_STEP = 0.3
"""Where a quarter of the rays takes longer, no step with all of them is tried."""


@dataclass(frozen=True)
class Trial:
    """What a few steps have shown."""

    fixed_seconds: float
    """Part of a step that does not depend on the rays."""
    ray_seconds: float
    """Part of a step for each ray."""
    table_bytes: int
    """Parameters, buffers and optimiser state."""
    ray_bytes: float
    """What the forward pass keeps for the backward, for each ray."""
    fixed_bytes: int
    """The same that does not depend on the rays: the blended tables and their gradient."""
    core_fraction: float
    """Fraction of the time in which this program was running rather than waiting for other programs to make room."""

    def step_seconds(self, rays: int) -> float:
        """Estimated time of a step with so many rays."""
        return self.fixed_seconds + self.ray_seconds * rays


def part_of(outputs: DataparserOutputs, frames: Tensor) -> DataparserOutputs:
    """The outputs of a dataparser for some of its frames (indices ``[frames]``)."""
    indices = frames.tolist()
    metadata = dict(outputs.metadata)
    for key in ("img_ids", "frame_files"):
        metadata[key] = [metadata[key][index] for index in indices]
    metadata["regions"] = {name: rects[frames] for name, rects in metadata["regions"].items()}
    return replace(
        outputs,
        image_filenames=[outputs.image_filenames[index] for index in indices],
        cameras=outputs.cameras[frames],
        metadata=metadata,
    )


def untrained_head(method: Any, outputs: DataparserOutputs, device: str) -> HeadModel:
    """The model of a head method (its ``TrainerConfig``) on a training split, as training makes it."""
    config = copy.deepcopy(method.pipeline.model)
    config.perceptual_loss = "none"  # May need weights that are not here; its part of a step is small.
    model = config.setup(
        scene_box=outputs.scene_box,
        num_train_data=len(outputs.image_filenames),
        metadata=outputs.metadata,
        device=device,
        grad_scaler=None,
    )
    assert isinstance(model, HeadModel)
    return model.to(device).train()


def run_trial(method: Any, outputs: DataparserOutputs, device: str = "cpu") -> Trial:
    """Train a head method for a moment.

    Args:
        method: its ``TrainerConfig``.
        outputs: of the dataparser for the training split, at the method's image size.
        device: where to train.

    Raises:
        UserError: an image cannot be read, or the visual hull of the head masks is empty.
    """
    steps = _Steps(method, outputs, device)
    most = steps.rays if device != "cpu" else min(steps.rays, TRIAL_RAYS)
    if device == "cpu" and steps.seconds(most // 4) > SLOW_STEP:
        most //= 4
    counts = (max(most // 4, steps.least_rays), most)
    seconds: Dict[int, float] = {}
    kept: Dict[int, int] = {}
    wall, running = 0.0, 0.0
    for count in counts:
        steps.take(count)  # Compiles kernels, grows buffers.
        with _kept_bytes() as sizes:
            steps.take(count)
        kept[count] = sum(sizes.values())
        times: List[float] = []
        started, started_running = time.perf_counter(), time.thread_time()
        while len(times) < LEAST_STEPS or (time.perf_counter() - started < TRIAL_SECONDS and len(times) < MOST_STEPS):
            times.append(steps.seconds(count))
        seconds[count] = statistics.median(times)
        wall += time.perf_counter() - started
        running += time.thread_time() - started_running
    few, many = counts
    fixed_seconds, ray_seconds = _line(few, seconds[few], many, seconds[many])
    fixed_bytes, ray_bytes = _line(few, kept[few], many, kept[many])
    # A GPU run waits for its device by design.
    core_fraction = min(1.0, running / wall) if device == "cpu" else 1.0
    return Trial(fixed_seconds, ray_seconds, steps.state_bytes(), ray_bytes, int(fixed_bytes), core_fraction)


def _line(x0: float, y0: float, x1: float, y1: float) -> Tuple[float, float]:
    """Offset and slope through two points, neither below 0."""
    if x1 <= x0:
        return 0.0, y1 / max(x1, 1.0)
    slope = max(0.0, (y1 - y0) / (x1 - x0))
    return max(0.0, y1 - slope * x1), slope


@contextmanager
def _kept_bytes() -> Iterator[Dict[int, int]]:
    """Collects the bytes of each storage that autograd keeps for the backward pass."""
    sizes: Dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


class _Steps:
    """The model of a method on a few frames, with its optimisers."""

    def __init__(self, method: Any, outputs: DataparserOutputs, device: str) -> None:
        self.device = device
        count = len(outputs.image_filenames)
        chosen = torch.tensor(spread(count, TRIAL_FRAMES))
        self.dataset = NerfBlendshapeDataset(part_of(outputs, chosen))
        self.dataset.load()
        self.positions = chosen
        manager = method.pipeline.datamanager
        self.frames_per_batch = min(manager.frames_per_batch, len(chosen))
        self.rays = manager.train_num_rays_per_batch
        self.least_rays = self.frames_per_batch
        self.pinhole = PinholeRays(self.dataset.cameras)
        self.sampler = RegionPixelSampler(manager.pixel_sampler, self.dataset)
        self.model = untrained_head(method, outputs, device)
        self.model.init_from_visual_hull(self.dataset)
        self.optimizers = Optimizers(copy.deepcopy(method.optimizers), self.model.get_param_groups())
        self.generator = torch.Generator().manual_seed(0)
        self.step = 0

    def take(self, rays: int) -> None:
        """One training step."""
        self.step += 1
        bundle, batch = self._batch(rays)
        self.optimizers.zero_grad_all()
        outputs = self.model(bundle)
        losses = self.model.get_loss_dict(outputs, batch)
        torch.stack(list(losses.values())).sum().backward()
        self.optimizers.optimizer_step_all()

    def seconds(self, rays: int) -> float:
        """Time of one training step."""
        before = time.perf_counter()
        self.take(rays)
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - before

    def state_bytes(self) -> int:
        """Bytes of parameters, buffers and optimiser state."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        for optimizer in self.optimizers.optimizers.values():
            for state in optimizer.state.values():
                tensors += [value for value in state.values() if isinstance(value, Tensor)]
        # Of storages, since the parameter that carries the tables' gradient rows has a shape but takes no memory.
        return sum(tensor.untyped_storage().nbytes() for tensor in tensors)

    def _batch(self, rays: int) -> Tuple[RayBundle, Dict[str, Any]]:
        """Rays and pixels of the next frames, drawn by region as in training."""
        count, width = self.frames_per_batch, self.dataset.image_size[1]
        frames = torch.tensor([(self.step * count + index) % len(self.dataset) for index in range(count)])
        pixels = [self.sampler.sample(int(frame), rays // count, self.generator) for frame in frames]
        owner = frames.repeat_interleave(rays // count)
        flat = torch.cat(pixels)
        rows, columns = flat // width, flat % width
        bundle = self.pinhole(owner, flat, {})
        # The model knows frames by their index in the whole training split.
        bundle.camera_indices = self.positions[owner][:, None]
        batch = {
            "image": self.dataset.images[owner, rows, columns].float() / 255,
            "alpha": self.dataset.alpha[owner, rows, columns].float()[:, None] / 255,
        }
        return bundle.to(self.device), batch
