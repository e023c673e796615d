"""What conditions the head besides position: coefficients and head pose of the frames behind a bundle of rays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional, Tuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nerfblendshape_ns.model_components.conditioning.expression_source import ExpressionSource
from nerfblendshape_ns.model_components.conditioning.eye_motion import UNBOUNDED, EyeMotion
from nerfblendshape_ns.model_components.conditioning.face_motion import FaceMotion
from nerfblendshape_ns.model_components.conditioning.face_parts import FaceParts
from nerfblendshape_ns.model_components.conditioning.head_pose_code import HeadPoseCode
from nerfblendshape_ns.model_components.conditioning.pose_correction import PoseCorrection
from nerfblendshape_ns.ops.canonical import EyeMap, Marched, canonical_positions
from nerfblendshape_ns.ops.rigid_motion import move_rays

EXPRESSION_SWAP = 0.2
"""Probability, per training step, that the head off the face sees the coefficients of other training frames: hair shall
follow the head pose, not the gaze that happened to come with it."""


@dataclass
class FrameBatch:
    """What the field needs to know about the frames behind a bundle of rays."""

    condition: Float[Tensor, "variants condition"]
    """Coefficients and head pose of each frame; where the face has parts, then as the lower and as the upper face see
    them."""
    tables: Float[Tensor, "variants rows features"]
    """Blended for each of them."""
    of_frames: Float[Tensor, "variants values"]
    """What the density network makes of each of them."""
    ray_frame: Optional[Tensor]
    """``[rays]`` int32: which frame each ray belongs to; None where there is one."""
    codes: Optional[Float[Tensor, "frames code"]]
    """Appearance codes."""
    count: int = 1
    """Number of frames."""
    motion: Optional[Float[Tensor, "frames grid grid grid 3"]] = None
    """The skin's displacement in each; None where samples stay where they are."""
    correction: Optional[Float[Tensor, "frames 12"]] = None
    """Rigid motion of each frame's rays, a 3x4 matrix row by row; None where the tracked poses stand."""
    eyes: Optional[EyeMap] = None
    """How the eyeballs are turned; None where they stay as they are."""

    def corrected(
        self, origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"]
    ) -> Tuple[Float[Tensor, "rays 3"], Float[Tensor, "rays 3"]]:
        """Origins and directions of the frames' rays after their motion."""
        if self.correction is None:
            return origins, directions
        return move_rays(origins, directions, self.correction, self.ray_frame)


class HeadConditioning(nn.Module):
    """Makes conditions of coefficients and poses, and says which of them each sample uses.

    Args:
        scale: ``[K]`` factor of each coefficient (see ``data/expression_scale.py``): conditions hold scaled ones.
        train_pose: ``[train, 12]`` camera-to-head matrices of the training frames, row by row.
        pose_scale: the six numbers of head pose lie within ± this; 0 leaves them out.
        noise: standard deviation of the noise on training conditions.
        parts: lets the lower and the upper face see only what moves them; None shows everything everywhere.
        motion: moves samples to canonical space; None leaves them.
        by_code: the codes of the frames stand in for coefficients and head pose.
    """

    def __init__(
        self,
        scale: Float[Tensor, "basis"],
        train_pose: Float[Tensor, "train 12"],
        pose_scale: float = 0.0,
        noise: float = 0.0,
        parts: Optional[FaceParts] = None,
        motion: Optional[FaceMotion] = None,
        by_code: bool = False,
    ) -> None:
        super().__init__()
        self.basis = len(scale)
        self.scale: Tensor
        self.register_buffer("scale", scale.float().clone())
        self.pose_code = HeadPoseCode(train_pose, scale=pose_scale or 1.0)
        self.with_pose = pose_scale > 0
        self.correction = PoseCorrection(train_pose, self.pose_code(train_pose), self.pose_code.limit)
        self.noise = noise
        self.parts = parts
        self.motion = motion
        self.eyes: Optional[EyeMotion] = None
        self.by_code = by_code
        # A checkpoint brings its own eyes and its own reference of the parts.
        self.register_load_state_dict_post_hook(_after_load)

    @classmethod
    def of_clip(
        cls,
        aabb: Float[Tensor, "2 3"],
        metadata: Mapping[str, Any],
        source: ExpressionSource,
        pose_scale: float,
        noise: float,
        face_motion: bool,
        face_parts: bool,
        by_code: bool,
    ) -> HeadConditioning:
        """With motion of skin and eyes and face parts where they are wanted and the dataset has what they need.

        Args:
            aabb: the head box.
            metadata: of the dataparser's outputs, or of a rebuilt head.
            source: the clip's expressions; see :meth:`EyeMotion.of_clip` for its range.
            pose_scale: see :class:`HeadConditioning`.
            noise: see there.
            face_motion: whether samples are moved to canonical space; needs landmarks and a face mesh, and for the eyes
                irises and coefficients of gaze.
            face_parts: whether the face has parts; needs a face mesh, and coefficients that are named as ARKit's or
                FLAME's.
            by_code: see :class:`HeadConditioning`.
        """
        scale, train_pose = metadata["expression_scale"], source.track_pose[source.train_frames]
        train_expression, mesh = source.clamp(source.train_expression()) * scale, metadata.get("face_mesh")
        motion = FaceMotion.of_clip(aabb, metadata, train_expression, train_pose) if face_motion else None
        eyes = None if motion is None else EyeMotion.of_clip(motion, metadata, source, train_expression, train_pose)
        conditioning = cls(scale, train_pose, pose_scale, noise, motion=motion, by_code=by_code)
        if face_parts and mesh is not None and FaceParts.has_region_names(source.names):
            reference = conditioning.of_training(source).mean(0)
            conditioning.parts = FaceParts(aabb, mesh, source.names, reference)
        conditioning.turn(eyes)
        return conditioning

    def of_training(self, source: ExpressionSource) -> Float[Tensor, "train condition"]:
        """Conditions of the training frames."""
        return self(source.clamp(source.train_expression()), source.track_pose[source.train_frames])

    def forward(
        self, expression: Float[Tensor, "frames basis"], captured: Optional[Float[Tensor, "frames 12"]]
    ) -> Float[Tensor, "frames condition"]:
        """The scaled coefficients, gaze beyond training as it is, then the head pose's code where it is used.

        Args:
            expression: raw coefficients.
            captured: head poses (camera-to-head, row by row); None takes the clip's middle one.
        """
        expression = expression * self.scale
        if not self.with_pose:
            return expression
        if captured is None:
            captured = self.pose_code.reference.expand(len(expression), -1)
        return torch.cat([expression, self.pose_code(captured)], dim=-1)

    def corrections(
        self,
        condition: Float[Tensor, "frames condition"],
        captured: Optional[Float[Tensor, "frames 12"]],
        train_frame: Optional[Int[Tensor, "frames"]],
    ) -> Optional[Float[Tensor, "frames 12"]]:
        """Rigid motion of the frames' rays; None where the tracked poses stand.

        Args:
            condition: from :meth:`forward`.
            captured: see there.
            train_frame: training frames that they are; None for others.
        """
        if not self.correction.active:
            return None
        if train_frame is not None:
            return self.correction.of_training(train_frame)
        if captured is None:
            captured = self.pose_code.reference.expand(len(condition), -1)
        return self.correction(captured, condition[:, self.basis :] if self.with_pose else self.pose_code(captured))

    def variants(self, condition: Float[Tensor, "frames condition"]) -> Float[Tensor, "variants condition"]:
        """All that any sample of these frames may see, in the order of :class:`FrameBatch`."""
        if self.parts is not None:
            return self.parts.conditions(condition)
        return condition if self.eyes is None else condition.clamp(*self._bounds(self.eyes))

    def turn(self, eyes: Optional[EyeMotion]) -> None:
        """Turn eyes back in canonical space; None leaves them."""
        self.eyes = eyes
        if self.parts is not None:
            self.parts.limit(None if eyes is None else self._bounds(eyes))

    def _bounds(self, eyes: EyeMotion) -> Float[Tensor, "2 condition"]:
        """What the tables see at least and at most of each number: no gaze that training did not show."""
        bounds = torch.stack([eyes.low, eyes.high])
        pose = bounds.new_tensor([[-UNBOUNDED], [UNBOUNDED]]).expand(2, 6)
        return torch.cat([bounds, pose], dim=1) if self.with_pose else bounds

    def frame_batch(
        self,
        condition: Float[Tensor, "frames condition"],
        blend: Callable[[Tensor], Tuple[Tensor, Tensor]],
        pool: Float[Tensor, "train condition"],
        ray_frame: Optional[Tensor],
        codes: Optional[Tensor],
        correction: Optional[Float[Tensor, "frames 12"]] = None,
    ) -> FrameBatch:
        """Blend the tables of a few frames; in training with noise, and at times with another frame's coefficients.

        Args:
            condition: from :meth:`forward`.
            blend: from conditions to tables and what the density network makes of them.
            pool: conditions of all training frames.
            ray_frame: see :class:`FrameBatch`.
            codes: see :class:`FrameBatch`.
            correction: see :class:`FrameBatch`.
        """
        count = len(condition)
        if self.by_code:
            assert codes is not None, "the field has no codes"
            condition = codes
        # Without noise and swaps: those keep the tables from learning a tracker's errors; the skin is where it is.
        motion = None if self.motion is None else self.motion.fields(condition[:, : self.basis])
        eyes = None if self.eyes is None else self.eyes(condition)
        if self.training:
            condition = torch.add(condition, torch.randn_like(condition), alpha=self.noise)
        condition = self.variants(condition)
        if self.training and self.parts is not None and torch.rand(1).numpy()[0] < EXPRESSION_SWAP:
            chosen = torch.randint(len(pool), (count,), device=pool.device)
            foreign = torch.cat([pool[chosen, : self.basis], condition[:count, self.basis :]], dim=-1)
            condition = torch.cat([foreign, condition[count:]])
        return FrameBatch(condition, *blend(condition), ray_frame, codes, count, motion, correction, eyes)

    def to_canonical(
        self, origins: Float[Tensor, "rays 3"], marched: Marched, frames: FrameBatch
    ) -> tuple[Float[Tensor, "samples 3"], Optional[Int[Tensor, "samples"]]]:
        """Canonical positions of samples on the rays of these frames, and the row of the frames' conditions that each
        uses; None where there is one row.

        Args:
            origins: of the rays, in scene coordinates.
            marched: the samples.
            frames: from :meth:`frame_batch`.
        """
        face = None if self.parts is None else self.parts.face_map(self.training)
        positions, rows = canonical_positions(
            origins, marched, frames.ray_frame, frames.count, frames.motion, face, frames.eyes
        )
        return positions, rows if len(frames.condition) > 1 else None

    def probes(
        self,
        unit: Float[Tensor, "samples 3"],
        conditions: Float[Tensor, "probes condition"],
        probe: Int[Tensor, "samples"],
        codes: Optional[Float[Tensor, "train code"]] = None,
        generator: Optional[torch.Generator] = None,
    ) -> tuple[Float[Tensor, "samples 3"], Float[Tensor, "rows condition"], Int[Tensor, "samples"]]:
        """Canonical positions of an occupancy update, its conditions, and which of them each position uses.

        Args:
            unit: positions in [0, 1].
            conditions: a few.
            probe: int32, which one each position was given.
            codes: of the training frames, some of which stand in for the conditions where codes are the condition.
            generator: of all draws, on the CPU; None takes torch's own.
        """
        if self.by_code:
            assert codes is not None, "the field has no codes"
            conditions = codes[torch.randint(len(codes), (len(conditions),), generator=generator).to(codes.device)]
        fields = None if self.motion is None else self.motion.fields(conditions[:, : self.basis])
        face = None if self.parts is None else self.parts.face_map(True, generator)
        eyes = None if self.eyes is None else self.eyes(conditions)
        positions, rows = canonical_positions(unit, None, probe, len(conditions), fields, face, eyes)
        return positions, self.variants(conditions), rows


def _after_load(conditioning: HeadConditioning, _: object) -> None:
    conditioning.turn(conditioning.eyes)
