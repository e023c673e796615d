"""Marching rays through occupancy grids: where nerfacc's estimator puts its samples.

Stands in for nerfacc 0.5.2's ``ray_aabb_intersect`` and ``traverse_grids`` with the same arguments. Along a ray the
steps are fixed by the near plane alone: step ``k`` begins where step ``k - 1`` ends, at ``t``, and is
``max(step_size, cone_angle * t)`` long. A step becomes a sample when its midpoint lies in an occupied cell of
the finest grid around it.
"""

from __future__ import annotations

from typing import Optional, Tuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nerfblendshape_ns.ops.ray_marching_kernels import intersect_boxes, march_rays


class RaySegmentsSpec:
    """What nerfacc's ``RayIntervals._from_cpp`` and ``RaySamples._from_cpp`` read: packed values and their rays."""

    def __init__(self) -> None:
        self.vals: Optional[Tensor] = None
        self.is_left: Optional[Tensor] = None
        self.is_right: Optional[Tensor] = None
        self.chunk_starts: Optional[Tensor] = None
        self.chunk_cnts: Optional[Tensor] = None
        self.ray_indices: Optional[Tensor] = None


def ray_aabb_intersect(
    rays_o: Float[Tensor, "rays 3"],
    rays_d: Float[Tensor, "rays 3"],
    aabbs: Float[Tensor, "boxes 6"],
    near_plane: float,
    far_plane: float,
    miss_value: float,
) -> Tuple[Float[Tensor, "rays boxes"], Float[Tensor, "rays boxes"], Bool[Tensor, "rays boxes"]]:
    """Where rays enter and leave axis-aligned boxes, by the slab method.

    Args:
        rays_o: origins.
        rays_d: directions; distances are in their length.
        aabbs: smallest corner, then largest corner.
        near_plane: distances are clamped to at least this.
        far_plane: and to at most this.
        miss_value: stands for both distances where a ray misses.

    Returns:
        Entry distances, exit distances, and whether the ray meets the box in front of its origin.
    """
    shape = (rays_o.shape[0], aabbs.shape[0])
    t_mins, t_maxs = rays_o.new_empty(shape), rays_o.new_empty(shape)
    hits = torch.empty(shape, dtype=torch.bool, device=rays_o.device)
    intersect_boxes(
        shape[0],
        (shape[1],),
        (rays_o, rays_d, aabbs, float(near_plane), float(far_plane), float(miss_value), t_mins, t_maxs, hits),
    )
    return t_mins, t_maxs, hits


def traverse_grids(
    rays_o: Float[Tensor, "rays 3"],
    rays_d: Float[Tensor, "rays 3"],
    binaries: Bool[Tensor, "grids width height depth"],
    aabbs: Float[Tensor, "grids 6"],
    t_mins: Float[Tensor, "rays grids"],
    t_maxs: Float[Tensor, "rays grids"],
    hits: Bool[Tensor, "rays grids"],
    near_planes: Float[Tensor, " rays"],
    far_planes: Float[Tensor, " rays"],
    step_size: float,
    cone_angle: float,
    compute_intervals: bool,
    compute_samples: bool,
) -> Tuple[RaySegmentsSpec, RaySegmentsSpec]:
    """Steps of rays whose midpoints lie in occupied cells.

    Args:
        rays_o: origins.
        rays_d: directions.
        binaries: whether a cell is occupied, finest grid first.
        aabbs: box of every grid.
        t_mins: from :func:`ray_aabb_intersect`, as the next two.
        t_maxs: distance where the ray leaves a grid.
        hits: whether a ray meets a grid.
        near_planes: distance at which a ray's first step begins.
        far_planes: no midpoint lies beyond this.
        step_size: length of the shortest step, greater than 0.
        cone_angle: growth of steps with distance; 0 keeps them equal.
        compute_intervals: fill the first result.
        compute_samples: fill the second result.

    Returns:
        Interval edges, where neighbouring steps share an edge that is a right and a left one, and sample midpoints,
        both packed by ray.

    Raises:
        ValueError: ``step_size`` is not positive.
    """
    if not step_size > 0.0:
        raise ValueError(f"Rays are marched with a positive step size, not {step_size}.")
    num_rays = rays_o.shape[0]
    long = {"dtype": torch.int64, "device": rays_o.device}
    counts = torch.zeros(2, num_rays, **long)
    grids = (binaries.flatten(1), *binaries.shape[1:], aabbs)
    rays = (rays_o, rays_d, t_mins, t_maxs, hits, near_planes, far_planes, float(step_size), float(cone_angle))
    none = torch.empty(0, **long)
    nothing = torch.empty(0, device=rays_o.device)
    flags = torch.empty(0, dtype=torch.bool, device=rays_o.device)
    outputs = (counts, none, nothing, flags, flags, none, nothing, none)
    march_rays(num_rays, (), (0, *grids, *rays, *outputs))

    ends = counts.cumsum(1)
    starts = ends - counts
    num_edges, num_samples = ends[:, -1].tolist() if num_rays else (0, 0)
    intervals, samples = RaySegmentsSpec(), RaySegmentsSpec()
    edge_values, sample_values = rays_o.new_empty(num_edges), rays_o.new_empty(num_samples)
    edge_rays, sample_rays = torch.empty(num_edges, **long), torch.empty(num_samples, **long)
    is_left = torch.zeros(num_edges, dtype=torch.bool, device=rays_o.device)
    is_right = torch.zeros_like(is_left)
    if num_samples:
        outputs = (counts, starts, edge_values, is_left, is_right, edge_rays, sample_values, sample_rays)
        march_rays(num_rays, (), (1, *grids, *rays, *outputs))
    if compute_intervals:
        intervals.vals, intervals.is_left, intervals.is_right = edge_values, is_left, is_right
        intervals.chunk_starts, intervals.chunk_cnts, intervals.ray_indices = starts[0], counts[0], edge_rays
    if compute_samples:
        samples.vals, samples.ray_indices = sample_values, sample_rays
        samples.chunk_starts, samples.chunk_cnts = starts[1], counts[1]
    return intervals, samples
