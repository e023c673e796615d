"""What head and torso share: a clip's expressions, and rendering a camera with a driving state."""

from __future__ import annotations

from typing import Any, Dict, Optional

import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.models.base_model import Model
from torch import Tensor

from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.model_components.expression_source import DrivingState, ExpressionSource
from nerfblendshape_ns.viewer.control import ExpressionViewerControl


class DrivenModel(Model):
    """A model whose pictures follow a :class:`DrivingState`.

    Args:
        config: settings.
        metadata: of the dataparser's outputs (see ``NerfBlendshapeDataParser``): names, ranges, track.
    """

    def populate_modules(self) -> None:
        """Read what the dataset's description says of the clip.

        Raises:
            UserError: another dataparser gave it.
        """
        super().populate_modules()
        metadata: Dict[str, Any] = self.kwargs.get("metadata") or {}
        if "expression_names" not in metadata:
            raise UserError(
                "nerfblendshape methods need the nerfblendshape-data dataparser (expressions for every frame); "
                "the chosen dataparser gives none."
            )
        self.metadata = metadata
        self.expression_source = ExpressionSource(
            metadata["expression_names"],
            metadata["expression_min"],
            metadata["expression_max"],
            metadata["track"],
            metadata["train_frame_index"],
        )
        self.aabb: Tensor
        self.register_buffer("aabb", self.scene_box.aabb.float().clone())
        self.viewer_control = ExpressionViewerControl(self)
        self._driven: Any = None

    def drive(self, state: DrivingState) -> Any:
        """Prepare one driving state for the rays of a picture."""
        raise NotImplementedError

    def own_background(self, outputs: Dict[str, Tensor]) -> Float[Tensor, "*pixels 3"]:
        """The background that ``outputs["rgb"]`` was rendered over, broadcastable to it."""
        raise NotImplementedError

    def train_frame_of(self, state: DrivingState) -> Optional[Tensor]:
        """The state's training frame as an index; None where none applies."""
        return None if state.train_frame is None else torch.tensor([state.train_frame], device=self.device)

    @torch.no_grad()
    def get_outputs_for_camera(self, camera: Cameras, obb_box: Optional[OrientedBox] = None) -> Dict[str, Tensor]:
        """Render a camera with the state that the expression source resolves for it."""
        return self.render_driven(camera, self.expression_source.resolve(camera), obb_box)

    @torch.no_grad()
    def render_driven(
        self, camera: Cameras, state: DrivingState, obb_box: Optional[OrientedBox] = None
    ) -> Dict[str, Tensor]:
        """Render one camera with a given driving state.

        Args:
            camera: of shape ``[]`` or ``[1]``.
            state: expression, captured pose, frame code and background.
            obb_box: crops the rays, as in nerfstudio.
        """
        plain = camera.to(self.device)
        if plain.shape == ():
            plain = plain.reshape((1,))
        plain.metadata = None  # Already resolved; nerfstudio would copy it to every ray.
        self._driven = self.drive(state)
        try:
            outputs = super().get_outputs_for_camera(plain, obb_box)
        finally:
            self._driven = None
        return state.over_background(outputs, self.own_background(outputs))
