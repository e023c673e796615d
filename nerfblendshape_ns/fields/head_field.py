"""Density and colour of the head: the blended grid and the networks behind it."""

from __future__ import annotations

from typing import Literal, Optional, Tuple

import torch
from jaxtyping import Float, Int
from nerfstudio.field_components.mlp import MLP
from torch import Tensor, nn

from nerfblendshape_ns.field_components.blendshape_encoding import BlendshapeHashEncoding
from nerfblendshape_ns.fields.networks import (
    Implementation,
    evaluate,
    evaluate_with_shared,
    implementation_of,
    make_frame_codes,
    of_shared,
    rows_of_frames,
)
from nerfblendshape_ns.ops.bounded_exponential import bounded_exponential
from nerfblendshape_ns.ops.hash_grid import HashGridLayout
from nerfblendshape_ns.ops.launch import is_gpu
from nerfblendshape_ns.ops.spherical_harmonics import COMPONENTS, spherical_harmonics

Conditioning = Literal["blend", "concat", "code", "static"]
DENSITY_BIAS = -1.0
"""Added to the network's density before the exponential, so that space starts nearly empty."""
OPAQUE_STEP = 8.0
"""Largest optical depth of one marching step: 3e-4 of the light passes, and as much gradient."""
OPACITY_START = 0.2
"""The same at the first training step: starting translucent keeps gradients flowing to what lies behind the first wrong
surface."""
OPACITY_WARMUP = 1000
"""Training steps over which it grows, exponentially."""


def largest_optical_depth(step: int) -> float:
    """Optical depth that one marching step may have at a training step."""
    fraction = min(1.0, step / max(1, OPACITY_WARMUP))
    return OPACITY_START * (OPAQUE_STEP / OPACITY_START) ** fraction


class HeadField(nn.Module):
    """positions → blended grid → density network → density and geometry features → colour network.

    Args:
        layout: of the hash grid.
        num_basis: number of coefficients that condition the field; head pose may be among them.
        num_frames: training frames; each owns an appearance code where ``frame_code_dim`` is positive.
        conditioning: "blend" blends the tables by the coefficients (the method). The others are baselines with one
            static grid: "concat" appends the coefficients to the density network's input, "code" a learnt code per
            training frame (other frames use the codes' mean), "static" nothing.
        network_expression: with "blend", let the density network read what the tables are blended by, beside the
            blended features.
        mixing: see :class:`BlendshapeHashEncoding`.
        hidden_dim: width of the networks.
        density_layers: layers of the density network.
        color_layers: layers of the colour network.
        geometry_dim: features handed from the density to the colour network.
        frame_code_dim: length of the per-frame appearance code; 0 turns it off.
        max_density: largest density; a few optical depths per marching step are enough to be opaque.
        implementation: "tcnn" uses tiny-cuda-nn's fused networks where it is installed, else torch.
    """

    def __init__(
        self,
        layout: HashGridLayout,
        num_basis: int,
        num_frames: int,
        conditioning: Conditioning = "blend",
        network_expression: bool = False,
        mixing: Optional[Float[Tensor, "components basis"]] = None,
        hidden_dim: int = 64,
        density_layers: int = 3,
        color_layers: int = 2,
        geometry_dim: int = 15,
        frame_code_dim: int = 0,
        max_density: float = 1e4,
        implementation: Implementation = "torch",
    ) -> None:
        super().__init__()
        self.geometry_dim = geometry_dim
        self.hidden_dim, self.density_layers, self.color_layers = hidden_dim, density_layers, color_layers
        self.frame_code_dim = frame_code_dim
        self.max_density = max_density
        blended = conditioning == "blend"
        self.encoding = BlendshapeHashEncoding(layout, num_basis if blended else 0, mixing if blended else None)
        components = self.encoding.bases.shape[0] if network_expression else 0
        inputs = {"blend": components, "concat": num_basis, "code": frame_code_dim, "static": 0}
        self.num_inputs = inputs[conditioning]
        self.frame_codes = make_frame_codes(num_frames, frame_code_dim)
        self.build_networks(implementation)

    @property
    def implementation(self) -> Implementation:
        """What the networks were made with."""
        return implementation_of(self.density_network)

    def build_networks(self, implementation: Implementation) -> None:
        """Make the networks anew, untrained."""
        self.density_network = MLP(
            in_dim=self.encoding.output_dim + self.num_inputs,
            num_layers=self.density_layers,
            layer_width=self.hidden_dim,
            out_dim=1 + self.geometry_dim,
            activation=nn.ReLU(inplace=True),
            implementation=implementation,
        )
        self.color_network = MLP(
            in_dim=self.geometry_dim + COMPONENTS + self.frame_code_dim,
            num_layers=self.color_layers,
            layer_width=self.hidden_dim,
            out_dim=3,
            activation=nn.ReLU(inplace=True),
            out_activation=nn.Sigmoid(),
            implementation=implementation,
        )
        self.to(self.encoding.mean.device)

    def blend(
        self, expression: Float[Tensor, "frames basis"]
    ) -> Tuple[Float[Tensor, "frames rows features"], Float[Tensor, "frames values"]]:
        """The tables that samples of these frames look up, and what the density network makes of each frame.

        Args:
            expression: the coefficients; with "code" the codes.
        """
        # What the tables cannot distinguish the network must not either: nothing would teach it.
        components = self.encoding.components(expression)
        read = components if self.num_inputs else components[:1, :0]
        return self.encoding.blend_components(components), of_shared(self.density_network, read)

    def density(
        self,
        positions: Float[Tensor, "samples 3"],
        tables: Float[Tensor, "frames rows features"],
        of_frames: Float[Tensor, "frames values"],
        frame_index: Optional[Int[Tensor, "samples"]] = None,
    ) -> Tuple[Float[Tensor, "samples"], Float[Tensor, "samples geometry_dim"]]:
        """Density (per unit length of normalised space) and geometry features.

        Args:
            positions: in [0, 1], over the head box.
            tables: from :meth:`blend`.
            of_frames: from :meth:`blend`.
            frame_index: row of ``tables`` and ``of_frames`` for each sample; None where there is one frame.
        """
        features = self.encoding(positions, tables, frame_index)
        row = frame_index if self.num_inputs else None
        hidden = evaluate_with_shared(self.density_network, features, of_frames, row)
        logarithm, geometry = hidden.split([1, self.geometry_dim], dim=1)
        return bounded_exponential(logarithm.squeeze(1), DENSITY_BIAS, self.max_density), geometry

    def color(
        self,
        directions: Float[Tensor, "rays 3"],
        rays: Int[Tensor, "samples"],
        geometry: Float[Tensor, "samples geometry_dim"],
        codes: Optional[Float[Tensor, "frames code"]] = None,
        ray_frame: Optional[Int[Tensor, "rays"]] = None,
    ) -> Float[Tensor, "samples 3"]:
        """Colour in [0, 1].

        Args:
            directions: unit viewing directions in head space: a turning head moves them as a moving camera does, so
                they carry the change of shading with head rotation.
            rays: int64, the ray of each sample.
            geometry: from :meth:`density`.
            codes: the appearance codes; required when the field has them.
            ray_frame: row of ``codes`` for each ray; None takes the first.
        """
        # Without gradients a CPU computes what the samples of a ray share once for all of them.
        by_sample = torch.is_grad_enabled() or is_gpu(geometry)
        inputs = [spherical_harmonics(directions, rays if by_sample else None)]
        if self.frame_codes is not None:
            assert codes is not None, "this field was built with appearance codes"
            if ray_frame is None:
                inputs.append(codes[:1].expand(len(inputs[0]), -1))
            else:
                inputs.append(rows_of_frames(codes, ray_frame[rays] if by_sample else ray_frame))
        if by_sample:
            return evaluate(self.color_network, torch.cat([geometry, *inputs], dim=-1))
        shared = inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=-1)
        return evaluate_with_shared(self.color_network, geometry, of_shared(self.color_network, shared), rays.int())
