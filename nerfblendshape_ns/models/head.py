"""The head: a nerfstudio model that renders a face by its expression coefficients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type

import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes
from torch import Tensor
from torch.nn import Parameter

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset
from nerfblendshape_ns.field_components.blendshape_encoding import principal_components
from nerfblendshape_ns.field_components.table_gradients import share_tables
from nerfblendshape_ns.fields.head_field import OPAQUE_STEP, HeadField, largest_optical_depth
from nerfblendshape_ns.fields.networks import frame_code
from nerfblendshape_ns.model_components.conditioning.head_conditioning import FrameBatch, HeadConditioning
from nerfblendshape_ns.model_components.losses import anneal, composite, head_where_seen, truth_where_seen
from nerfblendshape_ns.model_components.metrics.image_metrics import head_metrics
from nerfblendshape_ns.model_components.metrics.lpips import cached_lpips
from nerfblendshape_ns.model_components.occupancy.expression_occupancy import ExpressionOccupancy
from nerfblendshape_ns.model_components.occupancy.visual_hull import agreement, head_region
from nerfblendshape_ns.model_components.rendering.crop import ray_spans
from nerfblendshape_ns.model_components.rendering.early_termination import Foreground, render, segment_sizes
from nerfblendshape_ns.model_components.rendering.view_range import ViewRange
from nerfblendshape_ns.models.architecture import HeadArchitecture
from nerfblendshape_ns.models.expression_model import ExpressionModel, ExpressionModelConfig
from nerfblendshape_ns.models.occupancy_callback import occupancy_callback
from nerfblendshape_ns.ops import nerfacc_backend
from nerfblendshape_ns.ops.canonical import Marched


@dataclass
class HeadModelConfig(HeadArchitecture, ExpressionModelConfig):
    """The blended head."""

    _target: Type = field(default_factory=lambda: HeadModel)
    expression_noise: float = 0.12
    """Standard deviation of the noise on training coefficients and head pose, where the widest coefficient ranges over
    1: about a tracker's error. It keeps rarely used components from being learnt as truth."""
    occupancy_warmup: int = 256
    """Steps before the occupancy first follows the density."""
    occupancy_interval: int = 16
    """Steps between two updates of the occupancy."""
    occupancy_settle: int = 2000
    """Steps during which the occupancy forgets fast and follows training expressions only."""
    mask_loss_start: float = 0.1
    """Weight of the mask loss (L1 between opacity and soft head mask) at the first step."""
    mask_loss_weight: float = 0.1
    """Weight of the mask loss after its warm-up."""
    mask_loss_warmup: int = 500
    """Steps over which the mask loss's weight changes."""
    pose_correction: bool = True
    """Whether training frames' poses are fitted to the half-trained head; what follows from the tracked pose corrects
    all others."""


class HeadModel(ExpressionModel[FrameBatch]):
    """NeRFBlendShape's head inside nerfstudio.

    Args:
        config: settings.
        metadata: of the dataparser's outputs (see ``NerfBlendshapeDataParser``): names, ranges, track, mesh.
    """

    kind = "head"
    architecture = HeadArchitecture
    frame_code_weight = 1e-3
    config: HeadModelConfig
    field: HeadField

    def populate_modules(self) -> None:
        """Build field, occupancy and conditioning from the dataset's metadata."""
        super().populate_modules()
        nerfacc_backend.install()
        config, source = self.config, self.expression_source
        if config.conditioning == "code" and config.frame_code_dim < 1:
            raise UserError("--pipeline.model.conditioning code needs --pipeline.model.frame-code-dim above 0; set it.")
        if config.occupancy_interval < 1:
            interval = config.occupancy_interval
            raise UserError(f"--pipeline.model.occupancy-interval is {interval} but must be at least 1; raise it.")
        aabb, blended = self.scene_box.aabb.float(), config.conditioning == "blend"
        self.conditioning = HeadConditioning.of_clip(
            aabb,
            self.metadata,
            source,
            config.head_pose_scale,
            config.expression_noise,
            config.face_motion and blended,
            config.face_parts and blended,
            config.conditioning == "code",
        )
        train_condition = self.conditioning.of_training(source)
        self.layout = config.grid(min(1024, 2 * self.largest_side))
        mixing = self.metadata.get("mixing")  # A rebuilt head keeps its components; the tables belong to them.
        if mixing is None and config.basis_parametrisation == "principal" and blended:
            mixing = principal_components(self.conditioning.variants(train_condition))
        self.view_range = ViewRange(source.track_pose[source.train_frames], aabb.mean(0))
        step_size = float((aabb[1] - aabb[0]).max()) / config.samples_per_box
        self.field = HeadField(
            self.layout,
            num_basis=train_condition.shape[1],
            num_frames=self.num_train_data,
            conditioning=config.conditioning,
            network_expression=config.network_expression,
            mixing=mixing,
            hidden_dim=config.hidden_dim,
            density_layers=config.density_layers,
            color_layers=config.color_layers,
            geometry_dim=config.geometry_dim,
            frame_code_dim=config.frame_code_dim,
            max_density=OPAQUE_STEP / step_size,
            implementation=config.implementation,
        )
        # Read by DistributedDataParallel: the tables' gradient rows are gathered where they are made.
        ignored = [f"field.encoding.{name}" for name in ("mean", "bases", "table_gradients")]
        self._ddp_params_and_buffers_to_ignore = ignored
        self.occupancy = ExpressionOccupancy(
            aabb,
            config.occupancy_resolution,
            step_size=step_size,
            train_expressions=train_condition,
        )
        self.backdrop: Tensor
        self.register_buffer("backdrop", torch.tensor(float(config.background_color == "white")), persistent=False)
        self.step = 0

    def description(self) -> Dict[str, Any]:
        """See :meth:`ExpressionModel.description`; without effect is off."""
        description, mesh = super().description(), self.metadata.get("face_mesh")
        description["architecture"] |= {
            "face_parts": self.conditioning.parts is not None,
            "face_motion": self.conditioning.motion is not None,
            "basis_parametrisation": "named" if self.field.encoding.mixing is None else "principal",
        }
        return description | {
            "components": len(self.field.encoding.bases),
            "face_mesh": None if mesh is None else mesh.tolist(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As torch's; refuses what :meth:`set_extra_state` does."""
        if not any(name.startswith("conditioning.eyes.") for name in state_dict):
            self.conditioning.turn(None)  # It was trained without.
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    # --- training ---

    def get_param_groups(self) -> Dict[str, List[Parameter]]:
        """The networks and the tables."""
        tables = self.field.encoding.tables
        table_ids = {id(table) for table in tables}
        networks = [parameter for parameter in self.field.parameters() if id(parameter) not in table_ids]
        return {"networks": networks, "tables": tables}

    def get_training_callbacks(
        self, training_callback_attributes: TrainingCallbackAttributes
    ) -> List[TrainingCallback]:
        """Start the occupancy from the visual hull, then follow the density."""
        share_tables([self.field.encoding.mean, self.field.encoding.bases])
        # A run that is resumed has the clip's expressions and poses from its checkpoint.
        self.occupancy.train_expressions.copy_(self.conditioning.of_training(self.expression_source))

        def start(dataset: NerfBlendshapeDataset) -> str:
            return agreement(self.init_from_visual_hull(dataset), dataset.metadata["img_ids"])

        return [occupancy_callback(training_callback_attributes.pipeline, self.occupancy, start, self._before_step)]

    def init_from_visual_hull(self, dataset: NerfBlendshapeDataset) -> Float[Tensor, "frames"]:
        """Start the occupancy from where the head can be in any of the training frames.

        Returns:
            How far each frame disagrees with the others: see ``outside`` of :class:`HeadRegion`.
        """
        source, motion = self.expression_source, self.conditioning.motion
        mesh = self.metadata.get("face_mesh")
        mesh = None if mesh is None else mesh.to(self.device)
        expression = source.clamp(source.train_expression()) * self.conditioning.scale
        skin = None if motion is None else motion.skin(expression)
        region = head_region(self.occupancy, dataset, mesh, skin)
        self.occupancy.start_from(region.allowed, region.swept)
        return region.outside

    def _before_step(self, step: int) -> None:
        config, self.step = self.config, step
        self.field.max_density = largest_optical_depth(step) / self.occupancy.step_size
        if step < config.occupancy_warmup or step % config.occupancy_interval:
            return
        settling, generator = step < config.occupancy_settle, torch.Generator().manual_seed(step)
        codes = None if self.field.frame_codes is None else self.field.frame_codes.weight

        def density(positions: Tensor, conditions: Tensor, probe: Tensor) -> Tensor:
            positions, conditions, probe = self.conditioning.probes(positions, conditions, probe, codes, generator)
            return self.field.density(positions, *self.field.blend(conditions), probe)[0]

        self.occupancy.update(density, settling, generator)

    # --- rendering ---

    def turn_ends(self) -> Float[Tensor, "2 3"]:
        """How far training frames turn the head."""
        return self.conditioning.pose_code.turn_ends()

    def frames(
        self,
        expression: Float[Tensor, "frames basis"],
        captured: Optional[Float[Tensor, "frames 12"]] = None,
        ray_frame: Optional[Tensor] = None,
        train_frame: Optional[Tensor] = None,
    ) -> FrameBatch:
        """Blend the tables of a few frames; see :meth:`ExpressionModel.frames`."""
        return self._blended(self.conditioning(expression, captured), captured, ray_frame, train_frame)

    def training_frames(self, frames: Tensor, ray_frame: Optional[Tensor]) -> FrameBatch:
        """Blend the tables of training frames, whose conditions are known."""
        return self._blended(self.occupancy.train_expressions[frames], None, ray_frame, frames)

    def _blended(
        self, condition: Tensor, captured: Optional[Tensor], ray_frame: Optional[Tensor], train_frame: Optional[Tensor]
    ) -> FrameBatch:
        correction = self.conditioning.corrections(condition, captured, train_frame)
        codes = frame_code(self.field.frame_codes, train_frame, len(condition))
        pool = self.occupancy.train_expressions
        return self.conditioning.frame_batch(condition, self.field.blend, pool, ray_frame, codes, correction)

    def get_outputs(self, ray_bundle: RayBundle) -> Dict[str, Tensor]:  # type: ignore[override]
        """Render rays.

        Returns:
            ``rgb [rays, 3]`` over the background, ``accumulation [rays, 1]``, ``depth [rays, 1]`` (expected distance,
            0 on empty rays), ``background [rays, 3]``.
        """
        origins, directions = ray_bundle.origins.reshape(-1, 3), ray_bundle.directions.reshape(-1, 3)
        head = self.foreground(origins, directions, self.frames_of(ray_bundle), ray_spans(ray_bundle))
        background = self.behind(len(head.color), lambda: self.backdrop.expand_as(head.color))
        return {
            "rgb": torch.addcmul(head.color + background, head.alpha, background, value=-1.0),
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
        origins, directions = frames.corrected(origins, directions)
        march = self.occupancy.sample(origins.detach(), directions.detach(), self.training, spans)
        viewed = directions if self.training else self.view_range(origins, directions)

        def density_at(distances: Tensor, rays: Tensor) -> Tuple[Tensor, Tensor]:
            marched = Marched(directions, distances, rays, self.aabb)
            positions, row = self.conditioning.to_canonical(origins, marched, frames)
            return self.field.density(positions, frames.tables, frames.of_frames, row)

        def color_of(geometry: Tensor, rays: Tensor) -> Tensor:
            return self.field.color(viewed, rays, geometry, frames.codes, frames.ray_frame)

        return render(march, density_at, color_of, segment_sizes(origins))

    # --- losses and metrics ---

    def ray_target(self, outputs: Dict[str, Tensor], batch: Dict[str, Tensor]) -> Tensor:
        """Truth of sampled rays over the background that the prediction was rendered on."""
        return composite(batch["image"].to(self.device), batch["alpha"].to(self.device), outputs["background"])

    def get_loss_dict(
        self, outputs: Dict[str, Tensor], batch: Dict[str, Tensor], metrics_dict: Optional[Dict[str, Tensor]] = None
    ) -> Dict[str, Tensor]:
        """Colour, mask, patch and code losses, weighted."""
        config, alpha = self.config, batch["alpha"].to(self.device)
        losses = self.image_losses(outputs["rgb"], self.ray_target(outputs, batch), batch)
        mask_weight = anneal(self.step, config.mask_loss_start, config.mask_loss_weight, config.mask_loss_warmup)
        losses["mask_loss"] = mask_weight * (outputs["accumulation"] - alpha).abs().mean()
        return losses

    def get_image_metrics_and_images(
        self, outputs: Dict[str, Tensor], batch: Dict[str, Tensor]
    ) -> Tuple[Dict[str, float], Dict[str, Tensor]]:
        """The evaluation protocol on one frame: head on white, whole and inside the mask."""
        shown = {name: outputs[name].to(self.device) for name in ("rgb", "accumulation", "background")}
        # On white, as the truth is, whatever it was rendered on.
        prediction = shown["rgb"] + (1.0 - shown["accumulation"]) * (1.0 - shown["background"])
        target = truth_where_seen(batch["image"].to(self.device), prediction, batch)
        metrics = head_metrics(prediction, target, head_where_seen(batch).to(self.device), cached_lpips(self.device))
        return metrics, {"img": torch.cat([target, prediction], dim=1)}
