"""The whole person: a frozen head over a torso over a background."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type

import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes
from torch import Tensor
from torch.nn import Parameter

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset
from nerfblendshape_ns.fields.networks import frame_code
from nerfblendshape_ns.fields.torso_field import HeadMotion, TorsoField
from nerfblendshape_ns.model_components.conditioning.head_pose_code import HeadPoseCode
from nerfblendshape_ns.model_components.losses import composite
from nerfblendshape_ns.model_components.metrics.lpips import cached_lpips
from nerfblendshape_ns.model_components.rendering.crop import ray_spans
from nerfblendshape_ns.model_components.torso.background import Background, load_plate, parse_background
from nerfblendshape_ns.model_components.torso.compositing import composite_person
from nerfblendshape_ns.model_components.torso.frozen_head_cache import FrozenHeadCache
from nerfblendshape_ns.model_components.torso.torso_frames import TorsoFrames
from nerfblendshape_ns.model_components.torso.torso_losses import torso_losses
from nerfblendshape_ns.model_components.torso.torso_metrics import person_alpha, torso_coverage, torso_metrics
from nerfblendshape_ns.model_components.torso.torso_occupancy import TorsoOccupancy
from nerfblendshape_ns.model_components.torso.torso_plane import TorsoPlane, plane_depth
from nerfblendshape_ns.models.architecture import TorsoArchitecture
from nerfblendshape_ns.models.description import check_head_fits
from nerfblendshape_ns.models.expression_model import ExpressionModel, ExpressionModelConfig
from nerfblendshape_ns.models.frozen_head import frozen_foreground, head_to_freeze
from nerfblendshape_ns.models.head import HeadModel
from nerfblendshape_ns.models.occupancy_callback import occupancy_callback
from nerfblendshape_ns.models.rebuild import EXTRA_STATE, build_head, part_of

HEAD_PREFIX = "head."
"""Before the names of the head's tensors in a torso's state."""
OPTION = "--pipeline.model.background"
POSE_MARGIN = 0.5
"""How far the torso's motion is extrapolated beyond the training poses, as a fraction of half their range."""


@dataclass
class TorsoModelConfig(TorsoArchitecture, ExpressionModelConfig):
    """The torso behind a trained, frozen head."""

    _target: Type = field(default_factory=lambda: TorsoModel)
    head_run: Optional[Path] = None
    """Directory, config.yml or checkpoint of the head's run. Read once, when training starts: from then on the torso's
    own checkpoints hold the head."""
    head_pixels_mb: int = 2048
    """Memory for the frozen head's pixels of the training frames, so that none is rendered twice: as many frames as fit
    are kept, with 0 none. The result is the same either way."""
    background: str = "plate"
    """What is behind the person: "plate" is the dataset's clean plate (white where it has none), else the name or hex
    code of a colour, or the path of an image."""
    frame_code_dropout: float = 0.5
    """Fraction of the training steps that use the mean of the codes instead of the frame's own: what head pose can
    explain shall be learnt from it, since no other frame has a code."""
    torso_color_weight: float = 1.0
    """Weight of the torso's own colour loss, against the torso image."""
    torso_alpha_weight: float = 0.5
    """Weight of the torso's opacity loss, against the torso image's alpha."""


class TorsoModel(ExpressionModel[TorsoFrames]):
    """RAD-NeRF's torso behind NeRFBlendShape's head, inside nerfstudio.

    Args:
        config: settings.
        metadata: of the dataparser's outputs (see ``NerfBlendshapeDataParser``), target "frame".
    """

    kind = "torso"
    architecture = TorsoArchitecture
    frame_code_weight = 1e-2
    config: TorsoModelConfig
    field: TorsoField
    head_pixels: FrozenHeadCache

    def populate_modules(self) -> None:
        """Build the torso; the head comes from its run when training starts, or from a checkpoint of this model."""
        super().populate_modules()
        config, metadata = self.config, self.metadata
        if not metadata.get("intrinsics"):
            raise UserError("the dataset lacks its camera's intrinsics, which a torso needs; use nerfblendshape-data.")
        self.head: Optional[HeadModel] = None
        height, width = (int(side) for side in metadata["image_size"])
        train_pose = self.expression_source.track_pose[self.expression_source.train_frames]
        underside = self.aabb.mean(0)
        underside[2] = self.aabb[0, 2]
        self.plane = TorsoPlane(metadata["intrinsics"], (height, width), plane_depth(train_pose, underside))
        self.pose_code = HeadPoseCode(train_pose, POSE_MARGIN)
        self.layout = config.grid(min(2048, self.largest_side), dimensions=2)
        self.field = TorsoField(
            self.layout,
            num_frames=self.num_train_data,
            frame_code_dim=config.frame_code_dim,
            deformation=config.deformation,
            hidden_dim=config.hidden_dim,
            implementation=config.implementation,
        )
        self.occupancy = TorsoOccupancy(self.num_train_data)
        # A rebuilt torso has its own plate and background.
        plate, background = metadata.get("plate"), metadata.get("background")
        if plate is None:
            plate = load_plate(metadata.get("background_filename"), (height, width))
        self.background = Background(plate, background or parse_background(config.background, OPTION))

    def description(self) -> Dict[str, Any]:
        """See :meth:`ExpressionModel.description`; the head's own is in its part of the state."""
        return super().description() | {"background": self.background.saved}

    # --- the head ---

    def attach_head(self, head: HeadModel) -> None:
        """Take a trained head over, frozen.

        Raises:
            UserError: the head is of another dataset or basis.
        """
        check_head_fits(head.description(), self.metadata, self.aabb)
        self.head = head.to(self.device).eval().requires_grad_(False)
        height, width = self.metadata["image_size"]
        self.head_pixels = FrozenHeadCache(self.num_train_data, height, width, self.config.head_pixels_mb)
        self.expression_source.minimum.copy_(head.expression_source.minimum)
        self.expression_source.maximum.copy_(head.expression_source.maximum)

    def train(self, mode: bool = True) -> "TorsoModel":
        """The head stays in evaluation mode: it neither learns nor draws at random."""
        super().train(mode)
        if self.head is not None:
            self.head.eval()
        return self

    def trained_head(self) -> HeadModel:
        """The head; no property, since nerfstudio's viewer asks for all of those before there is one.

        Raises:
            UserError: there is none yet.
        """
        if self.head is None:
            raise UserError(
                "the torso has no head yet; give --pipeline.model.head-run PATH, the run of nerfblendshape-head."
            )
        return self.head

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Rebuild the head that the state holds, then load all weights; the head's own run is not needed."""
        if HEAD_PREFIX + EXTRA_STATE in state_dict and self.head is None:
            self.attach_head(build_head(part_of(state_dict, HEAD_PREFIX)))
        plate, image = state_dict.get("background.plate"), self.background.image
        self.background.plate = None if plate is None else plate.to(self.device)  # The dataset's may have changed.
        # A run may be resumed before another background: the image is that which this model's option names.
        state: Dict[str, Any] = {"occupancy.shown": self.occupancy.shown}  # Which earlier checkpoints lack.
        state |= {name: value for name, value in state_dict.items() if name != "background.image"}
        state |= {} if image is None else {"background.image": image}
        return super().load_state_dict(state, strict=strict, assign=assign)

    # --- training ---

    def get_param_groups(self) -> Dict[str, List[Parameter]]:
        """The networks with the frame codes, and the grid. The head is in neither."""
        return {
            "networks": [parameter for parameter in self.field.parameters() if parameter is not self.field.table],
            "tables": [self.field.table],
        }

    def get_training_callbacks(
        self, training_callback_attributes: TrainingCallbackAttributes
    ) -> List[TrainingCallback]:
        """Take the head over unless a checkpoint held one; start the occupancy from the masks, then update it."""
        if self.head is None:
            self.attach_head(head_to_freeze(self.config.head_run, self.metadata))

        def start(dataset: NerfBlendshapeDataset) -> Optional[str]:
            coverage = torso_coverage(dataset, self.occupancy.resolution)
            self.occupancy.start_from(coverage.mask.to(self.device), coverage.shown.to(self.device))
            return coverage.message

        pipeline = training_callback_attributes.pipeline
        return [occupancy_callback(pipeline, self.occupancy, start, self._update_occupancy)]

    @torch.no_grad()
    def _update_occupancy(self, step: int) -> None:
        frame, source = self.occupancy.frame_of_update(step), self.expression_source
        if frame is None:
            return
        captured = source.track_pose[source.train_frames[frame]][None]
        code = frame_code(self.field.frame_codes, torch.tensor([frame], device=self.device), 1)
        pose = self.pose_code(captured)

        def opacity(points: Tensor) -> Tensor:
            return self.field(points, pose, code, self._head_motion(captured))[1]

        self.occupancy.update(opacity, torch.Generator().manual_seed(step))

    # --- rendering ---

    def turn_ends(self) -> Float[Tensor, "2 3"]:
        """How far training frames turn the head."""
        return self.pose_code.turn_ends()

    def frames(
        self,
        expression: Float[Tensor, "frames basis"],
        captured: Optional[Float[Tensor, "frames 12"]] = None,
        ray_frame: Optional[Tensor] = None,
        train_frame: Optional[Tensor] = None,
    ) -> TorsoFrames:
        """Blend the head's tables and gather what the torso needs; without a pose it takes the clip's middle one."""
        if captured is None:
            captured = self.pose_code.reference.expand(len(expression), -1)
        head = partial(self.trained_head().frames, expression, captured, ray_frame, train_frame)
        dropped = self.training and float(torch.rand(())) < self.config.frame_code_dropout
        codes = frame_code(self.field.frame_codes, None if dropped else train_frame, len(expression))
        return TorsoFrames(head, captured, self.pose_code(captured), codes, ray_frame)

    def get_outputs(self, ray_bundle: RayBundle) -> Dict[str, Tensor]:  # type: ignore[override]
        """Render rays; see :func:`composite_person` for what is returned."""
        origins, directions = ray_bundle.origins.reshape(-1, 3), ray_bundle.directions.reshape(-1, 3)
        frames = self.frames_of(ray_bundle)
        points, spans = self.plane(origins, directions, frames.of_rays(frames.captured)), ray_spans(ray_bundle)
        trained = self.training and self._driven is None and "expression" not in ray_bundle.metadata
        pixels = self.head_pixels if trained else None
        # A frozen head learns nothing; evaluation may ask for gradients in the expression.
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.training):
            head = frozen_foreground(self.trained_head(), ray_bundle, frames, spans, points.coordinates, pixels)
        fade = points.fade
        if spans is not None:  # The plane shows only within the bounds of the rays.
            fade = fade * ((points.distance >= spans[:, :1]) & (points.distance <= spans[:, 1:]))
        color, alpha = self._torso(points.coordinates, fade, frames)
        background = self.behind(len(color), lambda: self.background(points.coordinates))
        outputs = composite_person(head, color, alpha, points.distance, background)
        if self.training:
            outputs["torso_color"] = color
            outputs["torso_shown"] = self.occupancy.shown_without_head(points.coordinates)
        return outputs

    def _torso(self, coordinates: Tensor, fade: Tensor, frames: TorsoFrames) -> Tuple[Tensor, Tensor]:
        """Colour and opacity at torso coordinates; nothing is computed where the plane is empty."""
        inside = coordinates.clamp(0.0, 1.0)
        chosen = ((fade[:, 0] > 0) & self.occupancy.occupied(inside)).nonzero()[:, 0]
        # Also where none is chosen, so that every loss has a gradient.
        codes = None if frames.codes is None else frames.of_rays(frames.codes, chosen)
        motion = self._head_motion(frames.of_rays(frames.captured, chosen))
        color, alpha, _ = self.field(inside[chosen], frames.of_rays(frames.pose, chosen), codes, motion)
        rgba = coordinates.new_zeros(len(coordinates), 4)
        rgba = rgba.index_put((chosen,), torch.cat([color, alpha * fade[chosen]], -1))
        return rgba[:, :3], rgba[:, 3:]

    def _head_motion(self, captured: Float[Tensor, "#points 12"]) -> HeadMotion:
        """How points of the plane that are fixed to the head move in frames of these poses."""
        return partial(self.plane.moved_with_head, before=self.pose_code.reference, after=captured)

    # --- losses and metrics ---

    def ray_target(self, outputs: Dict[str, Tensor], batch: Dict[str, Tensor]) -> Tensor:
        """Truth over the background that the prediction was rendered on."""
        image, torso = batch["image"].to(self.device), batch["torso"].to(self.device)
        person = person_alpha(batch["alpha"].to(self.device), torso[..., 3:])
        return composite(image, person, outputs["background"])

    def true_image(self, outputs: Dict[str, Tensor], batch: Dict[str, Tensor]) -> Float[Tensor, "h w 3"]:
        """The true frame over the background that was rendered; the recorded frame where that is the clip's own.

        Args:
            outputs: of a whole camera.
            batch: of its frame, on the same device.
        """
        return batch["image"] if self.background.shows_plate else self.ray_target(outputs, batch)

    def get_loss_dict(
        self, outputs: Dict[str, Tensor], batch: Dict[str, Tensor], metrics_dict: Optional[Dict[str, Tensor]] = None
    ) -> Dict[str, Tensor]:
        """Colour of all rays, colour and opacity of the torso, patches, codes."""
        config = self.config
        torso, head_alpha = batch["torso"].to(self.device), batch["alpha"].to(self.device)
        image = outputs["rgb"]
        if "torso_shown" in outputs:
            # What the head lacks is not the torso's, or the rim of an ear floats beside a head that turns.
            may_paint = torch.maximum(torch.maximum(1.0 - head_alpha, torso[:, 3:]), outputs["torso_shown"])
            image = torch.lerp(image.detach(), image, may_paint)
        losses = self.image_losses(image, self.ray_target(outputs, batch), batch)
        return losses | torso_losses(outputs, torso, head_alpha, config.torso_color_weight, config.torso_alpha_weight)

    def get_image_metrics_and_images(
        self, outputs: Dict[str, Tensor], batch: Dict[str, Tensor]
    ) -> Tuple[Dict[str, float], Dict[str, Tensor]]:
        """The three rows of the field's protocol on one frame, and the seam; see ``torso_metrics``."""
        on_device = {name: value.to(self.device) for name, value in batch.items() if isinstance(value, Tensor)}
        target = self.true_image(outputs, on_device)
        metrics = torso_metrics(outputs, on_device, target, cached_lpips(self.device))
        return metrics, {"img": torch.cat([target, outputs["rgb"]], dim=1)}
