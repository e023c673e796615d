"""What head and torso share: a clip's expressions, and rendering a camera with a driving state."""

from __future__ import annotations

from typing import Any, Dict, Optional

import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.models.base_model import Model
from torch import Tensor

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState, ExpressionSource
from nerfblendshape_ns.model_components.losses import PatchLoss, color_difference
from nerfblendshape_ns.model_components.metrics.image_metrics import psnr
from nerfblendshape_ns.model_components.rendering.crop import crop_background


class ExpressionModel(Model):
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
        self._driven: Any = None
        self.field: Any
        self.patch_loss: PatchLoss

    def frames(
        self,
        expression: Float[Tensor, "frames basis"],
        captured: Optional[Float[Tensor, "frames 12"]] = None,
        ray_frame: Optional[Tensor] = None,
        train_frame: Optional[Tensor] = None,
    ) -> Any:
        """Prepare a few frames for their rays.

        Args:
            expression: raw coefficients, already clamped.
            captured: head poses (camera-to-head, row by row); None takes the clip's middle one.
            ray_frame: ``[rays]`` int32, the row of ``expression`` that a ray belongs to; None where there is one row.
            train_frame: ``[frames]`` training frames whose appearance codes apply; None takes the mean code.
        """
        raise NotImplementedError

    def drive(self, state: DrivingState) -> Any:
        """Prepare one driving state for the rays of a picture."""
        captured = None if state.head_pose is None else state.head_pose[None].to(self.device)
        return self.frames(state.expression[None].to(self.device), captured, None, self.train_frame_of(state))

    def frames_of(self, ray_bundle: RayBundle) -> Any:
        """The frames of a bundle: the driven one, those that its metadata names, or those of a training batch.

        Gradients reach an ``expression`` in the metadata, in evaluation too.
        """
        if self._driven is not None:
            return self._driven
        source, metadata = self.expression_source, ray_bundle.metadata
        if "expression" in metadata:
            rays = ray_bundle.origins[..., 0].numel()
            rows = source.clamp(metadata["expression"].reshape(rays, -1))
            basis = rows.shape[1]
            if "head_pose" in metadata:
                rows = torch.cat([rows, metadata["head_pose"].reshape(rays, 12)], dim=-1)
            _, ray_frame, counts = torch.unique_consecutive(
                rows.detach(), return_inverse=True, return_counts=True, dim=0
            )
            rows = rows[counts.cumsum(0) - counts]  # The first of each: unlike unique rows they pass gradients on.
            captured = rows[:, basis:] if rows.shape[1] > basis else None
            return self.frames(rows[:, :basis], captured, ray_frame.int() if len(rows) > 1 else None)
        if self.training and ray_bundle.camera_indices is not None:
            frames, ray_frame = torch.unique_consecutive(ray_bundle.camera_indices.flatten(), return_inverse=True)
            places = source.train_frames[frames]
            expression = source.clamp(source.track_expression[places])
            several = ray_frame.int() if len(frames) > 1 else None
            return self.frames(expression, source.track_pose[places], several, frames)
        return self.drive(source.neutral())

    def ray_target(self, outputs: Dict[str, Tensor], batch: Dict[str, Tensor]) -> Float[Tensor, "rays 3"]:
        """Truth of a batch's rays over the background that the prediction was rendered on."""
        raise NotImplementedError

    def get_metrics_dict(self, outputs: Dict[str, Tensor], batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """PSNR of the sampled rays; evaluation rays hold the raw frame, so they composite too."""
        with torch.no_grad():
            return {"psnr": torch.tensor(psnr(outputs["rgb"], self.ray_target(outputs, batch)))}

    def picture_losses(self, prediction: Tensor, target: Tensor, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """Weighted losses of the whole picture: colour, patches where there are any, appearance codes.

        Args:
            prediction: ``[rays, 3]``.
            target: ``[rays, 3]``.
            batch: says where the patches are.
        """
        config: Any = self.config
        difference = color_difference(prediction, target, config.color_loss, config.huber_delta)
        losses = {"color_loss": config.color_loss_weight * difference}
        patch = self.patch_loss.of_batch(prediction, target, batch)
        if patch is not None:
            losses["perceptual_loss"] = patch * config.perceptual_weight
        codes = self.field.frame_codes
        if self.training and codes is not None:
            losses["frame_code_loss"] = codes.weight.square().mean() * config.frame_code_loss_weight
        return losses

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
            obb_box: only what this box holds is seen. A background colour that nerfstudio gives with it goes before the
                state's.
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
        return outputs if crop_background() is not None else state.over_background(outputs, outputs["background"])
