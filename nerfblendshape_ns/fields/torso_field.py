"""Colour and opacity of the torso: an image that deforms with the head's pose.

RAD-NeRF's torso (Tang et al. 2022, section 3.3): a point of the torso plane is moved by a small network that reads the
head pose and a per-frame code, then looked up in a two-dimensional hash grid that a second network turns into opacity
and colour.

Two things in its place predict poses that no training frame has:

- Points near the head move with it, as by the skinning weights of a rigged body: each point learns a weight between 0
  (it keeps still) and 1 (it moves as if fixed to the head). The weight belongs to the point of the body, not to the
  pixel, and does not depend on the pose. Points are skinned forward, from the reference frame to the pixel, and found
  by iteration as in SNARF (Chen et al. 2021). Skinning backward would move the pixel, not the point of the body that it
  shows, which is another motion as soon as both head and weight are far from 0.
- The remaining motion is linear in head pose and code, as blendshapes are in their coefficients: a network gives each
  point its displacement per unit of each.
"""

from __future__ import annotations

from typing import Callable, Literal, Optional, Tuple

import torch
from jaxtyping import Float
from nerfstudio.field_components.encodings import NeRFEncoding
from nerfstudio.field_components.mlp import MLP
from torch import Tensor, nn

from nerfblendshape_ns.fields.networks import Implementation, evaluate, implementation_of, make_frame_codes
from nerfblendshape_ns.ops.hash_grid import HashGridLayout, hash_grid_encode

POSE_DIM = 6
"""Numbers of a head pose; see :class:`.HeadPoseCode`."""
POSITION_FREQUENCIES = 4
"""Frequencies of the torso coordinate in the networks that move points."""
POSE_FREQUENCIES = 2
"""Frequencies of the head pose, with the deformation "network"."""
LARGEST_SHIFT = 0.15
"""Largest displacement of a point along an axis, as a fraction of the image."""
INITIAL_RANGE = 1e-4
"""The table starts uniform in ±this, as in Instant-NGP."""
ITERATIONS = 4
"""Steps towards the point of the body that a pixel shows."""

Deformation = Literal["linear", "network"]
"""How points move: by skinning weights and linearly with head pose and code, or by a network that reads them
(RAD-NeRF)."""
HeadMotion = Callable[[Float[Tensor, "points 2"]], Float[Tensor, "points 2"]]
"""Where torso coordinates go if they are fixed to the head, from the reference frame to each point's own frame."""


class TorsoField(nn.Module):
    """Torso coordinate, head pose and frame code → opacity and colour.

    Args:
        layout: of the two-dimensional hash grid.
        num_frames: training frames; each owns a code where ``frame_code_dim`` is positive.
        frame_code_dim: length of the per-frame code; 0 turns it off.
        deformation: see :data:`Deformation`.
        hidden_dim: width of the networks.
        implementation: "tcnn" uses tiny-cuda-nn's fused networks where it is installed, else torch.
    """

    def __init__(
        self,
        layout: HashGridLayout,
        num_frames: int,
        frame_code_dim: int = 8,
        deformation: Deformation = "linear",
        hidden_dim: int = 64,
        implementation: Implementation = "torch",
    ) -> None:
        super().__init__()
        self.layout = layout
        self.table = nn.Parameter(
            torch.empty(layout.rows, layout.features_per_level).uniform_(-INITIAL_RANGE, INITIAL_RANGE)
        )
        self.frame_codes = make_frame_codes(num_frames, frame_code_dim)
        self.position_encoding = _frequencies(2, POSITION_FREQUENCIES)
        self.linear = deformation == "linear"
        self.pose_encoding = None if self.linear else _frequencies(POSE_DIM, POSE_FREQUENCIES)
        pose_dim = POSE_DIM if self.pose_encoding is None else self.pose_encoding.get_out_dim()
        self.hidden_dim, self.condition_dim = hidden_dim, pose_dim + frame_code_dim
        self.skinning: Optional[MLP] = None
        if self.linear:
            self.skinning = MLP(
                in_dim=self.position_encoding.get_out_dim(),
                num_layers=2,
                layer_width=hidden_dim // 2,
                out_dim=1,
                activation=nn.ReLU(),
                implementation="torch",
            )
        self.build_networks(implementation)

    @property
    def implementation(self) -> Implementation:
        """What the networks were made with."""
        return implementation_of(self.appearance)

    def build_networks(self, implementation: Implementation) -> None:
        """Build the networks again, untrained."""
        self.deformation = MLP(
            in_dim=self.position_encoding.get_out_dim() + (0 if self.linear else self.condition_dim),
            num_layers=3,
            layer_width=self.hidden_dim,
            out_dim=2 * (1 + self.condition_dim) if self.linear else 2,
            activation=nn.ReLU(),
            implementation=implementation,
        )
        self.appearance = MLP(
            in_dim=self.layout.output_dim + self.condition_dim,
            num_layers=3,
            layer_width=self.hidden_dim,
            out_dim=4,
            activation=nn.ReLU(),
            implementation=implementation,
        )
        self.to(self.table.device)

    def forward(
        self,
        coordinates: Float[Tensor, "points 2"],
        pose: Float[Tensor, "#points 6"],
        code: Optional[Float[Tensor, "#points code"]] = None,
        head_motion: Optional[HeadMotion] = None,
    ) -> Tuple[Float[Tensor, "points 3"], Float[Tensor, "points 1"], Float[Tensor, "points 2"]]:
        """Colour in [0, 1] (not premultiplied), opacity in [0, 1] and the shift of each point.

        Args:
            coordinates: fractions of the captured image, in [0, 1].
            pose: from :class:`.HeadPoseCode`; only the linear deformation
                follows it beyond ±1.
            code: per-frame code; required when the field has them.
            head_motion: see :data:`HeadMotion`, by :meth:`.TorsoPlane.moved_with_head`; required by the linear
                deformation.
        """
        inside = pose.clamp(-1.0, 1.0)  # Extrapolated colours would be no better known.
        condition = self._condition(inside, code)
        if self.linear:
            body = self._point_of_body(coordinates, head_motion)
            shift = body - coordinates + self._linear_shift(body, self._condition(pose, code))
        else:
            rows = torch.cat([self._encoded(coordinates), condition.expand(len(coordinates), -1)], -1)
            shift = _bounded(evaluate(self.deformation, rows))
        # Points pushed over the border look up the border.
        features = hash_grid_encode((coordinates + shift).clamp(0.0, 1.0), self.table[None], self.layout)
        inputs = torch.cat([features, condition.expand(len(coordinates), -1)], -1)
        output = torch.sigmoid(evaluate(self.appearance, inputs))
        return output[:, :3], output[:, 3:], shift

    def _condition(self, pose: Tensor, code: Optional[Tensor]) -> Float[Tensor, "#points condition"]:
        parts = [pose if self.pose_encoding is None else _encode(self.pose_encoding, pose)]
        if self.frame_codes is not None:
            assert code is not None, "this field was built with frame codes"
            parts.append(code)
        rows = max(len(part) for part in parts)
        return torch.cat([part.float().expand(rows, -1) for part in parts], -1)

    def _encoded(self, coordinates: Tensor) -> Float[Tensor, "points frequencies"]:
        return _encode(self.position_encoding, coordinates * 2 - 1)

    def _point_of_body(
        self, coordinates: Float[Tensor, "points 2"], head_motion: Optional[HeadMotion]
    ) -> Float[Tensor, "points 2"]:
        """Which points of the reference frame the skinning weights bring to ``coordinates``.

        Weight and motion are those of the point that is sought, hence a fixed-point iteration.
        """
        assert self.skinning is not None and head_motion is not None, "the linear deformation follows the head"
        point = coordinates
        for _ in range(ITERATIONS):
            weight = torch.sigmoid(self.skinning(self._encoded(point).float()))
            point = coordinates + weight * (point - head_motion(point))
        return point

    def _linear_shift(
        self, points: Float[Tensor, "points 2"], condition: Float[Tensor, "#points condition"]
    ) -> Float[Tensor, "points 2"]:
        """Displacements beside the skinning's."""
        per_unit = evaluate(self.deformation, self._encoded(points)).unflatten(1, (2, -1))
        return _bounded(per_unit[..., 0] + (per_unit[..., 1:] * condition[:, None, :]).sum(-1))


def _bounded(shift: Float[Tensor, "points 2"]) -> Float[Tensor, "points 2"]:
    """At most :data:`LARGEST_SHIFT` along an axis."""
    return LARGEST_SHIFT * torch.tanh(shift * 0.1)


def _encode(encoding: NeRFEncoding, rows: Float[Tensor, "rows numbers"]) -> Float[Tensor, "rows frequencies"]:
    # nerfstudio's takes no less than one row.
    return encoding(rows.contiguous()) if len(rows) else rows.new_zeros(0, encoding.get_out_dim())


def _frequencies(dimensions: int, count: int) -> NeRFEncoding:
    # nerfstudio's frequencies count whole turns per unit; a quarter turn is the slowest that tells -1 from 1. By torch
    # always: tiny-cuda-nn has no frequency below a whole turn.
    return NeRFEncoding(
        in_dim=dimensions,
        num_frequencies=count,
        min_freq_exp=-2.0,
        max_freq_exp=count - 3.0,
        include_input=True,
        implementation="torch",
    )
