"""What a training step of the head does besides rendering: schedules, random draws, losses worked out by hand."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from nerfstudio.engine.callbacks import TrainingCallbackAttributes, TrainingCallbackLocation
from tiny_head import bundle, make, metadata

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.fields import head_field
from nerfblendshape_ns.models import occupancy_callback
from nerfblendshape_ns.models.head import HeadModel

NO_PIPELINE = TrainingCallbackAttributes(None, None, None, None)


def call(model: HeadModel, where: TrainingCallbackLocation, step: int) -> None:
    for callback in model.get_training_callbacks(NO_PIPELINE):
        callback.run_callback_at_location(step, where)


def before(model: HeadModel, step: int) -> None:
    call(model, TrainingCallbackLocation.BEFORE_TRAIN_ITERATION, step)


def test_the_density_s_bound_follows_the_schedule_of_opacity():
    model = make()
    for step in (0, 300, 5000):
        before(model, step)
        assert model.field.max_density * model.occupancy.step_size == pytest.approx(
            head_field.largest_optical_depth(step)
        )


def test_the_occupancy_follows_after_its_warm_up_and_settles(monkeypatch):
    model, updates = make(occupancy_warmup=32, occupancy_interval=16, occupancy_settle=64), []
    monkeypatch.setattr(model.occupancy, "update", lambda density, settling, _: updates.append((step, settling)))
    for step in range(97):
        before(model, step)
    assert updates == [(32, True), (48, True), (64, False), (80, False), (96, False)]


def test_an_interval_of_no_steps_is_refused_before_training():
    with pytest.raises(UserError, match=r"^--pipeline.model.occupancy-interval is 0 but must be at least 1"):
        make(occupancy_interval=0)


def with_a_face() -> HeadModel:
    angles = torch.linspace(0, 2 * torch.pi, 469)[:468]
    mesh = torch.stack([0.4 * angles.sin(), torch.full((468,), -0.5), 0.4 * angles.cos()], -1)
    return make(metadata() | {"face_mesh": mesh}, occupancy_warmup=0)


@pytest.mark.parametrize(
    "kind", [with_a_face, lambda: make(occupancy_warmup=0, conditioning="code", frame_code_dim=4)], ids=["face", "code"]
)
def test_processes_that_draw_from_other_seeds_have_the_same_occupancy(kind):
    """Each of several processes has a seed of its own, and updates its own grid."""
    grids = []
    for seed in range(2):
        model = kind()
        model.occupancy.estimator.occs.zero_()
        torch.manual_seed(3)
        if model.field.frame_codes is not None:
            torch.nn.init.normal_(model.field.frame_codes.weight)
        torch.manual_seed(seed)
        before(model, 16)
        grids.append(model.occupancy.estimator.occs)
    assert bool((grids[0] > 0).any()) and torch.equal(*grids)


def test_the_start_of_training_names_the_frame_that_agrees_least(monkeypatch):
    model, said = make(), []
    dataset = SimpleNamespace(metadata={"img_ids": [3, 8, 9]})
    pipeline = SimpleNamespace(datamanager=SimpleNamespace(train_dataset=dataset))
    monkeypatch.setattr(model, "init_from_visual_hull", lambda dataset: torch.tensor([0.0, 0.25, 0.1]))
    monkeypatch.setattr(occupancy_callback, "say", lambda console, line: said.append(line))
    attributes = TrainingCallbackAttributes(None, None, cast(Any, pipeline), None)
    (callback,) = model.get_training_callbacks(attributes)
    for step in range(2):
        callback.run_callback_at_location(step, TrainingCallbackLocation.BEFORE_TRAIN_ITERATION)
    assert len(said) == 1 and "frame 8" in said[0] and "25.0%" in said[0]


def test_updates_ask_the_field_for_its_density(monkeypatch):
    """Cells where the field is empty are given up, those where it is dense are kept."""
    model = make(occupancy_warmup=0, occupancy_interval=1, expression_noise=0.0)
    model.occupancy.visits = 1 << 13
    before(model, 0)
    for step in range(1, 40):
        before(model, step)
    occupied = model.occupancy.estimator.binaries.flatten()
    assert 0.05 < float(occupied.float().mean()) <= 1.0
    monkeypatch.setattr(head_field, "DENSITY_BIAS", -30.0)
    for step in range(40, 80):
        before(model, step)
    assert not bool(model.occupancy.estimator.binaries.any())


def test_a_resumed_run_has_its_conditions_from_the_checkpoint():
    """Those of the dataset may have changed since."""
    moved = metadata()
    moved["track"]["expression"] = moved["track"]["expression"].flip(0)
    saved, model = make(), make(moved)
    assert not torch.equal(model.occupancy.train_expressions, saved.occupancy.train_expressions)
    model.load_state_dict(saved.state_dict())
    before(model, 0)
    torch.testing.assert_close(model.occupancy.train_expressions, saved.occupancy.train_expressions)
    source, frames = saved.expression_source, torch.tensor([2, 0])
    known = model.eval().training_frames(frames, None)
    anew = model.frames(source.clamp(source.track_expression[frames]), source.track_pose[frames], None, frames)
    torch.testing.assert_close(known.condition, anew.condition)
    torch.testing.assert_close(known.tables, anew.tables)


def test_each_step_has_a_random_background_and_shifted_samples():
    model, rays = make(expression_noise=0.0), bundle([1], rays_each=60)
    model.train()
    first, second = model.get_outputs(rays), model.get_outputs(rays)
    assert torch.equal(first["background"], first["background"][:1].expand(60, 3))  # One colour per step.
    assert not torch.allclose(first["background"], second["background"], atol=1e-3)
    assert float((first["accumulation"] - second["accumulation"]).detach().abs().max()) > 1e-4
    empty = first["accumulation"] < 1e-6
    color = first["rgb"] - (1 - first["accumulation"]) * first["background"]
    assert float(color.detach().min()) > -1e-5 and float(color.detach().max()) < 1.0 and not bool(empty.all())
    model.eval()
    with torch.no_grad():
        first, second = model.get_outputs(rays), model.get_outputs(rays)
    assert torch.equal(first["rgb"], second["rgb"]) and torch.equal(first["background"], torch.ones(60, 3))


def test_losses_by_hand():
    model = make(color_loss_weight=10.0, mask_loss_start=0.5, mask_loss_weight=0.1, mask_loss_warmup=100)
    background = torch.tensor([[0.2, 0.4, 0.6]])
    batch = {"image": torch.full((2, 3), 0.9), "alpha": torch.tensor([[1.0], [0.25]])}
    # The second ray's truth is a quarter of 0.9 over three quarters of the background.
    target = torch.tensor([[0.9] * 3, [0.225 + 0.15, 0.225 + 0.3, 0.225 + 0.45]])
    outputs = {"rgb": target + 0.1, "accumulation": torch.tensor([[0.8], [0.75]]), "background": background}
    for step, weight in ((0, 0.5), (50, 0.3), (100, 0.1), (900, 0.1)):
        before(model, step)
        losses = model.get_loss_dict(outputs, batch)
        assert float(losses["color_loss"]) == pytest.approx(10 * 0.01, rel=1e-4)
        assert float(losses["mask_loss"]) == pytest.approx(weight * (0.2 + 0.5) / 2, rel=1e-4)
    assert float(model.get_metrics_dict(outputs, batch)["psnr"]) == pytest.approx(20.0, abs=1e-3)
