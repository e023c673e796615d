"""Learning-rate decay that also follows a wall-clock budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Type

from nerfstudio.engine.schedulers import Scheduler, SchedulerConfig
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class ProgressDecay:
    """Exponential decay over the progress of training, after a short linear warm-up.

    Progress is the larger of ``step / max_steps`` and the progress through a wall-clock budget, so that a run that its
    budget ends has decayed as far as one that its steps end. A resumed run continues from the progress of the run that
    it resumes, with a budget of its own or without: ``LambdaLR`` keeps the attributes of an object in the checkpoint.
    """

    # Not among those attributes: the settings of the command that resumes a run count.
    __slots__ = ("final_ratio", "max_steps", "warmup_steps", "__dict__")

    def __init__(self, final_ratio: float, max_steps: int, warmup_steps: int) -> None:
        self.final_ratio = final_ratio
        self.max_steps = max_steps
        self.warmup_steps = warmup_steps
        self.budget_start = 0.0
        self.budget_progress = 0.0

    def progress(self, step: int) -> float:
        """Progress at ``step``, from 0 to 1."""
        return min(1.0, max(step / max(1, self.max_steps), self.budget_progress))

    def start_budget(self, step: int) -> None:
        """Begin a wall-clock budget at ``step``; it leads from the progress made so far to 1."""
        self.budget_start = self.budget_progress = self.progress(step)

    def spend_budget(self, fraction: float) -> None:
        """Follow a budget of which ``fraction``, from 0 to 1, is spent."""
        self.budget_progress = self.budget_start + (1.0 - self.budget_start) * fraction

    def __call__(self, step: int) -> float:
        """Factor on the initial learning rate at ``step``."""
        warmup = min(1.0, (step + 1) / (self.warmup_steps + 1))
        return warmup * self.final_ratio ** self.progress(step)


@dataclass
class ProgressDecaySchedulerConfig(SchedulerConfig):
    """Exponential decay by progress in steps or in the wall-clock budget, whichever is further."""

    _target: Type = field(default_factory=lambda: ProgressDecayScheduler)
    final_ratio: float = 0.1
    """Learning rate at the end, relative to the start."""
    max_steps: int = 10000
    """Steps over which the rate decays."""
    warmup_steps: int = 0
    """Steps of linear warm-up."""


class ProgressDecayScheduler(Scheduler):
    """Builds the scheduler of :class:`ProgressDecaySchedulerConfig`."""

    config: ProgressDecaySchedulerConfig

    def get_scheduler(self, optimizer: Optimizer, lr_init: float) -> LambdaLR:  # type: ignore[override]
        """A :class:`LambdaLR` over :class:`ProgressDecay`."""
        decay = ProgressDecay(self.config.final_ratio, self.config.max_steps, self.config.warmup_steps)
        return LambdaLR(optimizer, lr_lambda=decay)
