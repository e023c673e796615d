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
    decay.budget_share = 0.5
    assert decay(0) == pytest.approx(0.1**0.5)
    assert decay(100) == pytest.approx(0.1)


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
    torch.save(scheduler.state_dict(), tmp_path / "scheduler.pt")
    other = config.setup().get_scheduler(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), 1.0)
    other.load_state_dict(torch.load(tmp_path / "scheduler.pt", weights_only=True))
    assert other.last_epoch == 5
    assert other.lr_lambdas[0].max_steps == 10
