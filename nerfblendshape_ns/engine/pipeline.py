"""nerfstudio's pipeline with the expression controls in the viewer, tested on unseen frames only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional, cast

from nerfstudio.pipelines.base_pipeline import VanillaPipeline
from torch.nn.parallel import DistributedDataParallel

from nerfblendshape_ns.models.expression_model import ExpressionModel
from nerfblendshape_ns.models.unseen_frames import check_unseen_by_model
from nerfblendshape_ns.viewer.session import ExpressionViewerControl


class AvatarPipeline(VanillaPipeline):
    """nerfstudio's pipeline, whose model can be driven in the viewer and is never tested on training frames."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(self._model, DistributedDataParallel):
            # Replicas change their buffers in the same way: they have the same weights and draw with the same seeds.
            # Sending all of them in every step would be most of what travels.
            self._model.broadcast_buffers = False
        self.viewer_control = ExpressionViewerControl(cast(ExpressionModel, self.model))
        """Found by nerfstudio's viewer among the pipeline's attributes."""

    def get_average_eval_image_metrics(
        self, step: Optional[int] = None, output_path: Optional[Path] = None, get_std: bool = False
    ) -> Any:
        """Means over the frames of the validation or test split; ``ns-eval`` calls this too.

        Raises:
            UserError: the model was trained on some of them, or on another dataset.
        """
        metadata = self.datamanager.eval_dataset.metadata  # type: ignore[union-attr]
        check_unseen_by_model(self.model, metadata["img_ids"], metadata)
        return super().get_average_eval_image_metrics(step, output_path, get_std)
