"""Colour and opacity of the torso: a picture that bends with the head's pose.

RAD-NeRF's torso (Tang et al. 2022, section 3.3): a point of the torso plane is moved by a small network that sees the
head pose and a per-frame code, then looked up in a two-dimensional hash grid that a second network turns into opacity
and colour.

Beyond it, the head carries what is near it, as skinning weights do on a rigged body: each point learns a share between
0 (it keeps still) and 1 (it moves as if fixed to the head). The share does not depend on the pose, so that a neck
follows a head that turns further than in training; the network's own shift is left with the rest.
"""

from __future__ import annotations

from typing import Literal, Optional, Tuple

import torch
from jaxtyping import Float
from nerfstudio.field_components.encodings import NeRFEncoding
from nerfstudio.field_components.mlp import MLP
from torch import Tensor, nn

from nerfblendshape_ns.ops.hash_grid import HashGridLayout, hash_grid_encode

POSE_DIM = 6
HEAD_DIM = 4
"""Colour and opacity of the head at a pixel."""
LARGEST_SHIFT = 0.15
"""A point moves at most so far, as a share of the picture."""
INITIAL_RANGE = 1e-4
"""The table starts uniform in ±this, as in Instant-NGP."""


class TorsoField(nn.Module):
    """Torso coordinate, head pose and frame code → opacity and colour.

    Args:
        layout: of the two-dimensional hash grid.
        num_frames: training frames; each owns a code where ``frame_code_dim`` is positive.
        frame_code_dim: length of the per-frame code; 0 turns it off.
        head_aware: the second network also sees the head's colour and opacity at the pixel.
        carried: learn by what share the head carries each point.
        position_frequencies: of the torso coordinate, in the deformation.
        pose_frequencies: of the head pose.
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
        position_frequencies: int = 4,
        pose_frequencies: int = 2,
        hidden_dim: int = 64,
        implementation: Literal["tcnn", "torch"] = "torch",
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
        self.position_encoding = _frequencies(2, position_frequencies, implementation)
        self.pose_encoding = _frequencies(POSE_DIM, pose_frequencies, implementation)
        condition = self.pose_encoding.get_out_dim() + frame_code_dim
        self.deformation = MLP(
            in_dim=self.position_encoding.get_out_dim() + condition,
            num_layers=3,
            layer_width=hidden_dim,
            out_dim=2,
            activation=nn.ReLU(),
            implementation=implementation,
        )
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
        self.appearance = MLP(
            in_dim=layout.output_dim + condition + (HEAD_DIM if head_aware else 0),
            num_layers=3,
            layer_width=hidden_dim,
            out_dim=4,
            activation=nn.ReLU(),
            implementation=implementation,
        )

    def forward(
        self,
        coordinates: Float[Tensor, "points 2"],
        pose: Float[Tensor, "#points 6"],
        code: Optional[Float[Tensor, "#points code"]] = None,
        head: Optional[Float[Tensor, "points 4"]] = None,
        carried: Optional[Float[Tensor, "points 2"]] = None,
    ) -> Tuple[Float[Tensor, "points 3"], Float[Tensor, "points 1"], Float[Tensor, "points 2"]]:
        """Colour in [0, 1] (not premultiplied), opacity in [0, 1] and the shift of each point.

        Args:
            coordinates: shares of the captured picture, in [0, 1].
            pose: from :class:`~nerfblendshape_ns.model_components.head_pose_code.HeadPoseCode`.
            code: per-frame code; required when the field has them.
            head: premultiplied colour and opacity of the head; required when the field is head-aware.
            carried: where each point would be in the reference frame if it were fixed to the head (see
                :meth:`~nerfblendshape_ns.model_components.torso_plane.TorsoPlane.carried`); required when the field
                learns carried shares.
        """
        condition = [self.pose_encoding(pose.contiguous())]
        if self.frame_codes is not None:
            assert code is not None, "this field was built with frame codes"
            condition.append(code)
        condition = [part.expand(len(coordinates), -1) for part in condition]
        places = self.position_encoding((coordinates * 2 - 1).contiguous())
        bend = self.deformation(torch.cat([places, *condition], -1)).float()
        shift = LARGEST_SHIFT * torch.tanh(bend * 0.1)
        if self.carriage is not None:
            assert carried is not None, "this field was built to be carried by the head"
            shift = shift + torch.sigmoid(self.carriage(places.float())) * (carried - coordinates)
        # Points pushed over the border look up the border.
        features = hash_grid_encode((coordinates + shift).clamp(0.0, 1.0), self.table[None], self.layout)
        parts = [features, *condition]
        if self.head_aware:
            assert head is not None, "this field was built to see the head"
            parts.append(head)
        output = torch.sigmoid(self.appearance(torch.cat(parts, -1)).float())
        return output[:, :3], output[:, 3:], shift

    def frame_code(self, frame: Optional[Tensor]) -> Optional[Float[Tensor, "frames code"]]:
        """Codes of training frames; None asks for their mean, which every other frame uses."""
        if self.frame_codes is None:
            return None
        return self.frame_codes.weight.mean(0, keepdim=True) if frame is None else self.frame_codes(frame)


def _frequencies(dimensions: int, count: int, implementation: Literal["tcnn", "torch"]) -> NeRFEncoding:
    # nerfstudio's frequencies count whole turns a unit; a quarter turn is the slowest that tells -1 from 1.
    return NeRFEncoding(
        in_dim=dimensions,
        num_frequencies=max(1, count),
        min_freq_exp=-2.0,
        max_freq_exp=max(1, count) - 3.0,
        include_input=True,
        implementation=implementation,
    )
