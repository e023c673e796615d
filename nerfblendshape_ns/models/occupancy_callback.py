"""What a training does with a model's occupancy before each step."""

from __future__ import annotations

from typing import Callable, Optional, Union, cast

from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackLocation
from nerfstudio.pipelines.base_pipeline import Pipeline
from nerfstudio.utils.rich_utils import CONSOLE

from nerfblendshape_ns.common.console import say
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset
from nerfblendshape_ns.model_components.occupancy.expression_occupancy import ExpressionOccupancy
from nerfblendshape_ns.model_components.torso.torso_occupancy import TorsoOccupancy


def occupancy_callback(
    pipeline: Optional[Pipeline],
    occupancy: Union[ExpressionOccupancy, TorsoOccupancy],
    start: Callable[[NerfBlendshapeDataset], Optional[str]],
    update: Callable[[int], None],
) -> TrainingCallback:
    """Start the occupancy before the first step, unless a checkpoint holds it, and update it before every step.

    Args:
        pipeline: has the training frames; without one the occupancy stays as it is made.
        occupancy: of the model.
        start: starts it from the training frames; what it returns is said.
        update: takes the number of the step.
    """
    may_need_start = pipeline is not None

    def before(step: int) -> None:
        nonlocal may_need_start
        if may_need_start and pipeline is not None and not bool(occupancy.initialised):
            message = start(cast(NerfBlendshapeDataset, pipeline.datamanager.train_dataset))
            if message is not None:
                say(CONSOLE, message)
        may_need_start = False  # Asking the buffer again would wait for the device in each step.
        update(step)

    return TrainingCallback([TrainingCallbackLocation.BEFORE_TRAIN_ITERATION], before)
