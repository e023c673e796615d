"""Two processes that train one head: their replicas stay equal, and are what one process makes of both batches.

nerfstudio itself starts several processes on CUDA only; here they run on the CPU, talking by gloo.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from nerfstudio.engine.callbacks import TrainingCallbackLocation
from nerfstudio.pipelines import base_pipeline
from tiny_runs import TORSO_METHOD, checkpoint, tiny_config
from torch.nn.parallel import DistributedDataParallel

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.frame_numbers import name_frames
from nerfblendshape_ns.engine import trainer as trainer_module
from nerfblendshape_ns.engine.table_optimizer import BlendshapeTableAdam
from nerfblendshape_ns.engine.trainer import LOSSES_AT_ONCE
from nerfblendshape_ns.field_components.blendshape_encoding import BlendshapeHashEncoding
from nerfblendshape_ns.models.load import load_model
from nerfblendshape_ns.ops.hash_grid import HashGridLayout
from nerfblendshape_ns.recipes.datasets import write_synthetic
from nerfblendshape_ns.recipes.training import run_training
from nerfblendshape_ns.synthetic.dataset import ClipSettings

pytestmark = pytest.mark.slow

LAYOUT = HashGridLayout(num_levels=2, features_per_level=4, log2_table_size=7, base_resolution=3, max_resolution=9)
STEPS = 20
BAD_STEP = LOSSES_AT_ONCE - 1
"""The last whose loss is read before the next step, in which the gradients of all would be spoilt."""
HEAD = {
    "pipeline.datamanager.dataparser.test_frames": 2,
    "pipeline.datamanager.frames_per_batch": 2,
    "pipeline.model.frame_code_dim": 4,
    "pipeline.model.occupancy_warmup": 4,
    "pipeline.model.occupancy_interval": 4,
    "max_num_iterations": STEPS,
    "steps_per_eval_batch": 1000,
}


def config_of(data: Path, output: Path, **changes: Any) -> Any:
    return tiny_config(data, output, **{**HEAD, **changes})


def started(config: Any, rank: int = 0, world: int = 1) -> Any:
    """A trainer that has been set up, as ``ns-train`` does it."""
    config.pipeline.datamanager.data = config.data
    torch.manual_seed(config.machine.seed + rank)
    config.get_base_dir().mkdir(parents=True, exist_ok=True)
    trainer = config.setup(local_rank=rank, world_size=world)
    trainer.setup()
    return trainer


def state_of(trainer: Any) -> Dict[str, Any]:
    """Every tensor that training changes."""
    model = {name: value for name, value in trainer.pipeline.model.state_dict().items() if torch.is_tensor(value)}
    for group, optimizer in trainer.optimizers.optimizers.items():
        for place, state in optimizer.state_dict()["state"].items():
            model.update({f"{group}.{place}.{name}": torch.as_tensor(value) for name, value in state.items()})
    return {name: value.clone() for name, value in model.items()}


def before_step(trainer: Any, step: int) -> None:
    for callback in trainer.callbacks:
        callback.run_callback_at_location(step, location=TrainingCallbackLocation.BEFORE_TRAIN_ITERATION)


# --- what runs in each of the two processes ---


class OnCPU(DistributedDataParallel):
    def __init__(self, model: torch.nn.Module, device_ids: List[int], **options: Any) -> None:
        super().__init__(model, **options)


def worker(rank: int, data: Path, output: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=(output / "meeting").as_uri(), rank=rank, world_size=2)
    # nerfstudio names a CUDA device, which gloo on a CPU refuses.
    base_pipeline.DDP = OnCPU  # type: ignore
    base_pipeline.dist = SimpleNamespace(barrier=lambda device_ids: dist.barrier())  # type: ignore
    results: Dict[str, Any] = {}
    results["encoding"] = rows_of_different_counts(rank)
    results["infinite"] = an_infinite_gradient_on_one_process(rank)

    trainer = started(config_of(data, output / "one-step"), rank, 2)
    results["start"] = state_of(trainer)
    before_step(trainer, 0)
    torch.manual_seed(100 + rank)
    trainer.train_iteration(0)
    results["one step"] = state_of(trainer)

    trainer = started(config_of(data, output / "head"), rank, 2)
    trainer.train()
    results["head"] = state_of(trainer)

    # The second process' clock runs at a hundredth of the first's.
    ticks = iter(range(10**6))
    trainer_module.time = SimpleNamespace(monotonic=lambda: (6.0, 0.06)[rank] * next(ticks))  # type: ignore
    trainer = started(config_of(data, output / "budget", max_minutes=0.5, max_num_iterations=100), rank, 2)
    trainer.train()
    results["budget"], results["budget step"] = state_of(trainer), trainer.step

    dist.barrier()  # The head's checkpoint is there.
    head = output / "head" / "clip" / "nerfblendshape-head-small" / "run"
    changes = {"pipeline.model.head_run": head, "pipeline.datamanager.dataparser.test_frames": 2}
    trainer = started(tiny_config(data, output, TORSO_METHOD, **changes, max_num_iterations=6), rank, 2)
    trainer.train()
    results["torso"] = state_of(trainer)

    results["not finite"] = a_loss_that_is_not_finite_in_one_process(
        config_of(data, output / "not-finite", max_num_iterations=40), rank
    )
    torch.save(results, output / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def encoding_step(encoding: BlendshapeHashEncoding, rank: int, step: int, scale: float = 1.0) -> torch.Tensor:
    """A loss of one to three frames, not as many in one process as in the other."""
    generator = torch.Generator().manual_seed(10 * step + rank)
    frames = 1 + (step + rank) % 3
    weight = scale * torch.randn(frames, LAYOUT.rows, 4, generator=generator)
    return (encoding.blend(torch.rand(frames, 3, generator=generator)) * weight).sum()


def make_encoding() -> Any:
    torch.manual_seed(3)
    encoding = BlendshapeHashEncoding(LAYOUT, 3)
    return encoding, BlendshapeTableAdam(encoding.tables)


def rows_of_different_counts(rank: int) -> List[torch.Tensor]:
    encoding, optimizer = make_encoding()
    for step in range(4):
        optimizer.zero_grad()
        encoding_step(encoding, rank, step).backward()
        encoding_step(encoding, rank, step + 20).backward()  # Accumulated before the step.
        optimizer.step()
    return [encoding.mean.detach(), encoding.bases.detach()]


def an_infinite_gradient_on_one_process(rank: int) -> List[torch.Tensor]:
    encoding, optimizer = make_encoding()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)  # type: ignore[attr-defined]
    for step in range(3):
        optimizer.zero_grad()
        scaler.scale(encoding_step(encoding, rank, step, scale=1e37 if (rank, step) == (1, 1) else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
    step = torch.tensor(optimizer.state[encoding.mean]["step"])
    return [encoding.mean.detach(), encoding.bases.detach(), torch.tensor(scaler.get_scale()), step]


def a_loss_that_is_not_finite_in_one_process(config: Any, rank: int) -> Any:
    """What a process says, and the frames that both have in the step of the last loss that is read with the others."""
    trainer = started(config, rank, 2)
    losses = trainer._model.get_loss_dict

    def spoilt(*arguments: Any) -> Dict[str, torch.Tensor]:
        found = losses(*arguments)
        return {name: value * float("nan") for name, value in found.items()} if trainer.step == BAD_STEP else found

    if rank == 1:
        trainer._model.get_loss_dict = spoilt
    frames: List[Any] = [None, None]
    dist.all_gather_object(frames, trainer.pipeline.datamanager.train_frames(BAD_STEP))
    with pytest.raises(UserError) as told:
        trainer.train()
    img_ids = trainer._train_metadata["img_ids"]
    return str(told.value), name_frames([img_ids[index] for index in sorted({*frames[0], *frames[1]})])


# --- tests ---


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "clip"
    write_synthetic(ClipSettings(num_frames=12, width=48, height=48, fps=10), folder)
    return folder


@pytest.fixture(scope="module")
def output(data, tmp_path_factory) -> Path:
    """Where the two processes left their runs and states."""
    folder = tmp_path_factory.mktemp("runs")
    mp.spawn(worker, args=(data, folder), nprocs=2)
    return folder


@pytest.fixture(scope="module")
def states(output) -> List[Dict[str, Any]]:
    return [torch.load(output / f"{rank}.pt") for rank in range(2)]


def assert_equal(first: Dict[str, Any], second: Dict[str, Any]) -> None:
    assert first.keys() == second.keys()
    assert not [name for name in first if not torch.equal(first[name], second[name])]


def test_they_start_from_the_same_tables(states):
    assert_equal(states[0]["start"], states[1]["start"])


def test_one_step_is_that_of_one_process_that_sees_both_batches(states, data, tmp_path):
    assert_equal(states[0]["one step"], states[1]["one step"])
    trainer = started(config_of(data, tmp_path))
    trainer.pipeline.model.load_state_dict(trainer.pipeline.model.state_dict() | states[0]["start"], strict=False)
    before_step(trainer, 0)
    manager = trainer.pipeline.datamanager
    trainer.optimizers.zero_grad_all()
    for rank in range(2):
        manager.local_rank, manager._epoch_order = rank, (-1, [])
        torch.manual_seed(100 + rank)
        losses = trainer.pipeline.get_train_loss_dict(0)[1]
        (sum(losses.values()) / 2).backward()
    trainer.optimizers.optimizer_scaler_step_all(trainer.grad_scaler)
    start, expected, actual = states[0]["start"], state_of(trainer), states[0]["one step"]
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        if not value.is_floating_point() or value.numel() == 0:
            continue
        scale = float((value - start.get(name, torch.zeros_like(value))).abs().max())
        difference = float((value - actual[name]).abs().max())
        # A first step of Adam is as long for a gradient of rounding errors as for any other: moments tell.
        if "exp_avg" in name or "moment" in name:
            assert difference <= 1e-4 * scale, (name, difference, scale)
        elif name.startswith("field.encoding"):
            assert float(((value - actual[name]).abs() > 1e-3 * scale).float().mean()) < 1e-3, (name, difference, scale)
    assert bool((expected["field.encoding.mean"] != start["field.encoding.mean"]).any())


def test_replicas_are_equal_to_the_bit_after_many_steps(states):
    assert_equal(states[0]["head"], states[1]["head"])
    assert not torch.equal(states[0]["head"]["field.encoding.bases"], states[0]["start"]["field.encoding.bases"])


def test_rows_of_different_counts_add_up(states):
    for first, second in zip(states[0]["encoding"], states[1]["encoding"]):
        assert torch.equal(first, second)
    encoding, optimizer = make_encoding()
    for step in range(4):
        optimizer.zero_grad()
        for turn in (step, step + 20):
            for rank in range(2):
                (encoding_step(encoding, rank, turn) / 2).backward()
        optimizer.step()
    for alone, together in zip((encoding.mean, encoding.bases), states[0]["encoding"]):
        torch.testing.assert_close(alone.detach(), together, rtol=1e-4, atol=1e-6)


def test_an_infinite_gradient_in_one_process_skips_the_step_in_both(states):
    for first, second in zip(states[0]["infinite"], states[1]["infinite"]):
        assert torch.equal(first, second)
    assert float(states[0]["infinite"][2]) == 512.0 and int(states[0]["infinite"][3]) == 2


def test_the_first_process_clock_ends_all(states):
    assert states[0]["budget step"] == states[1]["budget step"] == 5
    assert_equal(states[0]["budget"], states[1]["budget"])


def test_a_loss_that_is_not_finite_in_one_process_ends_both_and_names_the_frames_of_both(states):
    (message, frames), same = states[0]["not finite"], states[1]["not finite"]
    assert same == (message, frames)
    assert message.startswith(f"the loss of {frames} in step {BAD_STEP} is not finite, so the training ends; ")


def test_the_torso_trains_too(states):
    assert_equal(states[0]["torso"], states[1]["torso"])


def test_the_checkpoint_opens_and_resumes_in_one_process(states, output, data, tmp_path):
    folder = output / "head" / "clip" / "nerfblendshape-head-small" / "run"
    model = load_model(folder)
    assert torch.equal(model.field.encoding.mean, states[0]["head"]["field.encoding.mean"])
    config = config_of(data, tmp_path, load_dir=str(folder / "nerfstudio_models"), max_num_iterations=2)
    assert checkpoint(run_training(config))["step"] == STEPS + 1
