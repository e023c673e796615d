"""nerfstudio's trainer with a wall-clock budget."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal, Optional, Type

from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackLocation
from nerfstudio.engine.trainer import Trainer, TrainerConfig
from nerfstudio.utils.rich_utils import CONSOLE

from nerfblendshape_ns.console import say
from nerfblendshape_ns.engine.schedules import ProgressDecay


@dataclass
class BudgetTrainerConfig(TrainerConfig):
    """Trainer settings, with a limit in minutes beside the one in steps."""

    _target: Type = field(default_factory=lambda: BudgetTrainer)
    max_minutes: Optional[float] = None
    """Stop cleanly (checkpoint saved, learning rates fully decayed) after this many minutes of training."""


class BudgetTrainer(Trainer):
    """Ends training when ``max_minutes`` have passed; everything else is nerfstudio's trainer."""

    config: BudgetTrainerConfig

    def setup(self, test_mode: Literal["test", "val", "inference"] = "val") -> None:
        """Set up as nerfstudio does and install the clock."""
        super().setup(test_mode)
        self._set_budget_share(0.0)  # A resumed run brings the share that an earlier budget had spent.
        self._started: Optional[float] = None
        if self.config.max_minutes is not None:
            self.callbacks.append(
                TrainingCallback([TrainingCallbackLocation.BEFORE_TRAIN_ITERATION], self._watch_budget)
            )

    def _watch_budget(self, step: int) -> None:
        """Tell the schedules how much of the budget is spent; stop after the iteration that exceeds it."""
        assert self.config.max_minutes is not None
        now = time.monotonic()
        if self._started is None:
            self._started = now
        share = (now - self._started) / (60.0 * self.config.max_minutes)
        self._set_budget_share(min(1.0, share))
        if share >= 1.0 and not self.stop_training:
            say(CONSOLE, f"The budget of {self.config.max_minutes:g} minutes is spent after {step} steps; stopping.")
            self.stop_training = True

    def _set_budget_share(self, share: float) -> None:
        for scheduler in self.optimizers.schedulers.values():
            for decay in getattr(scheduler, "lr_lambdas", []):
                if isinstance(decay, ProgressDecay):
                    decay.budget_share = share
