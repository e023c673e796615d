"""nerfstudio's trainer with a wall-clock budget."""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Literal, Optional, Tuple, Type, cast

import torch
import torch.distributed as dist
import yaml
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackLocation
from nerfstudio.engine.optimizers import Optimizers
from nerfstudio.engine.trainer import TRAIN_INTERATION_OUTPUT, Trainer, TrainerConfig
from nerfstudio.utils import comms
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from nerfblendshape_ns.common.console import say
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import remove_temporaries, room_needed, save_json, save_text
from nerfblendshape_ns.common.frame_numbers import name_frames
from nerfblendshape_ns.common.output_folders import UNFINISHED
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset
from nerfblendshape_ns.data.splits import SPLIT_FILE
from nerfblendshape_ns.engine.pose_rounds import FIRST_STEP, ROUNDS, correct_poses
from nerfblendshape_ns.engine.schedules import ProgressDecay
from nerfblendshape_ns.engine.start_report import start_report
from nerfblendshape_ns.engine.table_optimizer import BlendshapeTableAdam
from nerfblendshape_ns.engine.training_record import TrainingClock, load_training_record, save_training_record
from nerfblendshape_ns.field_components.table_gradients import TableGradients, several_processes
from nerfblendshape_ns.model_components.losses import prepare_patch_loss
from nerfblendshape_ns.models.head import HeadModel
from nerfblendshape_ns.models.rebuild import find_checkpoint, read_checkpoint
from nerfblendshape_ns.models.unseen_frames import check_same_training_frames

LOSSES_AT_ONCE = 16
"""Steps whose losses are read together: reading waits for the device."""


@dataclass
class BudgetTrainerConfig(TrainerConfig):
    """Trainer settings, with a limit in minutes beside the one in steps."""

    _target: Type = field(default_factory=lambda: BudgetTrainer)
    max_minutes: Optional[float] = None
    """Stop cleanly (checkpoint saved, learning rates fully decayed) after this many minutes of training. A resumed run
    has as many minutes again, over which its learning rates decay further."""

    def print_to_terminal(self) -> None:
        """Print nothing: nerfstudio's 200 lines are in ``config.yml``, whose path :meth:`save_config` prints."""

    def save_config(self) -> None:
        """Write ``config.yml``, whole or not at all.

        Raises:
            UserError: the run's folder has checkpoints already, and none of them is resumed.
        """
        path, folder = self.get_base_dir() / "config.yml", self.get_checkpoint_dir()
        resumed = self.load_dir or self.load_checkpoint
        goes_on = resumed is not None and resumed.resolve().is_relative_to(path.parent.resolve())
        if any(folder.glob("step-*.ckpt")) and not goes_on:
            raise UserError(
                f"{folder} holds the checkpoints of a training, which this one would delete; go on from them with "
                "--load-dir, or give another --timestamp (--load-config takes it from its file alone: give a copy in "
                "which it is another)."
            )
        save_text(path, yaml.dump(self))
        CONSOLE.log(f"Saving config to: {path}")


class BudgetTrainer(Trainer):
    """Ends training when ``max_minutes`` have passed; everything else is nerfstudio's trainer.

    Checkpoints carry the number of the last step that was trained, however training ended: a resumed run continues
    with the next batch and learning rates. With each comes a record of what the run took and ran on
    (``training.json``); which frames train, validate and test is written at the start (``split.json``).
    """

    config: BudgetTrainerConfig

    def setup(self, test_mode: Literal["test", "val", "inference"] = "val") -> None:
        """Set up as nerfstudio does and install the clock.

        Raises:
            UserError: the budget is no time, the patch loss's weights are unavailable, or the run to resume was trained
                on other frames.
        """
        minutes = self.config.max_minutes
        if minutes is not None and not minutes > 0:
            raise UserError(f"--max-minutes is {minutes:g} but must be above 0; leave it out to train all steps.")
        self._prepare_patch_loss()
        if not sys.stdout.isatty():  # nerfstudio redraws its last ten rows with every new one; a file would hold all.
            self.config.logging.local_writer.max_log_size = 0
        with room_needed(self.base_dir):
            super().setup(test_mode)
        if self._start_step > 0:
            check_same_training_frames(self.pipeline.model, self._train_metadata)
        self._trained_step = self._start_step - 1
        self._started: Optional[float] = None
        self._losses: List[Tensor] = []
        if minutes is not None:
            for decay, step in self._decays():
                decay.start_budget(step)
            self.callbacks.append(
                TrainingCallback([TrainingCallbackLocation.BEFORE_TRAIN_ITERATION], self._watch_budget)
            )

    def _prepare_patch_loss(self) -> None:
        """Fetch the weights that the patch loss needs, in one process per machine, before data are read."""
        model: Any = self.config.pipeline.model
        datamanager: Any = self.config.pipeline.datamanager
        uses_patches = datamanager.patch_size > 1 and datamanager.num_patches > 0
        if uses_patches and self.local_rank == 0:
            prepare_patch_loss(model.perceptual_loss, datamanager.patch_size)
        if several_processes():
            dist.barrier()

    def _load_checkpoint(self) -> None:
        """As nerfstudio does, from the folder of a run too.

        Raises:
            UserError: there is no checkpoint, or none of this package that can be read.
        """
        config = self.config
        run = config.load_dir or config.load_checkpoint
        if run is not None:
            if config.load_dir is not None and config.load_step is not None:
                run = find_checkpoint(run).with_name(f"step-{config.load_step:09d}.ckpt")
            config.load_dir, config.load_checkpoint = None, read_checkpoint(run).path
        super()._load_checkpoint()

    def setup_optimizers(self) -> Optimizers:
        """The optimisers of the config.

        Raises:
            UserError: the tables' gradient rows are given to an optimiser that cannot read them.
        """
        optimizers = super().setup_optimizers()
        for name, parameters in optimizers.parameters.items():
            rows = any(isinstance(parameter, TableGradients) for parameter in parameters)
            if rows and not isinstance(optimizers.optimizers[name], BlendshapeTableAdam):
                raise UserError(
                    f"the optimiser of {name!r} is {type(optimizers.optimizers[name]).__name__}, which cannot read one "
                    "gradient row per frame; use BlendshapeTableAdam."
                )
        return optimizers

    def train_iteration(self, step: int) -> TRAIN_INTERATION_OUTPUT:
        """One step, as nerfstudio trains it.

        Raises:
            UserError: the loss of one of the last steps is not finite.
        """
        outputs = super().train_iteration(step)
        self._trained_step = step
        self._losses.append(outputs[0].detach())
        if len(self._losses) == LOSSES_AT_ONCE:
            self._check_losses()
        return outputs

    def _check_losses(self) -> None:
        """Read the losses since the last time; one that is not finite has spoilt the weights, and ends the training."""
        if not self._losses:
            return
        values = torch.stack(self._losses)
        self._losses.clear()
        if several_processes():
            dist.all_reduce(values)  # All end with the one whose loss it is.
        for step, value in enumerate(values.tolist(), self._trained_step + 1 - len(values)):
            if not math.isfinite(value):
                raise UserError(
                    f"the loss of {self._frames_of_step(step)} in step {step} is not finite, so the training ends; "
                    "what it saved is from before. Look the data over with nbs-check, or train again with lower "
                    "learning rates (--optimizers.tables.optimizer.lr, --optimizers.networks.optimizer.lr)."
                )

    def _frames_of_step(self, step: int) -> str:
        """Names of the training frames of a step, in all processes."""
        datamanager: Any = self.pipeline.datamanager
        frames = datamanager.train_frames(step)
        if several_processes():
            everyone: List[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(everyone, frames)
            frames = sum(everyone, [])
        return name_frames([self._train_metadata["img_ids"][index] for index in sorted(set(frames))])

    def _after_train(self) -> None:
        # nerfstudio counts a step that it finds itself stopped in; a resumed run would leave out that step's batch.
        self.step = max(0, self._trained_step)
        super()._after_train()

    def train(self) -> None:
        """Say what this training uses and write which frames it may see, then train."""
        if self.local_rank == 0:
            remove_temporaries(self.base_dir)  # Of a training that was killed.
            pipeline: Any = self.pipeline
            say(CONSOLE, start_report(pipeline.model, pipeline.datamanager))
            save_json(self.base_dir / SPLIT_FILE, self._train_metadata["splits"])
        if isinstance(self._model, HeadModel) and self._model.config.pose_correction:
            self.callbacks.append(
                TrainingCallback([TrainingCallbackLocation.BEFORE_TRAIN_ITERATION], self._correct_poses)
            )
        self._clock = TrainingClock(self._earlier_record())
        with room_needed(self.base_dir):
            super().train()

    def save_checkpoint(self, step: int) -> None:
        """Save as nerfstudio does, but whole or not at all, and what the run has taken so far.

        Raises:
            UserError: the loss of one of the last steps is not finite, or the checkpoint cannot be written.
        """
        self._check_losses()
        if comms.is_main_process():  # As nerfstudio decides it: of all machines.
            self._save_whole(step)
            save_training_record(self.base_dir, self.config, step + 1, self._clock)

    def _save_whole(self, step: int) -> None:
        """Let nerfstudio save elsewhere in the run, where nobody looks for checkpoints, then move the file."""
        folder, work, name = self.checkpoint_dir, self.base_dir / UNFINISHED, f"step-{step:09d}.ckpt"
        self.checkpoint_dir = work
        try:
            super().save_checkpoint(step)
            folder.mkdir(parents=True, exist_ok=True)
            os.replace(work / name, folder / name)
        except torch.cuda.OutOfMemoryError:
            raise
        except (OSError, RuntimeError) as error:  # torch tells of a full disk by the latter.
            reason = (str(error) or type(error).__name__).splitlines()[0]
            before = ", and resume it from the checkpoint that is there with --load-dir" * any(folder.glob("*.ckpt"))
            raise UserError(
                f"no checkpoint of step {step} can be written to {folder} ({reason}), so the training ends; make "
                f"room{before}."
            ) from error
        finally:
            self.checkpoint_dir = folder
            shutil.rmtree(work, ignore_errors=True)
        if self.config.save_only_latest_checkpoint:
            for other in folder.glob("step-*.ckpt"):
                if other.name != name:
                    other.unlink()

    @property
    def _model(self) -> Any:
        return self.pipeline.model

    @property
    def _train_metadata(self) -> Dict[str, Any]:
        return self.pipeline.datamanager.train_dataset.metadata  # type: ignore[union-attr]

    def _earlier_record(self) -> Optional[Dict[str, Any]]:
        """Of the run that this one resumes."""
        checkpoint = self.config.load_checkpoint
        return None if checkpoint is None else load_training_record(checkpoint.resolve().parents[1])

    def _correct_poses(self, step: int) -> None:
        """Fit the training frames' poses when the training has come so far."""
        progress = max((decay.progress(step) for decay, _ in self._decays()), default=0.0)
        due = sum(progress >= start for start in ROUNDS)
        if step >= FIRST_STEP and self._model.conditioning.correction.done < due:
            dataset = cast(NerfBlendshapeDataset, self.pipeline.datamanager.train_dataset)
            say(CONSOLE, correct_poses(self._model, dataset))

    def _watch_budget(self, step: int) -> None:
        """Report the spent budget to the schedules; stop after the step that begins when all of it is."""
        fraction = self._spent_fraction()
        for decay, _ in self._decays():
            decay.spend_budget(min(1.0, fraction))
        if fraction >= 1.0 and not self.stop_training:
            say(CONSOLE, f"The budget of {self.config.max_minutes:g} minutes is spent; stopping after step {step}.")
            self.stop_training = True

    def _spent_fraction(self) -> float:
        """Fraction of the budget that is spent; all processes take that of the first one."""
        assert self.config.max_minutes is not None
        now = time.monotonic()
        if self._started is None:
            self._started = now
        fraction = (now - self._started) / (60.0 * self.config.max_minutes)
        if several_processes():
            shared = torch.tensor(fraction, dtype=torch.float64, device=self.device)
            dist.broadcast(shared, src=0)
            fraction = float(shared)
        return fraction

    def _decays(self) -> Iterator[Tuple[ProgressDecay, int]]:
        """The learning rates' decays, each with the steps that its schedule has taken."""
        for scheduler in self.optimizers.schedulers.values():
            for decay in getattr(scheduler, "lr_lambdas", []):
                if isinstance(decay, ProgressDecay):
                    yield decay, scheduler.last_epoch
