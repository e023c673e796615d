"""Stopping and resuming: the batches and learning rates of an uninterrupted run, with a budget and without."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest
import torch
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from nerfstudio.utils.eval_utils import eval_setup
from tiny_runs import checkpoint, tiny_config

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.datamanager import NerfBlendshapeDataManager
from nerfblendshape_ns.data.layouts import Clip
from nerfblendshape_ns.engine import trainer as trainer_module
from nerfblendshape_ns.engine.trainer import BudgetTrainer
from nerfblendshape_ns.engine.training_record import load_training_record
from nerfblendshape_ns.recipes.training import run_training

CALM = {"pipeline.model.occupancy_warmup": 1000, "steps_per_eval_batch": 1000}
SECONDS = 6.0
"""What a step takes by the clock of these tests."""

Record = List[Tuple[int, torch.Tensor, Dict[str, float]]]


@pytest.fixture
def record(monkeypatch) -> Record:
    """Step, pixels and learning rates of every training step."""
    steps: Record = []
    next_train, train_iteration = NerfBlendshapeDataManager.next_train, BudgetTrainer.train_iteration
    drawn: Dict[str, Any] = {}

    def watch_batch(self, step):
        rays, batch = next_train(self, step)
        drawn["indices"] = batch["indices"]
        return rays, batch

    def watch_step(self, step):
        rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.optimizers.items()}
        outputs = train_iteration(self, step)
        steps.append((step, drawn["indices"], rates))
        return outputs

    monkeypatch.setattr(NerfBlendshapeDataManager, "next_train", watch_batch)
    monkeypatch.setattr(BudgetTrainer, "train_iteration", watch_step)
    clock = iter(range(10**6))
    monkeypatch.setattr(trainer_module, "time", SimpleNamespace(monotonic=lambda: SECONDS * next(clock)))
    return steps


def run(data: Path, output: Path, steps: int, **changes: Any) -> Path:
    """Train without a warm-up, which would hide the decay; the run's ``config.yml``."""
    overrides = {"pipeline.datamanager.dataparser.test_frames": 2, "max_num_iterations": steps, **CALM, **changes}
    config = tiny_config(data, output, **overrides)
    for group in config.optimizers.values():
        group["scheduler"].warmup_steps, group["scheduler"].max_steps = 0, 20
    return run_training(config)


def checkpoints(config_path: Path) -> str:
    return str(config_path.parent / "nerfstudio_models")


def same(first: Record, second: Record) -> bool:
    return len(first) == len(second) and all(
        a[0] == b[0] and torch.equal(a[1], b[1]) and a[2] == b[2] for a, b in zip(first, second)
    )


PATCHES = {
    "pipeline.datamanager.patch_size": 16,
    "pipeline.datamanager.num_patches": 1,
    "pipeline.model.perceptual_loss": "lpips-vgg",
}


def test_weights_that_a_loss_lacks_are_told_before_data_are_read(tmp_path):
    with pytest.raises(
        UserError, match=r"^the weights of --pipeline.model.perceptual-loss lpips-vgg could not be fetched"
    ):
        run_training(tiny_config(tmp_path / "no data", tmp_path, **PATCHES))


@pytest.mark.parametrize("minutes", [0.0, -5.0, float("nan")])
def test_a_budget_that_is_no_time_is_refused(tmp_path, minutes):
    with pytest.raises(UserError, match=r"^--max-minutes is .* but must be above 0; leave it out to train all steps"):
        run_training(tiny_config(tmp_path / "no data", tmp_path, max_minutes=minutes))


@pytest.mark.parametrize(
    ("changes", "local_rank", "prepared"),
    [
        ({}, 0, [("lpips-vgg", 16)]),
        ({}, 1, []),
        ({"pipeline.datamanager.num_patches": 0}, 0, []),
        ({"pipeline.datamanager.patch_size": 1}, 0, []),
    ],
)
def test_one_process_prepares_the_patch_loss_that_is_used(tmp_path, monkeypatch, changes, local_rank, prepared):
    """The other processes wait for it, and only then are data read."""
    done: List[Any] = []
    monkeypatch.setattr(trainer_module, "prepare_patch_loss", lambda *given: done.append(given))
    monkeypatch.setattr(trainer_module, "several_processes", lambda: True)
    monkeypatch.setattr(trainer_module.dist, "barrier", lambda: done.append("all are here"))
    monkeypatch.setattr(trainer_module.Trainer, "setup", lambda self, test_mode: done.append("set up"))
    config = tiny_config(tmp_path / "no data", tmp_path, **{**PATCHES, **changes})
    trainer = config.setup(local_rank=local_rank, world_size=2)
    trainer._start_step = 0
    trainer.setup()
    assert done == [*prepared, "all are here", "set up"]


def test_a_stopped_and_resumed_run_is_the_uninterrupted_one(data, tmp_path, record):
    run(data, tmp_path / "straight", 8)
    straight = record.copy()
    record.clear()
    first = run(data, tmp_path / "first", 5)
    run(data, tmp_path / "second", 3, load_dir=checkpoints(first))
    assert [entry[0] for entry in straight] == list(range(8))
    assert same(straight, record)


def test_a_training_does_not_take_the_place_of_another(data, tmp_path):
    """With --load-config nerfstudio reads nothing else: the run's own timestamp, and no checkpoint."""
    first = run(data, tmp_path, 2)
    before, config = first.read_bytes(), tiny_config(data, tmp_path, max_num_iterations=3)
    message = r"holds the checkpoints of a training, which this one would delete; go on from them with --load-dir, or"
    with pytest.raises(UserError, match=message):
        run_training(config)
    config.load_config = first
    with pytest.raises(UserError, match=message):
        run_training(config)
    assert checkpoint(first)["step"] == 1 and first.read_bytes() == before
    run(data, tmp_path, 1, load_dir=checkpoints(first))
    assert checkpoint(first)["step"] == 2


def test_a_run_is_resumed_by_its_folder_or_told_why_not(data, tmp_path):
    first = run(data, tmp_path / "first", 2)
    (first.parent / "nerfstudio_models" / "notes.txt").touch()
    assert checkpoint(run(data, tmp_path / "by folder", 1, load_dir=str(first.parent)))["step"] == 2
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "step-000000001.ckpt"
    broken.write_bytes(next(first.parent.glob("*/*.ckpt")).read_bytes()[:1000])
    for wrong, message in (
        ({"load_dir": str(tmp_path / "empty")}, r"empty holds no checkpoint \(nerfstudio_models/step-\*\.ckpt\)"),
        ({"load_dir": checkpoints(first), "load_step": 7}, "step-000000007.ckpt does not exist"),
        ({"load_checkpoint": str(tmp_path / "none.ckpt")}, "none.ckpt does not exist"),
        ({"load_checkpoint": str(broken)}, "step-000000001.ckpt is not a readable checkpoint"),
    ):
        with pytest.raises(UserError, match=message):
            run(data, tmp_path / "second", 1, **wrong)


def test_a_spent_budget_leaves_the_checkpoint_of_its_last_step(data, tmp_path, record, capsys):
    run(data, tmp_path / "straight", 8)
    straight = record.copy()
    record.clear()
    first = run(data, tmp_path / "first", 100, max_minutes=5 * SECONDS / 60.0)
    assert "minutes is spent; stopping after step 5." in " ".join(capsys.readouterr().out.split())
    assert checkpoint(first)["step"] == record[-1][0] == 5
    second = run(data, tmp_path / "second", 2, load_dir=checkpoints(first))
    assert checkpoint(second)["step"] == 7
    assert [entry[0] for entry in record] == list(range(8))
    assert all(torch.equal(one[1], other[1]) for one, other in zip(straight, record))
    for entry in record[6:]:  # The budget had brought the rates down to a tenth, where they stay.
        assert entry[2]["networks"] == pytest.approx(5e-4) and entry[2]["tables"] == pytest.approx(1e-3)


def test_a_second_budget_goes_on_with_the_decay_of_the_first(data, tmp_path, record):
    """Three steps bring the first budget to 0.4; the second leads from there to 1 in its own five."""
    first = run(data, tmp_path / "first", 3, max_minutes=5 * SECONDS / 60.0)
    run(data, tmp_path / "second", 100, max_minutes=5 * SECONDS / 60.0, load_dir=checkpoints(first))
    assert [entry[0] for entry in record] == list(range(9))
    # A step's rate is set at the end of the step before it, when the clock was last read at that step's beginning.
    progress = [0.0, 1 / 20, 0.2, 0.4, 0.4, 0.52, 0.64, 0.76, 0.88]
    for entry, expected in zip(record, progress):
        assert entry[2]["networks"] == pytest.approx(5e-3 * 0.1**expected)


def test_stopping_by_hand_leaves_the_checkpoint_of_the_last_step(data, tmp_path, record, monkeypatch):
    save = BudgetTrainer.train_iteration

    def stop(self, step):
        self.stop_training = step == 2  # As nerfstudio's viewer and Trainer.shutdown do.
        return save(self, step)

    monkeypatch.setattr(BudgetTrainer, "train_iteration", stop)
    assert checkpoint(run(data, tmp_path, 100))["step"] == record[-1][0] == 2


def test_only_the_first_of_all_machines_saves(data, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module.comms, "is_main_process", lambda: False)
    config = run(data, tmp_path, 3)
    assert config.is_file() and not list(tmp_path.rglob("*.ckpt"))


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(data, tmp_path, monkeypatch):
    save = torch.save

    def disk_is_full(content: Dict[str, Any], path: Path) -> None:
        save(content, path)
        if content["step"] == 6:
            with path.open("r+b") as file:
                file.truncate(1000)
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 640 vs 598\nsome frames")

    monkeypatch.setattr(torch, "save", disk_is_full)
    with pytest.raises(UserError, match=r"^no checkpoint of step 6 can be written .*598\), so .* --load-dir\.$"):
        run(data, tmp_path, 8, steps_per_save=3)
    (config,) = tmp_path.rglob("config.yml")
    assert checkpoint(config)["step"] == 3
    assert not list(tmp_path.rglob(".unfinished"))


def test_an_optimiser_that_cannot_read_the_rows_is_refused(data, tmp_path):
    config = tiny_config(data, tmp_path)
    config.optimizers["tables"]["optimizer"] = AdamOptimizerConfig()
    with pytest.raises(UserError, match="the optimiser of 'tables' is Adam, .* use BlendshapeTableAdam"):
        run_training(config)


def test_gradients_are_logged_and_clipped_as_those_of_any_parameter(data, tmp_path, monkeypatch):
    logged: List[Dict[str, Any]] = []
    train_iteration = BudgetTrainer.train_iteration

    def watch(self, step):
        outputs = train_iteration(self, step)
        logged.append(outputs[2])
        return outputs

    monkeypatch.setattr(BudgetTrainer, "train_iteration", watch)
    changes = {"pipeline.datamanager.dataparser.test_frames": 2, "max_num_iterations": 2, "log_gradients": True, **CALM}
    config = tiny_config(data, tmp_path, **changes)
    config.optimizers["tables"]["optimizer"].max_norm = 1e-5
    run_training(config)
    for metrics in logged:
        assert float(metrics["Gradients/field.encoding.table_gradients"]) == pytest.approx(1e-5, rel=0.2)


def test_a_run_leaves_a_record_of_what_it_took_and_a_resumed_one_adds_to_it(data, tmp_path, record):
    first = run(data, tmp_path / "first", 5, **{"machine.seed": 7})
    earlier = load_training_record(first.parent)
    assert earlier is not None and earlier["steps"] == 5 and earlier["seed"] == 7 and earlier["device"] == "cpu"
    assert earlier["method"] == "nerfblendshape-head-small" and earlier["gpu_memory_mb"] is None
    assert 100 < earlier["host_memory_mb"] < 50_000 and earlier["versions"]["torch"] == torch.__version__
    later = load_training_record(run(data, tmp_path / "second", 3, load_dir=checkpoints(first)).parent)
    assert later is not None and later["steps"] == 8
    assert later["cpu_minutes"] > earlier["cpu_minutes"] > 0 and later["minutes"] > earlier["minutes"] > 0


def test_a_run_tells_from_its_start_which_frames_it_may_see(data, tmp_path, monkeypatch):
    def die(self, step):
        raise MemoryError  # Long before the first checkpoint.

    monkeypatch.setattr(BudgetTrainer, "train_iteration", die)
    with pytest.raises(MemoryError):
        run(data, tmp_path, 5)
    (path,) = tmp_path.rglob("split.json")
    assert (path.parent / "config.yml").exists()
    expected = {"protocol": "last2", "train": [0, 1, 2, 3], "val": [4, 5], "test": [6, 7]}
    assert json.loads(path.read_text()) == expected


def test_a_run_is_resumed_on_its_own_frames_alone(data, tmp_path, monkeypatch):
    basis = {"pipeline.datamanager.dataparser.basis": "all"}
    first = run(data, tmp_path / "first", 2, **basis)
    # Another test split of the same size.
    monkeypatch.setattr(Clip, "held_out", property(lambda self: [0, 1]))
    parser = "pipeline.datamanager.dataparser."
    changes = {f"{parser}protocol": "radnerf", f"{parser}test_frames": None}
    with pytest.raises(UserError, match="trained on other frames than .* gives with the protocol radnerf; resume"):
        run(data, tmp_path / "second", 2, load_dir=checkpoints(first), **basis, **changes)


def test_ns_eval_refuses_frames_that_were_trained_on(data, tmp_path):
    """The clip is prepared anew between training and test: the run's numbers stand for other frames."""
    clip = tmp_path / "clip"
    shutil.copytree(data, clip)
    config_path = run(clip, tmp_path / "runs", 2, **{"pipeline.datamanager.dataparser.basis": "all"})
    _, pipeline, _, _ = eval_setup(config_path)
    assert pipeline.get_average_eval_image_metrics(get_std=True)["psnr"] > 0
    transforms = json.loads((clip / "transforms.json").read_text())
    numbers = [frame["img_id"] for frame in transforms["frames"]]
    for frame, number in zip(transforms["frames"], numbers[::-1]):
        frame["img_id"] = number
    (clip / "transforms.json").write_text(json.dumps(transforms))
    np.save(clip / "expr.npy", np.load(clip / "expr.npy")[::-1])
    _, pipeline, _, _ = eval_setup(config_path)
    with pytest.raises(UserError, match=r"^the run was trained on another dataset than .*clip is now \(the head poses"):
        pipeline.get_average_eval_image_metrics(get_std=True)


def test_poses_are_corrected_once_in_each_round(data, tmp_path, monkeypatch):
    """When so much of the training is done, but not in its first steps; not where it is turned off."""
    steps: List[int] = []

    def correct(model: Any, dataset: Any) -> str:
        assert len(dataset) == model.num_train_data
        steps.append(model.step)
        model.conditioning.correction.correct(model.conditioning.correction.own)
        return "corrected"

    monkeypatch.setattr(trainer_module, "correct_poses", correct)
    monkeypatch.setattr(trainer_module, "FIRST_STEP", 3)
    short = {f"optimizers.{name}.scheduler.max_steps": 10 for name in ("tables", "networks")}
    changes = {**CALM, **short, "max_num_iterations": 8}
    run_training(tiny_config(data, tmp_path / "on", **changes))
    assert steps == [3, 4], "15 % would be step 2, 30 % is step 3"
    run_training(tiny_config(data, tmp_path / "off", **changes, **{"pipeline.model.pose_correction": False}))
    assert len(steps) == 2
