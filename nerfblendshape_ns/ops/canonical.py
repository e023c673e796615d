"""Canonical positions of samples of a moved face, and the part of the head that each lies in: one launch for all.

A point's canonical position is the one whose displacement leads to the point. It is the fixed point of ``canonical =
point - displacement(canonical)``, found by Anderson's method of depth one, a secant method for each sample (Walker & Ni
2011): between lips, where displacements change abruptly, plain steps do not come near.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple, Optional, Tuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from nerfblendshape_ns.ops import canonical_kernels


class FaceMap(NamedTuple):
    """Where the parts of the head are, in canonical space."""

    weights: Float[Tensor, "z x"]
    """Over the frontal plane: 1 on the face, 0 off it, a ramp between."""
    rear: Float[Tensor, ""]
    """The face ends at this depth (y)."""
    border: Float[Tensor, ""]
    """Height (z) between the lower and the upper face."""
    blur: float = 0.0
    """Standard deviation by which the border is shifted for each sample where there is a seed."""
    seed: Optional[Int[Tensor, "1"]] = None
    """int32; with it the ramp is decided at random for each sample, else by its middle."""


class EyeMap(NamedTuple):
    """How the eyeballs are turned, the one of smaller x first."""

    opening: Float[Tensor, "z x"]
    """Over the frontal plane: 1 between the lids, 0 elsewhere."""
    centres: Float[Tensor, "2 3"]
    """In [0, 1] over the box."""
    size: Float[Tensor, "3"]
    """Of the box, in radii of an eyeball."""
    turns: Float[Tensor, "basis 2 2"]
    """Radians about x, then z, by which each coefficient turns each eye."""
    ends: Float[Tensor, "2 2 2"]
    """The smallest and the largest of the sums."""
    coefficients: Float[Tensor, "frames numbers"]
    """Of each frame; others may follow those of ``turns``."""


class Marched(NamedTuple):
    """Says where samples lie on rays."""

    directions: Float[Tensor, "rays 3"]
    """Unit vectors in scene coordinates."""
    distances: Float[Tensor, "samples"]
    """Along the ray."""
    rays: Int[Tensor, "samples"]
    """int64, the ray of each sample."""
    box: Float[Tensor, "2 3"]
    """Its corners become 0 and 1."""


def canonical_positions(
    points: Float[Tensor, "points 3"],
    marched: Optional[Marched] = None,
    frame_index: Optional[Int[Tensor, "points"]] = None,
    frames: int = 1,
    fields: Optional[Float[Tensor, "frames grid grid grid 3"]] = None,
    face: Optional[FaceMap] = None,
    eyes: Optional[EyeMap] = None,
) -> Tuple[Float[Tensor, "samples 3"], Int[Tensor, "samples"]]:
    """Canonical position and row of each sample.

    Args:
        points: the samples in [0, 1] over the box; with ``marched`` the origins of the rays, in scene coordinates.
            What lies outside the box is clamped.
        marched: makes samples of rays.
        frame_index: int32, the frame of each point, or of each ray; None where there is one.
        frames: number of frames.
        fields: displacement of space in each frame at canonical positions of a grid over the box, indexed z, y, x, in
            the box's units; None leaves samples where they are.
        face: tells the parts of the head apart; None where there is one.
        eyes: turns what lies between the lids back, after ``fields``; None leaves it.

    Returns:
        Positions in [0, 1], and ``part * frames + frame`` (int32). Gradients pass from the positions to ``points`` and
        ``directions`` unchanged but for the scale of the box, and not where a point was clamped; to ``fields`` as if
        displacements did not vary in space; to ``eyes`` not at all.
    """
    directions = None if marched is None else marched.directions
    return _Canonical.apply(points, directions, fields, marched, frame_index, frames, face, eyes)


@cache
def _absent(device: torch.device) -> Tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Empty tensors, from which the kernels know that something is not given."""
    with torch.inference_mode(False):  # They stay for later training.
        real = torch.empty(0, device=device)
        index = torch.empty(0, dtype=torch.int32, device=device)
        return real, real.view(0, 0), real.view(0, 3), real.view(0, 0, 0, 0, 3), index, index.long()


class _Canonical(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        points: Tensor,
        directions: Optional[Tensor],
        fields: Optional[Tensor],
        marched: Optional[Marched],
        frame_index: Optional[Tensor],
        frames: int,
        face: Optional[FaceMap],
        eyes: Optional[EyeMap],
    ) -> Tuple[Tensor, Tensor]:
        real, plane, vectors, grid, index, long = _absent(points.device)
        origins, frame_index = points.float().contiguous(), index if frame_index is None else frame_index
        if marched is None or directions is None:
            samples, rays, on_ray = len(points), long, (vectors, real, long, vectors)
        else:
            samples, rays = len(marched.rays), marched.rays
            on_ray = (directions.float().contiguous(), marched.distances, rays, marched.box)
        parts = (plane, real, real, 0.0, index)
        if face is not None:
            seed = index if face.seed is None else face.seed
            parts = (face.weights, face.rear.view(1), face.border.view(1), face.blur, seed)
        turned = (plane, vectors, vectors, real.view(0, 0, 2), real.view(0, 0, 2), plane)
        if eyes is not None:
            shapes = eyes.opening, eyes.centres, eyes.size.view(1, 3), eyes.turns, eyes.ends
            turned = (*shapes, eyes.coefficients.float().contiguous())
        positions = points.new_empty(samples, 3, dtype=torch.float32)
        rows = torch.empty(samples, dtype=torch.int32, device=points.device)
        displacement = grid if fields is None else fields.float().contiguous()
        canonical_kernels.canonical(
            samples, (), (origins, *on_ray, frame_index, frames, displacement, *turned, *parts, positions, rows)
        )
        ctx.marched, ctx.field_shape = marched, displacement.shape
        ctx.save_for_backward(points, directions, positions, rays, frame_index)
        ctx.mark_non_differentiable(rows)
        return positions, rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tuple[Optional[Tensor], ...]:
        points, directions, positions, rays, frame_index = ctx.saved_tensors
        gradient, marched = gradients[0].contiguous(), ctx.marched
        point_gradient = direction_gradient = field_gradient = None
        if ctx.needs_input_grad[2]:
            # On the CPU, where atomics are not atomic, one thread walks through all samples.
            block = len(positions) if positions.device.type == "cpu" else 1
            field_gradient = gradient.new_zeros(ctx.field_shape)
            canonical_kernels.field_gradient(
                -(-len(positions) // max(block, 1)),
                (),
                (block, positions, rays, frame_index, gradient, field_gradient),
            )
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            if marched is None:
                point_gradient = torch.where((points >= 0.0) & (points <= 1.0), gradient, 0.0)
            else:
                extent = marched.box[1] - marched.box[0]
                unit = (points[rays] + directions[rays] * marched.distances[:, None] - marched.box[0]) / extent
                gradient = torch.where((unit >= 0.0) & (unit <= 1.0), gradient / extent, 0.0)
                point_gradient = torch.zeros_like(points).index_add_(0, rays, gradient)
                direction_gradient = torch.zeros_like(directions).index_add_(
                    0, rays, gradient * marched.distances[:, None]
                )
        return point_gradient, direction_gradient, field_gradient, None, None, None, None, None
