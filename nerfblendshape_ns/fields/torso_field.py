"""Colour and opacity of the torso: a picture that bends with the head's pose.

RAD-NeRF's torso (Tang et al. 2022, section 3.3): a point of the torso plane is moved by a small network that sees the
head pose and a per-frame code, then looked up in a two-dimensional hash grid that a second network turns into opacity
and colour.

Beyond it, two things let it foresee poses that no training frame has:

- The head carries what is near it, as skinning weights do on a rigged body: each point learns a share between 0 (it
  keeps still) and 1 (it moves as if fixed to the head). The share belongs to the point of the body, not to the pixel,
  and does not depend on the pose. Points are skinned forward, from the reference frame to the pixel, and found by
  iteration as in SNARF (Chen et al. 2021): turned back instead, a pixel would be taken about itself and not about where
  its point of the body is, which is another motion as soon as both head and share are far from 0.
- What moves beside that is linear in head pose and code, as blendshapes are in their coefficients: a network gives each
  point its displacement per unit of each.
"""

from __future__ import annotations

from typing import Callable, Literal, Optional, Tuple

import torch
from jaxtyping import Float
from nerfstudio.field_components.encodings import NeRFEncoding
from nerfstudio.field_components.mlp import MLP
from torch import Tensor, nn

from nerfblendshape_ns.fields.networks import Implementation, evaluate, implementation_of
from nerfblendshape_ns.ops.hash_grid import HashGridLayout, hash_grid_encode

POSE_DIM = 6
HEAD_DIM = 4
"""Colour and opacity of the head at a pixel."""
LARGEST_SHIFT = 0.15
"""A point moves at most so far, as a share of the picture."""
INITIAL_RANGE = 1e-4
"""The table starts uniform in ±this, as in Instant-NGP."""
ROUNDS = 4
"""Steps towards the point of the body that a pixel shows."""

Deformation = Literal["linear", "network"]
"""How a point's own shift follows head pose and code: linearly, or through a network that reads them (RAD-NeRF)."""
Carry = Callable[[Float[Tensor, "points 2"]], Float[Tensor, "points 2"]]
"""Where torso coordinates go if they are fixed to the head, from the reference frame to each point's own frame."""


class TorsoField(nn.Module):
    """Torso coordinate, head pose and frame code → opacity and colour.

    Args:
        layout: of the two-dimensional hash grid.
        num_frames: training frames; each owns a code where ``frame_code_dim`` is positive.
        frame_code_dim: length of the per-frame code; 0 turns it off.
        head_aware: the second network also sees the head's colour and opacity at the pixel.
        carried: learn by what share the head carries each point.
        deformation: see :data:`Deformation`.
        position_frequencies: of the torso coordinate, in the deformation.
        pose_frequencies: of the head pose; with "linear" the networks read the pose itself.
        hidden_dim: width of the networks.
        implementation: "tcnn" uses tiny-cuda-nn's fused networks where it is installed, else torch.
    """

    def __init__(
        self,
        layout: HashGridLayout,
        num_frames: int,
        frame_code_dim: int = 8,
        head_aware: bool = False,
        carried: bool = True,
        deformation: Deformation = "linear",
        position_frequencies: int = 4,
        pose_frequencies: int = 2,
        hidden_dim: int = 64,
        implementation: Implementation = "torch",
    ) -> None:
        super().__init__()
        self.layout = layout
        self.head_aware = head_aware
        self.table = nn.Parameter(
            torch.empty(layout.rows, layout.features_per_level).uniform_(-INITIAL_RANGE, INITIAL_RANGE)
        )
        self.frame_codes = nn.Embedding(num_frames, frame_code_dim) if frame_code_dim > 0 else None
        if self.frame_codes is not None:
            nn.init.zeros_(self.frame_codes.weight)
        self.position_encoding = _frequencies(2, position_frequencies)
        self.linear = deformation == "linear"
        self.pose_encoding = None if self.linear else _frequencies(POSE_DIM, pose_frequencies)
        pose_dim = POSE_DIM if self.pose_encoding is None else self.pose_encoding.get_out_dim()
        self.hidden_dim, self.condition_dim = hidden_dim, pose_dim + frame_code_dim
        self.carriage = None
        if carried:
            self.carriage = MLP(
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
        """Make the networks anew, untrained."""
        self.deformation = MLP(
            in_dim=self.position_encoding.get_out_dim() + (0 if self.linear else self.condition_dim),
            num_layers=3,
            layer_width=self.hidden_dim,
            out_dim=2 * (1 + self.condition_dim) if self.linear else 2,
            activation=nn.ReLU(),
            implementation=implementation,
        )
        self.appearance = MLP(
            in_dim=self.layout.output_dim + self.condition_dim + (HEAD_DIM if self.head_aware else 0),
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
        head: Optional[Float[Tensor, "points 4"]] = None,
        carry: Optional[Carry] = None,
    ) -> Tuple[Float[Tensor, "points 3"], Float[Tensor, "points 1"], Float[Tensor, "points 2"]]:
        """Colour in [0, 1] (not premultiplied), opacity in [0, 1] and the shift of each point.

        Args:
            coordinates: shares of the captured picture, in [0, 1].
            pose: from :class:`.HeadPoseCode`; only the linear deformation
                follows it beyond ±1.
            code: per-frame code; required when the field has them.
            head: premultiplied colour and opacity of the head; required when the field is head-aware.
            carry: see :data:`Carry`, by :meth:`.TorsoPlane.carried`;
                required when the field learns carried shares.
        """
        known = pose.clamp(-1.0, 1.0)  # A colour that goes on in poses that training does not show is no better known.
        condition = self._condition(known, code)
        moves = self._condition(pose, code) if self.linear else condition
        body = self._point_of_body(coordinates, carry)
        shift = body - coordinates + self._own_shift(body if self.linear else coordinates, moves)
        # Points pushed over the border look up the border.
        features = hash_grid_encode((coordinates + shift).clamp(0.0, 1.0), self.table[None], self.layout)
        parts = [features, condition.expand(len(coordinates), -1)]
        if self.head_aware:
            assert head is not None, "this field was built to see the head"
            parts.append(head)
        output = torch.sigmoid(evaluate(self.appearance, torch.cat(parts, -1)))
        return output[:, :3], output[:, 3:], shift

    def _condition(self, pose: Tensor, code: Optional[Tensor]) -> Float[Tensor, "#points condition"]:
        parts = [pose if self.pose_encoding is None else self.pose_encoding(pose.contiguous())]
        if self.frame_codes is not None:
            assert code is not None, "this field was built with frame codes"
            parts.append(code)
        rows = max(len(part) for part in parts)
        return torch.cat([part.float().expand(rows, -1) for part in parts], -1)

    def _places(self, coordinates: Tensor) -> Tensor:
        return self.position_encoding((coordinates * 2 - 1).contiguous())

    def _point_of_body(
        self, coordinates: Float[Tensor, "points 2"], carry: Optional[Carry]
    ) -> Float[Tensor, "points 2"]:
        """Where points of the plane are in the reference frame by what the head carries of them.

        Share and motion are those of the point sought, hence a fixed point, found by a few rounds of putting it in.
        """
        if self.carriage is None:
            return coordinates
        assert carry is not None, "this field was built to be carried by the head"
        point = coordinates
        for _ in range(ROUNDS):
            share = torch.sigmoid(self.carriage(self._places(point).float()))
            point = coordinates + share * (point - carry(point))
        return point

    def _own_shift(
        self, points: Float[Tensor, "points 2"], condition: Float[Tensor, "#points condition"]
    ) -> Float[Tensor, "points 2"]:
        """What moves points beside the head's carrying them, at most LARGEST_SHIFT along an axis."""
        places = self._places(points)
        if self.linear:
            bends = evaluate(self.deformation, places).view(len(points), 2, -1)
            bend = bends[..., 0] + (bends[..., 1:] * condition[:, None, :]).sum(-1)
        else:
            bend = evaluate(self.deformation, torch.cat([places, condition.expand(len(points), -1)], -1))
        return LARGEST_SHIFT * torch.tanh(bend * 0.1)

    def frame_code(self, frame: Optional[Tensor]) -> Optional[Float[Tensor, "frames code"]]:
        """Codes of training frames; None asks for their mean, which every other frame uses."""
        if self.frame_codes is None:
            return None
        return self.frame_codes.weight.mean(0, keepdim=True) if frame is None else self.frame_codes(frame)


def _frequencies(dimensions: int, count: int) -> NeRFEncoding:
    # nerfstudio's frequencies count whole turns a unit; a quarter turn is the slowest that tells -1 from 1. By torch
    # always: tiny-cuda-nn has no frequency below a whole turn.
    return NeRFEncoding(
        in_dim=dimensions,
        num_frequencies=max(1, count),
        min_freq_exp=-2.0,
        max_freq_exp=max(1, count) - 3.0,
        include_input=True,
        implementation="torch",
    )
