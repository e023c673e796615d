"""nerfstudio's pipeline, which tests a model on unseen frames alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from nerfstudio.pipelines.base_pipeline import VanillaPipeline

from nerfblendshape_ns.models.unseen_frames import check_unseen_by_model


class AvatarPipeline(VanillaPipeline):
    """Everything is nerfstudio's, but for what is measured: ``ns-eval`` too refuses frames that were trained on."""

    def get_average_eval_image_metrics(
        self, step: Optional[int] = None, output_path: Optional[Path] = None, get_std: bool = False
    ) -> Any:
        """Means over the frames of the validation or test split.

        Raises:
            UserError: the model was trained on some of them, or on another dataset.
        """
        metadata = self.datamanager.eval_dataset.metadata  # type: ignore[union-attr]
        check_unseen_by_model(self.model, metadata["img_ids"], metadata)
        return super().get_average_eval_image_metrics(step, output_path, get_std)
