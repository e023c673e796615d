"""The decay follows steps or the budget, and survives a weights-only checkpoint."""

import pytest
import torch

import nerfblendshape_ns  # noqa: F401  registers the checkpoint globals
from nerfblendshape_ns.engine.schedules import ProgressDecay, ProgressDecaySchedulerConfig


def test_decay_by_steps():
    decay = ProgressDecay(final_ratio=0.1, max_steps=100, warmup_steps=0)
    assert decay(0) == pytest.approx(1.0)
    assert decay(50) == pytest.approx(0.1**0.5)
    assert decay(100) == decay(1000) == pytest.approx(0.1)


def test_decay_by_budget():
    decay = ProgressDecay(final_ratio=0.1, max_steps=100, warmup_steps=0)
    decay.start_budget(0)
    decay.spend_budget(0.5)
    assert decay(0) == pytest.approx(0.1**0.5)
    assert decay(100) == pytest.approx(0.1)


def test_a_second_budget_decays_from_where_the_first_ended():
    decay = ProgressDecay(final_ratio=0.1, max_steps=100, warmup_steps=0)
    decay.start_budget(0)
    decay.spend_budget(0.4)
    decay.start_budget(10)
    assert decay(10) == pytest.approx(0.1**0.4)
    decay.spend_budget(0.5)
    assert decay(10) == pytest.approx(0.1**0.7)
    decay.spend_budget(1.0)
    assert decay(10) == pytest.approx(0.1)


def test_a_budget_begun_at_a_step_decays_from_there():
    decay = ProgressDecay(final_ratio=0.1, max_steps=100, warmup_steps=0)
    decay.start_budget(50)
    assert decay(50) == pytest.approx(0.1**0.5)
    decay.spend_budget(0.5)
    assert decay(50) == pytest.approx(0.1**0.75)


def test_warmup():
    decay = ProgressDecay(final_ratio=1.0, max_steps=100, warmup_steps=9)
    assert decay(0) == pytest.approx(0.1)
    assert decay(9) == pytest.approx(1.0)


def test_checkpoint(tmp_path):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    config = ProgressDecaySchedulerConfig(final_ratio=0.01, max_steps=10)
    scheduler = config.setup().get_scheduler(optimizer, 1.0)
    for _ in range(5):
        optimizer.step()
        scheduler.step()
    scheduler.lr_lambdas[0].start_budget(5)
    torch.save(scheduler.state_dict(), tmp_path / "scheduler.pt")
    longer = ProgressDecaySchedulerConfig(final_ratio=0.01, max_steps=20, warmup_steps=3)
    other = longer.setup().get_scheduler(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), 1.0)
    other.load_state_dict(torch.load(tmp_path / "scheduler.pt", weights_only=True))
    assert other.last_epoch == 5
    decay = other.lr_lambdas[0]
    assert (decay.max_steps, decay.warmup_steps) == (20, 3), "what resumes the run says how long it is"
    assert decay.budget_progress == 0.5
    decay.__dict__.update(max_steps=10)  # As checkpoints of other versions hold it.
    assert decay.max_steps == 20 and decay(10) == pytest.approx(0.01**0.5)
