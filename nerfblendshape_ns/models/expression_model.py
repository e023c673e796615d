"""What head and torso share: options, a clip's expressions, and rendering a camera with a driving state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Callable, ClassVar, Dict, Generic, List, Literal, Optional, Type, TypeVar, cast

import torch
from jaxtyping import Float, Int
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor
from torch.nn.functional import mse_loss

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.pinhole_rays import image_rays
from nerfblendshape_ns.fields.networks import AvatarField, adopt_implementation
from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState, ExpressionSource
from nerfblendshape_ns.model_components.losses import (
    ColorKind,
    PatchLoss,
    PerceptualKind,
    color_difference,
    truth_where_seen,
)
from nerfblendshape_ns.model_components.rendering.crop import crop_background
from nerfblendshape_ns.models.architecture import Architecture, architecture_of, check_options
from nerfblendshape_ns.models.description import FORMAT, check_description, check_format, clip_description
from nerfblendshape_ns.ops.hash_grid import HashGridLayout

Frames = TypeVar("Frames")
"""What a model prepares of a few frames for their rays."""


@dataclass
class ExpressionModelConfig(Architecture, ModelConfig):
    """Options of head and torso alike."""

    enable_collider: bool = False
    """Required by nerfstudio; rays are cut by the occupancy grid and meet a plane."""
    collider_params: Optional[Dict[str, float]] = None
    """Required by nerfstudio."""
    eval_num_rays_per_chunk: int = 16384
    """Rays rendered at once outside training."""
    color_loss: ColorKind = "mse"
    """Colour difference of all rays."""
    color_loss_weight: float = 10.0
    """Weight of the colour loss."""
    perceptual_loss: PerceptualKind = "none"
    """Loss on patches; needs patches from the datamanager (``num_patches``)."""
    perceptual_weight: float = 0.1
    """Weight of the patch loss."""


class ExpressionModel(Model, ABC, Generic[Frames]):
    """A model whose images follow a :class:`DrivingState`.

    Args:
        config: settings.
        metadata: of the dataparser's outputs (see ``NerfBlendshapeDataParser``): names, ranges, track.
    """

    config: ExpressionModelConfig
    kind: ClassVar[Literal["head", "torso"]]
    """What the description calls the model."""
    architecture: ClassVar[Type[Architecture]]
    """Dataclass of the options that shape the model: those that checkpoints keep."""
    frame_code_weight: ClassVar[float]
    """Weight of the frame codes' mean square in the loss."""
    field: AvatarField
    layout: HashGridLayout

    def populate_modules(self) -> None:
        """Read the clip from the dataset's metadata.

        Raises:
            UserError: another dataparser gave it, for another kind of model, or an option is out of range.
        """
        super().populate_modules()
        metadata: Dict[str, Any] = self.kwargs.get("metadata") or {}
        if "expression_names" not in metadata:
            raise UserError(
                "nerfblendshape methods need the nerfblendshape-data dataparser (expressions for every frame); "
                "the chosen dataparser gives none."
            )
        wanted = {"head": "head", "torso": "frame"}[self.kind]
        if metadata.get("target", wanted) != wanted:
            raise UserError(
                f"a {self.kind} is trained with nerfblendshape-data --target {wanted}, not with --target "
                f"{metadata['target']}; leave the option out."
            )
        check_options(self.config, self.architecture)
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
        self.patch_loss = PatchLoss(self.config.perceptual_loss)
        self._driven: Optional[Frames] = None

    @property
    def largest_side(self) -> int:
        """Longer side of the images that the model is made for, in pixels; ``ns-render`` may divide them."""
        return max(int(side) for side in self.metadata.get("undivided_size", self.metadata["image_size"]))

    def description(self) -> Dict[str, Any]:
        """What this run is, as plain data, so that it can be rebuilt from its checkpoint alone."""
        built = {"max_resolution": self.layout.max_resolution, "implementation": self.field.implementation}
        return {
            "format": FORMAT,
            "kind": self.kind,
            "architecture": {**architecture_of(self.config, self.architecture), **built},
            "num_frames": int(self.num_train_data),
            **clip_description(self.metadata, self.expression_source, self.aabb),
        }

    def get_extra_state(self) -> Dict[str, Any]:
        """The description, which checkpoints hold."""
        return self.description()

    def set_extra_state(self, state: Dict[str, Any]) -> None:
        """Refuse a checkpoint of another basis or architecture.

        Raises:
            UserError: it is one.
        """
        check_format(state)
        adopt_implementation(self.field, state["architecture"]["implementation"], self.training)
        check_description(state, self.description())

    @abstractmethod
    def turn_ends(self) -> Float[Tensor, "2 3"]:
        """How far training frames turn the head, see :meth:`HeadPoseCode.turn_ends`; known without the clip too."""

    @abstractmethod
    def frames(
        self,
        expression: Float[Tensor, "frames basis"],
        captured: Optional[Float[Tensor, "frames 12"]] = None,
        ray_frame: Optional[Tensor] = None,
        train_frame: Optional[Tensor] = None,
    ) -> Frames:
        """Prepare a few frames for their rays.

        Args:
            expression: raw coefficients, already clamped.
            captured: head poses (camera-to-head, row by row); None takes the clip's middle one.
            ray_frame: ``[rays]`` int32, the row of ``expression`` that a ray belongs to; None where there is one row.
            train_frame: ``[frames]`` training frames whose appearance codes apply; None takes the mean code.
        """

    def drive(self, state: DrivingState) -> Frames:
        """Prepare one driving state for the rays of an image."""
        captured = None if state.head_pose is None else state.head_pose[None].to(self.device)
        train_frame = None if state.train_frame is None else torch.tensor([state.train_frame], device=self.device)
        return self.frames(state.expression[None].to(self.device), captured, None, train_frame)

    def frames_of(self, ray_bundle: RayBundle) -> Frames:
        """The frames of a bundle: the driven one, those that its metadata names, or those of a training batch, whose
        metadata say how many rays each has (see ``NerfBlendshapeDataManager``).

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
            cameras = ray_bundle.camera_indices.flatten()
            counts, ray_frame = metadata.get("frame_counts", ()), metadata.get("ray_frame")
            if sum(counts) != len(cameras) or ray_frame is None:  # Another datamanager's, or a part of a bundle.
                _, ray_frame, found = torch.unique_consecutive(cameras, return_inverse=True, return_counts=True)
                counts = found.tolist()
            firsts = [last - count for last, count in zip(accumulate(counts), counts)]
            frames = torch.cat([cameras[first : first + 1] for first in firsts])
            return self.training_frames(frames, ray_frame.flatten().int() if len(counts) > 1 else None)
        return self.drive(source.neutral())

    def training_frames(self, frames: Int[Tensor, "frames"], ray_frame: Optional[Int[Tensor, "rays"]]) -> Frames:
        """Prepare training frames for their rays.

        Args:
            frames: their indices.
            ray_frame: see :meth:`frames`.
        """
        source = self.expression_source
        position = source.train_frames[frames]
        expression = source.clamp(source.track_expression[position])
        return self.frames(expression, source.track_pose[position], ray_frame, frames)

    def behind(self, rays: int, own: Callable[[], Float[Tensor, "rays 3"]]) -> Float[Tensor, "rays 3"]:
        """What is behind the model: in images ``own``, unless nerfstudio asks for a colour behind a crop box; in
        training a colour that changes every step, which nothing can learn to show."""
        color = torch.rand(1, 3, device=self.device) if self.training else crop_background()
        return own() if color is None else color.to(self.aabb).expand(rays, 3)

    @abstractmethod
    def ray_target(self, outputs: Dict[str, Tensor], batch: Dict[str, Tensor]) -> Float[Tensor, "rays 3"]:
        """Truth of a batch's rays over the background that the prediction was rendered on."""

    def get_metrics_dict(self, outputs: Dict[str, Tensor], batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """PSNR of the sampled rays; evaluation rays hold the raw frame, so they composite too."""
        with torch.no_grad():
            rgb = outputs["rgb"]
            error = mse_loss(rgb, truth_where_seen(self.ray_target(outputs, batch), rgb, batch))
            return {"psnr": -10.0 * torch.log10(error.clamp_min(1e-10))}

    def image_losses(self, prediction: Tensor, target: Tensor, batch: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """Weighted losses of all rays: colour, patches where there are any, frame codes.

        Args:
            prediction: ``[rays, 3]``.
            target: ``[rays, 3]``.
            batch: says where the patches are, and where something is before the face.
        """
        config, target = self.config, truth_where_seen(target, prediction, batch)
        losses = {"color_loss": config.color_loss_weight * color_difference(prediction, target, config.color_loss)}
        patch = self.patch_loss.of_batch(prediction, target, batch)
        if patch is not None:
            losses["perceptual_loss"] = patch * config.perceptual_weight
        codes = self.field.frame_codes
        if self.training and codes is not None:
            losses["frame_code_loss"] = codes.weight.square().mean() * self.frame_code_weight
        return losses

    def get_rgba_image(self, outputs: Dict[str, Tensor], output_name: str = "rgb") -> Tensor:
        """What was rendered with its opacity as the fourth channel, free of the background."""
        if output_name != "rgb":
            return super().get_rgba_image(outputs, output_name)
        alpha = outputs["accumulation"]
        foreground = (outputs["rgb"] - (1.0 - alpha) * outputs["background"]) / alpha.clamp_min(1e-4)
        return torch.cat([foreground.clamp(0.0, 1.0), alpha], dim=-1)

    @torch.no_grad()
    def get_outputs_for_camera(self, camera: Cameras, obb_box: Optional[OrientedBox] = None) -> Dict[str, Tensor]:
        """Render a camera with the state that the expression source resolves for it."""
        return self.render_driven(camera, self.expression_source.resolve(camera), obb_box)

    @torch.no_grad()
    def get_outputs_for_camera_ray_bundle(self, camera_ray_bundle: RayBundle) -> Dict[str, Tensor]:
        """Render ``[height, width]`` rays in chunks, as nerfstudio does; one chunk is not copied."""
        chunk, shape = self.config.eval_num_rays_per_chunk, camera_ray_bundle.origins.shape[:2]
        rays = [
            camera_ray_bundle.get_row_major_sliced_ray_bundle(start, start + chunk)
            for start in range(0, len(camera_ray_bundle), chunk)
        ]
        parts = cast(List[Dict[str, Tensor]], [self.forward(some.to(self.device)) for some in rays])
        outputs = parts[0]
        if len(parts) > 1:
            outputs = {name: torch.cat([part[name] for part in parts]) for name in outputs}
        return {name: part.reshape(*shape, -1).to(camera_ray_bundle.origins.device) for name, part in outputs.items()}

    @torch.no_grad()
    def render_driven(
        self, camera: Cameras, state: DrivingState, obb_box: Optional[OrientedBox] = None
    ) -> Dict[str, Tensor]:
        """Render one camera with a given driving state.

        Args:
            camera: of shape ``[]`` or ``[1]``.
            state: expression, captured pose, frame code and background.
            obb_box: only what this box holds is seen. A background colour that nerfstudio gives with it overrides the
                state's.
        """
        rays = None if obb_box is not None else image_rays(camera, self.device)
        self._driven = self.drive(state)
        try:
            if rays is not None:
                outputs = self.get_outputs_for_camera_ray_bundle(rays)
            else:
                plain = camera.to(self.device)
                if plain.shape == ():
                    plain = plain.reshape((1,))
                plain.metadata = None  # Already resolved; nerfstudio would copy it to every ray.
                outputs = super().get_outputs_for_camera(plain, obb_box)
        finally:
            self._driven = None
        return outputs if crop_background() is not None else state.over_background(outputs, outputs["background"])
