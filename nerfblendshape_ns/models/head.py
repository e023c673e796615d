"""The head: a nerfstudio model that renders a face by its expression coefficients."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple, cast

import nerfacc
import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
from torch import Tensor, nn
from torch.nn import Parameter

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset
from nerfblendshape_ns.field_components.blendshape_encoding import principal_mixing
from nerfblendshape_ns.field_components.table_gradients import share_tables
from nerfblendshape_ns.fields.head_field import HeadField, frame_picks
from nerfblendshape_ns.fields.networks import adopt_implementation
from nerfblendshape_ns.model_components.conditioning.expression_region import ExpressionRegion
from nerfblendshape_ns.model_components.conditioning.face_motion import FaceMotion
from nerfblendshape_ns.model_components.conditioning.face_parts import FaceParts
from nerfblendshape_ns.model_components.conditioning.head_conditioning import FrameBatch, HeadConditioning
from nerfblendshape_ns.model_components.losses import PatchLoss, composite, warm_down
from nerfblendshape_ns.model_components.metrics.image_metrics import head_metrics
from nerfblendshape_ns.model_components.metrics.lpips import cached_lpips
from nerfblendshape_ns.model_components.occupancy.expression_occupancy import ExpressionOccupancy
from nerfblendshape_ns.model_components.occupancy.visual_hull import head_region
from nerfblendshape_ns.model_components.rendering.crop import crop_background, ray_spans
from nerfblendshape_ns.model_components.rendering.early_termination import render_in_rounds, visible_samples
from nerfblendshape_ns.model_components.rendering.view_range import ViewRange
from nerfblendshape_ns.models.description import check_description, check_format, head_description
from nerfblendshape_ns.models.expression_model import ExpressionModel
from nerfblendshape_ns.models.head_config import HeadModelConfig
from nerfblendshape_ns.ops import nerfacc_backend
from nerfblendshape_ns.ops.hash_grid import HashGridLayout

OPAQUE_STEP = 8.0
"""Largest optical depth of one marching step: 3e-4 of the light passes, and as much gradient."""


class Foreground(NamedTuple):
    """What rays meet before the background."""

    color: Float[Tensor, "rays 3"]
    """Premultiplied by the opacity."""
    alpha: Float[Tensor, "rays 1"]
    """Opacity."""
    depth: Float[Tensor, "rays 1"]
    """Distance along the ray times the opacity."""


class HeadModel(ExpressionModel):
    """NeRFBlendShape's head inside nerfstudio.

    Args:
        config: settings.
        metadata: of the dataparser's outputs (see ``NerfBlendshapeDataParser``): names, ranges, track, mesh.
    """

    config: HeadModelConfig

    def populate_modules(self) -> None:
        """Build field, occupancy and expression source from the dataset's description."""
        super().populate_modules()
        nerfacc_backend.install()
        config, metadata = self.config, self.metadata
        if config.conditioning == "code" and config.frame_code_dim < 1:
            raise UserError("--pipeline.model.conditioning code needs --pipeline.model.frame-code-dim above 0; set it.")
        aabb = self.scene_box.aabb.float()
        source = self.expression_source
        self.conditioning = self._conditioning(aabb)
        train_condition = self._train_condition(self.conditioning)
        pose, scale = train_condition[:, len(source.names) :], self.conditioning.scale
        image_size = max(int(side) for side in metadata["image_size"])
        self.layout = HashGridLayout(
            num_levels=config.num_levels,
            features_per_level=config.features_per_level,
            log2_table_size=config.log2_table_size,
            base_resolution=config.base_resolution,
            max_resolution=config.max_resolution or min(1024, 2 * image_size),
        )
        mixing = metadata.get("mixing")  # A rebuilt head keeps its directions; the tables belong to them.
        if mixing is None and config.basis_parametrisation == "principal" and config.conditioning == "blend":
            mixing = principal_mixing(
                self.conditioning.variants(train_condition),
                config.principal_explained,
                config.principal_max,
                config.principal_whitening,
            )
        self.view_range = ViewRange(source.track_pose[source.train_frames], aabb.mean(0))
        step_size = float((aabb[1] - aabb[0]).max()) / config.samples_per_box
        self.field = HeadField(
            self.layout,
            num_basis=train_condition.shape[1],
            num_frames=self.num_train_data,
            conditioning=config.conditioning,
            network_expression=config.network_expression,
            mixing=mixing,
            gradient_rows=config.tables_optimizer == "shared",
            hidden_dim=config.hidden_dim,
            density_layers=config.density_layers,
            color_layers=config.color_layers,
            geometry_dim=config.geometry_dim,
            frame_code_dim=config.frame_code_dim,
            density_bias=config.density_bias,
            max_density=OPAQUE_STEP / step_size,
            implementation=config.implementation,
        )
        if self.field.encoding.table_gradients is not None:
            # Read by DistributedDataParallel: the tables' gradient rows are gathered where they are made.
            ignored = [f"field.encoding.{name}" for name in ("mean", "bases", "table_gradients")]
            self._ddp_params_and_buffers_to_ignore = ignored
        self.occupancy = ExpressionOccupancy(
            aabb,
            config.occupancy_resolution,
            step_size=step_size,
            train_expressions=train_condition,
            minimum=torch.cat([source.minimum * scale, pose.amin(0)]),
            maximum=torch.cat([source.maximum * scale, pose.amax(0)]),
            visits=config.occupancy_visits,
        )
        self.camera_optimizer = config.camera_optimizer.setup(num_cameras=self.num_train_data, device="cpu")
        self.patch_loss = PatchLoss(config.perceptual_loss)
        self.step = 0

    def _conditioning(self, aabb: Tensor) -> HeadConditioning:
        config, source, mesh = self.config, self.expression_source, self.metadata.get("face_mesh")
        scale, train_pose = self.metadata["expression_scale"], source.track_pose[source.train_frames]
        train_expression = source.clamp(source.train_expression()) * scale
        blended = config.conditioning == "blend"
        moves = config.face_motion and blended
        conditioning = HeadConditioning(
            scale,
            train_pose,
            config.head_pose_scale,
            noise=config.expression_noise,
            region=ExpressionRegion(aabb, mesh) if mesh is not None and config.expression_region and blended else None,
            rest_swap=config.rest_swap,
            motion=FaceMotion.of_clip(aabb, self.metadata, train_expression, train_pose, config.face_motion_ridge)
            if moves
            else None,
        )
        if mesh is not None and config.face_parts and blended and FaceParts.told_apart(source.names):
            reference = self._train_condition(conditioning).mean(0)
            conditioning.parts = FaceParts(aabb, mesh, source.names, reference)
        return conditioning

    def _train_condition(self, conditioning: HeadConditioning) -> Float[Tensor, "train condition"]:
        """What the training frames are conditioned on."""
        source = self.expression_source
        return conditioning(source.clamp(source.train_expression()), source.track_pose[source.train_frames])

    # --- checkpoints ---

    def get_extra_state(self) -> Dict[str, Any]:
        """Plain data that says what this run is, so that it can be rebuilt without its YAML."""
        return head_description(self)

    def set_extra_state(self, state: Dict[str, Any]) -> None:
        """Refuse a checkpoint of another basis or architecture with a clear sentence."""
        check_format(state)
        adopt_implementation(self.field, state["architecture"]["implementation"], self.training)
        check_description(state, head_description(self))

    # --- training ---

    def get_param_groups(self) -> Dict[str, List[Parameter]]:
        """The networks, the tables, and the poses where they are refined."""
        tables = self.field.encoding.tables
        table_ids = {id(table) for table in tables}
        groups = {
            "networks": [parameter for parameter in self.field.parameters() if id(parameter) not in table_ids],
            "tables": tables,
        }
        self.camera_optimizer.get_param_groups(param_groups=groups)
        return groups

    def get_training_callbacks(
        self, training_callback_attributes: TrainingCallbackAttributes
    ) -> List[TrainingCallback]:
        """Carve the occupancy once, then follow the density; keep refined poses free of a common drift."""
        share_tables([self.field.encoding.mean, self.field.encoding.bases])
        pipeline, config = training_callback_attributes.pipeline, self.config

        def before(step: int) -> None:
            self.step = step
            # Starting translucent keeps gradients flowing to what lies behind the first wrong surface.
            settled = min(1.0, step / max(1, config.opacity_warmup))
            optical_depth = config.opacity_start * (OPAQUE_STEP / config.opacity_start) ** settled
            self.field.max_density = optical_depth / self.occupancy.step_size
            if not bool(self.occupancy.carved) and pipeline is not None:
                self.carve(cast(NerfBlendshapeDataset, pipeline.datamanager.train_dataset))
            self._update_occupancy(step)

        def after(step: int) -> None:
            adjustment = getattr(self.camera_optimizer, "pose_adjustment", None)
            if adjustment is not None:
                with torch.no_grad():
                    adjustment -= adjustment.mean(0, keepdim=True)

        return [
            TrainingCallback([TrainingCallbackLocation.BEFORE_TRAIN_ITERATION], before),
            TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN_ITERATION], after),
        ]

    def carve(self, dataset: NerfBlendshapeDataset) -> None:
        """Start the occupancy from where the head can be in any of the training frames."""
        source, motion = self.expression_source, self.conditioning.motion
        points, mesh = self.occupancy.cell_centers(), self.metadata.get("face_mesh")
        mesh = None if mesh is None else mesh.to(points.device)
        expression = source.clamp(source.train_expression()) * self.conditioning.scale
        skin = None if motion is None else motion.skin(expression)
        self.occupancy.carve(*head_region(points, dataset, mesh, self.config.shell, skin))

    def _update_occupancy(self, step: int) -> None:
        config = self.config
        if step < config.occupancy_warmup or step % config.occupancy_interval:
            return
        settling = step < config.occupancy_settle
        self.occupancy.update(self._density_at, settling, torch.Generator().manual_seed(step))

    def _density_at(self, positions: Tensor, conditions: Tensor, probe: Tensor) -> Tensor:
        """Density at positions in [0, 1], each under one of a few conditions."""
        if self.config.conditioning == "code":
            codes = cast(nn.Embedding, self.field.frame_codes).weight
            conditions = codes[torch.randint(len(codes), (len(conditions),)).to(codes.device)]
        positions, conditions, probe = self.conditioning.probes(positions, conditions, probe)
        return self.field.density(positions, self.field.blend(conditions), conditions, probe)[0]

    # --- rendering ---

    def frames(
        self,
        expression: Float[Tensor, "frames basis"],
        captured: Optional[Float[Tensor, "frames 12"]] = None,
        ray_frame: Optional[Tensor] = None,
        train_frame: Optional[Tensor] = None,
    ) -> FrameBatch:
        """Blend the tables of a few frames; see :meth:`ExpressionModel.frames`."""
        codes = self.field.frame_code(train_frame)
        if codes is not None and len(codes) != len(expression):
            codes = codes.expand(len(expression), -1)
        condition = self.conditioning(expression, captured)
        if self.config.conditioning == "code":
            assert codes is not None
            condition = codes
        pool = self.occupancy.train_expressions
        return self.conditioning.frame_batch(condition, self.field.blend, pool, ray_frame, codes)

    def get_outputs(self, ray_bundle: RayBundle) -> Dict[str, Tensor]:  # type: ignore[override]
        """Render rays.

        Returns:
            ``rgb [rays, 3]`` over the background, ``accumulation [rays, 1]``, ``depth [rays, 1]`` (expected distance,
            0 on empty rays), ``background [rays, 3]``.
        """
        if self.training:
            self.camera_optimizer.apply_to_raybundle(ray_bundle)
        origins, directions = ray_bundle.origins.reshape(-1, 3), ray_bundle.directions.reshape(-1, 3)
        head = self.foreground(origins, directions, self.frames_of(ray_bundle), ray_spans(ray_bundle))
        background = self._background(head.color)
        return {
            "rgb": head.color + (1.0 - head.alpha) * background,
            "accumulation": head.alpha,
            "depth": head.depth / head.alpha.clamp_min(1e-6),
            "background": background,
        }

    def foreground(
        self,
        origins: Float[Tensor, "rays 3"],
        directions: Float[Tensor, "rays 3"],
        frames: FrameBatch,
        spans: Optional[Float[Tensor, "rays 2"]] = None,
    ) -> Foreground:
        """The head along rays, before any background.

        Args:
            origins: of the rays, scene coordinates.
            directions: unit vectors.
            frames: what the rays belong to.
            spans: see :func:`ray_spans`.
        """
        num_rays = len(origins)
        samples = self.occupancy.sample(origins.detach(), directions.detach(), self.training, spans)
        known = directions if self.training else self.view_range(origins, directions)

        def density_at(distances: Tensor, rays: Tensor) -> Tuple[Tensor, Tensor]:
            return self._density(origins[rays] + directions[rays] * distances[:, None], frames, rays)

        def color_of(geometry: Tensor, rays: Tensor) -> Tensor:
            return self.field.color(known[rays], geometry, _codes(frames, rays))

        if not torch.is_grad_enabled():
            return Foreground(*render_in_rounds(samples, density_at, color_of, self.config.early_stop))
        ray_indices, starts, ends = samples.keep(visible_samples(samples, density_at, self.config.early_stop))
        middles = 0.5 * (starts + ends)
        density, geometry = density_at(middles, ray_indices)
        color = color_of(geometry, ray_indices)
        weights = nerfacc.render_weight_from_density(starts, ends, density, ray_indices=ray_indices, n_rays=num_rays)[0]
        rgb = nerfacc.accumulate_along_rays(weights, color, ray_indices, num_rays)
        accumulation = nerfacc.accumulate_along_rays(weights, None, ray_indices, num_rays)
        depth = nerfacc.accumulate_along_rays(weights, middles[:, None], ray_indices, num_rays)
        return Foreground(rgb, accumulation, depth)

    def _density(self, positions: Tensor, frames: FrameBatch, ray_indices: Tensor) -> Tuple[Tensor, Tensor]:
        """Density and geometry features at positions in scene coordinates."""
        unit = ((positions - self.aabb[0]) / (self.aabb[1] - self.aabb[0])).clamp(0.0, 1.0)
        unit = self.conditioning.at_rest(unit, frames, ray_indices)
        variant = self.conditioning.variant(unit.detach(), frames, ray_indices)
        return self.field.density(unit, frames.tables, frames.condition, variant)

    def _background(self, like: Float[Tensor, "rays 3"]) -> Float[Tensor, "rays 3"]:
        if self.training:
            return torch.rand(1, 3, device=like.device).expand_as(like)
        crop = crop_background()
        if crop is not None:
            return crop.to(like).expand_as(like)
        return torch.full_like(like, 1.0 if self.config.background_color == "white" else 0.0)

    def get_rgba_image(self, outputs: Dict[str, Tensor], output_name: str = "rgb") -> Tensor:
        """The rendered head with its opacity as the fourth channel, free of the background."""
        if output_name != "rgb":
            return super().get_rgba_image(outputs, output_name)
        rgb, alpha = outputs["rgb"], outputs["accumulation"]
        foreground = (rgb - (1.0 - alpha) * outputs["background"]) / alpha.clamp_min(1e-4)
        return torch.cat([foreground.clamp(0.0, 1.0), alpha], dim=-1)

    # --- losses and metrics ---

    def ray_target(self, outputs: Dict[str, Tensor], batch: Dict[str, Tensor]) -> Tensor:
        """Truth of sampled rays over the background that the prediction was rendered on."""
        return composite(batch["image"].to(self.device), batch["alpha"].to(self.device), outputs["background"])

    def get_loss_dict(
        self, outputs: Dict[str, Tensor], batch: Dict[str, Tensor], metrics_dict: Optional[Dict[str, Tensor]] = None
    ) -> Dict[str, Tensor]:
        """Colour, mask, patch and code losses, weighted."""
        config = self.config
        target, prediction = self.ray_target(outputs, batch), outputs["rgb"]
        alpha = batch["alpha"].to(self.device)
        mask_weight = warm_down(self.step, config.mask_loss_start, config.mask_loss_weight, config.mask_loss_warmup)
        losses = self.picture_losses(prediction, target, batch)
        losses["mask_loss"] = mask_weight * (outputs["accumulation"] - alpha).abs().mean()
        if self.training:
            self.camera_optimizer.get_loss_dict(losses)
        return losses

    def get_image_metrics_and_images(
        self, outputs: Dict[str, Tensor], batch: Dict[str, Tensor]
    ) -> Tuple[Dict[str, float], Dict[str, Tensor]]:
        """The evaluation protocol on one frame: head on white, whole and inside the mask."""
        target, prediction = batch["image"].to(self.device), outputs["rgb"].to(self.device)
        head = batch["alpha"].to(self.device)[..., 0] > 0.5
        metrics = head_metrics(prediction, target, head, cached_lpips(self.device))
        return metrics, {"img": torch.cat([target, prediction], dim=1)}


def _codes(frames: FrameBatch, ray_indices: Tensor) -> Optional[Tensor]:
    """The appearance code of each sample."""
    if frames.codes is None:
        return None
    if frames.ray_frame is None:
        return frames.codes[:1].expand(len(ray_indices), -1)
    return frame_picks(frames.ray_frame[ray_indices], frames.codes) @ frames.codes
