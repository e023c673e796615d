"""Time a training step of ``nerfblendshape-head-small`` and its parts, and the way from a slider to a picture.

    python benchmarks/step.py [--json] [--settle 600] [--rounds 9] [--device cuda]

A synthetic clip is made, and runs of the method train on it for ``--settle`` steps, until the first fog is gone and a
step costs what it costs for the rest of training. Then the runs take turns, round by round, on all cores of the
process; medians are printed, and of the ratios within a round, so that another job on the machine slows all sides.

The contestants have 52 coefficients, as many as ARKit's, or one. ``k52`` is the method as it is, whose tables belong
to principal directions of the coefficients; ``k52_named`` has one table per coefficient. With ``--json`` the last line
is one JSON object: ``step_ms`` and its ``parts_ms`` for each contestant, ``step_ratio_k52_k1``,
``step_ratio_k52_named_k1``, ``samples`` per step, ``slider_ms`` (one 256 x 256 image after a change of expression) and
the load average. ``step_processor_ms`` and ``slider_processor_ms`` are processor time of all threads: on one thread
what the clock would show on an idle machine. On a GPU the parts are waited for one by one, which makes the step longer
than it is in training; ``step_ms`` is then taken from rounds of their own, without that.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, cast

import numpy as np
import torch
from encode import wait_for
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.engine.optimizers import Optimizers
from nerfstudio.pipelines.base_pipeline import VanillaPipeline
from nerfstudio.plugins.types import MethodSpecification
from nerfstudio.utils.rich_utils import CONSOLE

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.parallel import num_cores
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.datamanager import NerfBlendshapeDataManager
from nerfblendshape_ns.method_configs import nerfblendshape_head_small
from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState
from nerfblendshape_ns.models.head import HeadModel
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

FRAMES = 40
SIZE = 256
STEPS_A_ROUND = 16
"""As many as lie between two updates of the occupancy, so that each round has one."""
PARTS: Tuple[str, ...] = ("occupancy", "batch", "blend", "sampling", "networks", "losses", "backward", "optimiser")


class Timers:
    """Seconds spent in named parts; time inside an inner part does not count for the outer one.

    Args:
        device: what computes; where it is a GPU each part is waited for while ``apart`` is set.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.apart = device, False
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._inner: List[float] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time inside for ``name``."""
        self._inner.append(0.0)
        start = self._now()
        try:
            yield
        finally:
            spent = self._now() - start
            self.seconds[name] += spent - self._inner.pop()
            if self._inner:
                self._inner[-1] += spent

    def _now(self) -> float:
        if self.apart:
            wait_for(self.device)
        return time.perf_counter()

    def watch(self, owner: Any, method: str, name: str) -> None:
        """Count the calls of a method of one object."""
        inner = getattr(owner, method)

        def timed(*arguments: Any, **options: Any) -> Any:
            with self.part(name):
                return inner(*arguments, **options)

        setattr(owner, method, timed)


class Moment:
    """Now, by the clock and by the processor time of all threads of the process."""

    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def since(self) -> Tuple[float, float]:
        """Wall-clock and processor seconds since then."""
        return time.perf_counter() - self.wall, time.process_time() - self.processor


class Run:
    """A training run of a head method that is stepped by hand.

    Args:
        data: dataset directory.
        max_size: longer image side.
        device: where to train.
        method: what is trained.
        options: replaced settings of the model.
    """

    def __init__(
        self,
        data: Path,
        max_size: int,
        device: torch.device,
        method: MethodSpecification = nerfblendshape_head_small,
        **options: Any,
    ) -> None:
        torch.manual_seed(0)
        config = copy.deepcopy(cast(Any, method.config))
        manager = config.pipeline.datamanager
        manager.data = manager.dataparser.data = data
        manager.dataparser.max_size = max_size
        manager.dataparser.basis = "all"
        for name, value in options.items():
            setattr(config.pipeline.model, name, value)
        setup: Dict[str, Any] = {"device": str(device), "test_mode": "val", "world_size": 1, "local_rank": 0}
        self.pipeline: VanillaPipeline = config.pipeline.setup(**setup)
        self.pipeline.train()
        self.model = cast(HeadModel, self.pipeline.model)
        self.manager = cast(NerfBlendshapeDataManager, self.pipeline.datamanager)
        self.optimizers = Optimizers(config.optimizers, self.pipeline.get_param_groups())
        attributes = TrainingCallbackAttributes(
            optimizers=self.optimizers, grad_scaler=None, pipeline=self.pipeline, trainer=None
        )
        self.callbacks: List[TrainingCallback] = self.model.get_training_callbacks(attributes)
        self.timers = Timers(device)
        self.timers.watch(self.model.field, "blend", "blend")
        self.timers.watch(self.model.occupancy, "sample", "sampling")
        self.samples = 0
        self.model.field.encoding.register_forward_hook(self._count)
        self.step = 0

    def steps(self, count: int, apart: bool = False) -> Tuple[float, float]:
        """Take steps, each part of them waited for or not; the mean wall-clock and processor time of one."""
        self.timers.seconds, self.timers.apart = dict.fromkeys(PARTS, 0.0), apart
        start = Moment()
        for _ in range(count):
            self._one()
        wait_for(self.timers.device)
        wall, processor = start.since()
        return wall / count, processor / count

    def slider_seconds(self, fraction: float, size: Optional[int] = None) -> Tuple[float, float]:
        """Times to set the first coefficient to a fraction of its range and render the first training camera.

        Args:
            fraction: 0 is the coefficient's smallest value, 1 its largest.
            size: longer side of the picture in pixels; None takes the training images'.
        """
        self.pipeline.eval()
        source = self.model.expression_source
        camera = self.manager.train_dataset.cameras[0:1]
        if size is not None:
            camera.rescale_output_resolution(size / int(torch.cat([camera.height, camera.width]).max()))
        wait_for(self.timers.device)
        start = Moment()
        expression = source.track_expression[0].clone()
        expression[0] = torch.lerp(source.minimum[0], source.maximum[0], fraction)
        self.model.render_driven(camera, DrivingState(source.clamp(expression)))
        wait_for(self.timers.device)
        spent = start.since()
        self.pipeline.train()
        return spent

    def _one(self) -> None:
        timers, step = self.timers, self.step
        with timers.part("occupancy"):
            self._call(TrainingCallbackLocation.BEFORE_TRAIN_ITERATION)
        self.optimizers.zero_grad_all()
        with timers.part("batch"):
            rays, batch = self.manager.next_train(step)
        with timers.part("networks"):
            outputs = self.model(rays)
        with timers.part("losses"):
            metrics = self.model.get_metrics_dict(outputs, batch)
            losses = self.model.get_loss_dict(outputs, batch, metrics)
            loss = torch.stack(list(losses.values())).sum()
        with timers.part("backward"):
            loss.backward()
        with timers.part("optimiser"):
            self.optimizers.optimizer_step_all()
            self.optimizers.scheduler_step_all(step)
        self._call(TrainingCallbackLocation.AFTER_TRAIN_ITERATION)
        self.step += 1

    def _call(self, where: TrainingCallbackLocation) -> None:
        for callback in self.callbacks:
            callback.run_callback_at_location(self.step, where)

    def _count(self, module: Any, inputs: Any, output: torch.Tensor) -> None:
        if output.requires_grad:
            self.samples = len(output)


def jaw_of(root: Path) -> np.ndarray:
    """The clip's own ``jawOpen``, ``[frames]``."""
    names = file_io.load_json(root / contract.EXPRESSION_NAMES)["names"]
    return file_io.load_array(root / contract.EXPRESSIONS)[:, names.index("jawOpen")]


def write_expressions(root: Path, jaw: np.ndarray, num_basis: int) -> None:
    """Give a clip ``num_basis`` independent coefficients: the first is its jaw, the others are smooth noise."""
    random = np.random.default_rng(0)
    noise = random.normal(size=(len(jaw) + 4, num_basis))
    smooth = np.stack([noise[shift : shift + len(jaw)] for shift in range(5)]).mean(0)
    values = np.abs(smooth).astype(np.float32)
    values[:, 0] = jaw
    contract.save_expressions(root, values, [f"coefficient_{index:02d}" for index in range(num_basis)], "custom")


def median_of(values: List[float], digits: int = 2) -> float:
    """Median of seconds in milliseconds."""
    return round(1e3 * statistics.median(values), digits)


def measure(root: Path, settle: int, rounds: int, device: torch.device) -> Dict[str, Any]:
    """Train the contestants and take the figures."""
    write_dataset(ClipSettings(num_frames=FRAMES, width=SIZE, height=SIZE, samples=1), root)
    jaw = jaw_of(root)
    makers: Dict[str, Callable[[], Run]] = {
        "k52": lambda: Run(root, 128, device),
        "k52_named": lambda: Run(root, 128, device, basis_parametrisation="named"),
        "k1": lambda: Run(root, 128, device),
    }
    runs: Dict[str, Run] = {}
    for name, make in makers.items():
        write_expressions(root, jaw, 1 if name == "k1" else 52)
        runs[name] = make()
        CONSOLE.print(f"{name}: {settle} steps to settle")
        runs[name].steps(settle)
    times: Dict[str, List[float]] = {name: [] for name in runs}
    processor: Dict[str, List[float]] = {name: [] for name in runs}
    parts: Dict[str, Dict[str, List[float]]] = {name: {part: [] for part in PARTS} for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            wall_time, processor_time = run.steps(STEPS_A_ROUND)
            times[name].append(wall_time)
            processor[name].append(processor_time)
            if device.type == "cuda":
                run.steps(STEPS_A_ROUND, apart=True)
            for part, seconds in run.timers.seconds.items():
                parts[name][part].append(seconds / STEPS_A_ROUND)
    figures: Dict[str, Any] = {
        "step_ms": {name: median_of(values) for name, values in times.items()},
        "step_processor_ms": {name: median_of(values) for name, values in processor.items()},
        "parts_ms": {name: {part: median_of(values) for part, values in of.items()} for name, of in parts.items()},
        "samples": {name: run.samples for name, run in runs.items()},
        "tables": {name: run.model.field.encoding.bases.shape[0] for name, run in runs.items()},
    }
    for name in ("k52", "k52_named"):
        ratios = [above / below for above, below in zip(times[name], times["k1"])]
        figures[f"step_ratio_{name}_k1"] = round(statistics.median(ratios), 3)
    write_expressions(root, jaw, 52)
    large = Run(root, SIZE, device)
    CONSOLE.print(f"{SIZE} x {SIZE}: {settle} steps to settle")
    large.steps(settle)
    large.slider_seconds(0.0)
    pictures = [large.slider_seconds(fraction) for fraction in np.linspace(0.0, 1.0, rounds)]
    figures["slider_ms"] = median_of([wall for wall, _ in pictures], 0)
    figures["slider_processor_ms"] = median_of([processor_time for _, processor_time in pictures], 0)
    return figures


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--settle", type=int, default=600, help="training steps before anything is measured")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each contestant (default 9)")
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default, help="cpu or cuda (default: cuda where there is a GPU)")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    cores = num_cores()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", cores)))
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder) / "clip", arguments.settle, arguments.rounds, device)
    figures.update({"threads": torch.get_num_threads(), "cores": cores, "load_average": [round(load[0], 2)]})
    figures["load_average"].append(round(os.getloadavg()[0], 2))
    if device.type == "cuda":
        figures["machine"] = torch.cuda.get_device_name(device)
        print(figures["machine"])
    print(f"{figures['threads']} threads on {cores} cores, load average {load[0]:.1f} before; milliseconds per step")
    print(f"{'':>12}" + "".join(f"{part:>12}" for part in ("step", *PARTS)))
    for name, parts in figures["parts_ms"].items():
        row = [figures["step_ms"][name], *parts.values()]
        print(f"{name:>12}" + "".join(f"{value:12.2f}" for value in row))
    processor = [f"{name} {value:.2f}" for name, value in figures["step_processor_ms"].items()]
    print(f"processor time per step: {', '.join(processor)}")
    for name in ("step_ratio_k52_k1", "step_ratio_k52_named_k1", "slider_ms", "slider_processor_ms"):
        print(f"{name:>24} {figures[name]:10.2f}")
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
