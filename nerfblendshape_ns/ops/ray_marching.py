"""Marching rays through an occupancy grid: where nerfacc's estimator puts its samples.

Stands in for nerfacc 0.5.2's compiled ``ray_aabb_intersect`` and ``traverse_grids``, with the same arguments, for one
grid and steps of equal length. Along a ray, step ``k`` runs from ``near + k * step_size`` to ``near + (k + 1) *
step_size``. It becomes a sample when its midpoint lies in an occupied cell.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Tuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nerfblendshape_ns.ops.compositing import PackedSamples
from nerfblendshape_ns.ops.ray_marching_kernels import COUNT, EDGES_TOO, SAMPLES, intersect_boxes, march_rays


def ray_aabb_intersect(
    rays_o: Float[Tensor, "rays 3"],
    rays_d: Float[Tensor, "rays 3"],
    aabbs: Float[Tensor, "boxes 6"],
    near_plane: float,
    far_plane: float,
    miss_value: float,
) -> Tuple[Float[Tensor, "rays boxes"], Float[Tensor, "rays boxes"], Bool[Tensor, "rays boxes"]]:
    """Where rays enter and leave axis-aligned boxes, by the slab method (Kay & Kajiya, SIGGRAPH 1986).

    Args:
        rays_o: origins.
        rays_d: directions; distances are multiples of their length.
        aabbs: smallest corner, then largest corner.
        near_plane: least distance, to which smaller ones are clamped.
        far_plane: greatest distance, to which larger ones are clamped.
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
    binaries: Bool[Tensor, "1 width height depth"],
    aabbs: Float[Tensor, "1 6"],
    t_mins: Float[Tensor, "rays 1"],
    t_maxs: Float[Tensor, "rays 1"],
    hits: Bool[Tensor, "rays 1"],
    near_planes: Float[Tensor, " rays"],
    far_planes: Float[Tensor, " rays"],
    step_size: float,
    cone_angle: float = 0.0,
    compute_intervals: bool = True,
    compute_samples: bool = True,
) -> Tuple[SimpleNamespace, SimpleNamespace]:
    """Steps of rays whose midpoints lie in occupied cells.

    Args:
        rays_o: origins.
        rays_d: directions.
        binaries: whether a cell is occupied.
        aabbs: box of the grid.
        t_mins: distance at which a ray enters the box, from :func:`ray_aabb_intersect`, as the next two.
        t_maxs: distance at which it leaves the box.
        hits: whether it meets the box.
        near_planes: distance at which a ray's first step begins.
        far_planes: distance beyond which no midpoint lies.
        step_size: length of a step, greater than 0.
        cone_angle: must be 0.
        compute_intervals: unused; nerfacc always asks for both results.
        compute_samples: unused.

    Returns:
        Edges of the steps (neighbouring steps share an edge, which is the right one of the first and the left one of
        the second), and their midpoints. Both are packed by ray, with the attributes that nerfacc's ``RayIntervals``
        and ``RaySamples`` read.

    Raises:
        ValueError: more than one grid, steps that grow with distance, or a ``step_size`` that is not positive.
    """
    if len(binaries) != 1 or cone_angle != 0.0:
        raise ValueError(
            f"Rays are marched through one grid in equal steps, not through {len(binaries)} grids with a cone angle of "
            f"{cone_angle}."
        )
    if not step_size > 0.0:
        raise ValueError(f"Rays are marched with a positive step size, not {step_size}.")
    grid = (binaries.flatten(), *binaries.shape[1:], aabbs.flatten())
    spans = (t_mins.flatten(), t_maxs.flatten(), hits.flatten(), near_planes, far_planes)
    inputs = (*grid, rays_o, rays_d, *spans, float(step_size))
    counts, starts, ends = _count(inputs)
    num_edges, num_samples = (int(end) for end in ends)
    edges, middles = rays_o.new_empty(num_edges), rays_o.new_empty(num_samples)
    edge_rays, sample_rays = counts.new_empty(num_edges), counts.new_empty(num_samples)
    is_left, is_right = (torch.zeros(num_edges, dtype=torch.bool, device=rays_o.device) for _ in range(2))
    if num_samples:
        outputs = (counts, starts, edges, is_left, is_right, edge_rays, middles, sample_rays)
        march_rays(len(rays_o), (), (EDGES_TOO, *inputs, *outputs))
    intervals = SimpleNamespace(
        vals=edges,
        is_left=is_left,
        is_right=is_right,
        chunk_starts=starts[0],
        chunk_cnts=counts[0],
        ray_indices=edge_rays,
    )
    samples = SimpleNamespace(vals=middles, chunk_starts=starts[1], chunk_cnts=counts[1], ray_indices=sample_rays)
    return intervals, samples


def march(
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    binaries: Bool[Tensor, "1 width height depth"],
    aabb: Float[Tensor, "1 6"],
    near: Float[Tensor, "rays"],
    far: Float[Tensor, "rays"],
    step_size: float,
) -> PackedSamples:
    """Samples of rays in occupied cells, by :func:`traverse_grids`' rule.

    Args:
        origins: of the rays.
        directions: unit vectors.
        binaries: whether a cell is occupied.
        aabb: box of the grid, smallest corner, then largest corner.
        near: distance at which a ray's first step begins.
        far: distance beyond which no sample's middle lies.
        step_size: length of a step.
    """
    origins, directions = origins.contiguous(), directions.contiguous()
    infinity = float("inf")
    spans = ray_aabb_intersect(origins, directions, aabb, -infinity, infinity, infinity)
    grid = (binaries.flatten(), *binaries.shape[1:], aabb.flatten())
    inputs = (*grid, origins, directions, *(span.view(-1) for span in spans), near, far, step_size)
    counts, starts, ends = _count(inputs)
    number = int(ends[1])  # Waits for the device.
    distances, rays = origins.new_empty(number), counts.new_empty(number)
    if number:
        no_value, no_index = origins.new_empty(0), counts.new_empty(0)
        no_flag = torch.empty(0, dtype=torch.bool, device=origins.device)
        outputs = (counts, starts, no_value, no_flag, no_flag, no_index, distances, rays)
        march_rays(len(origins), (), (SAMPLES, *inputs, *outputs))
    return PackedSamples(rays, distances, starts[1], counts[1], step_size)


def _count(inputs: Tuple[Any, ...]) -> Tuple[Int[Tensor, "2 rays"], Int[Tensor, "2 rays"], Int[Tensor, "2"]]:
    """Edges and samples of each ray, the first of each, and how many there are of all rays.

    Args:
        inputs: of the kernel, from the grid to the step size.
    """
    origins = inputs[5]
    counts = torch.zeros(2, len(origins), dtype=torch.int64, device=origins.device)
    no_value, no_index = origins.new_empty(0), counts.new_empty(0)
    no_flag = torch.empty(0, dtype=torch.bool, device=origins.device)
    outputs = (counts, no_index.view(2, 0), no_value, no_flag, no_flag, no_index, no_value, no_index)
    march_rays(len(origins), (), (COUNT, *inputs, *outputs))
    ends = counts.cumsum(1)
    return counts, ends - counts, ends[:, -1] if len(origins) else counts.new_zeros(2)
