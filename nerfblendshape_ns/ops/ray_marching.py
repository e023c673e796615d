"""Marching rays through an occupancy grid: where nerfacc's estimator puts its samples.

Stands in for nerfacc 0.5.2's compiled ``ray_aabb_intersect`` and ``traverse_grids``, with the same arguments, for one
grid and steps of equal length. Along a ray, step ``k`` runs from ``near + k * step_size`` to ``near + (k + 1) *
step_size``. It becomes a sample when its midpoint lies in an occupied cell.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple, Optional, Sequence, Tuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nerfblendshape_ns.ops.ray_marching_kernels import COUNT, EDGES_TOO, FEW, SAMPLES, intersect_boxes, march_rays
from nerfblendshape_ns.ops.segment_kernels import attenuate, keep_seen, pack

ALL = 2**30
"""More samples than any ray has."""


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
    no_value, no_step = rays_o.new_empty(0), torch.empty(0, dtype=torch.int32, device=rays_o.device)
    inputs = (*grid, rays_o, rays_d, *spans, no_value, float(step_size), ALL, no_value, 0.0, 0, no_step)
    counts, ends, (num_edges, num_samples) = _count(inputs)
    starts = torch.zeros_like(counts)
    edges, middles = rays_o.new_empty(num_edges), rays_o.new_empty(num_samples)
    edge_rays, sample_rays = counts.new_empty(num_edges), counts.new_empty(num_samples)
    is_left, is_right = (torch.zeros(num_edges, dtype=torch.bool, device=rays_o.device) for _ in range(2))
    if num_samples:
        outputs = (counts, ends, starts, edges, is_left, is_right, edge_rays, middles, sample_rays)
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


class Segment(NamedTuple):
    """Samples of equal length of a bundle of rays, ascending by ray."""

    rays: Int[Tensor, "samples"]
    """int64, the ray of each."""
    distances: Float[Tensor, "samples"]
    """Along the ray, of the sample's middle."""
    ends: Int[Tensor, "rays"]
    """int64, running total of the counts."""
    counts: Int[Tensor, "rays"]
    """int64, samples of each ray, some of none."""


class Segments(NamedTuple):
    """The samples of several segments, one after the other."""

    rays: Int[Tensor, "samples"]
    """int64, the ray of each."""
    distances: Float[Tensor, "samples"]
    """Along the ray, of the sample's middle."""
    ends: Int[Tensor, "segments rays"]
    """int64, of each segment the running total of its counts."""
    counts: Int[Tensor, "segments rays"]
    """int64, samples of each segment of each ray."""

    @classmethod
    def of(cls, segments: Sequence[Segment]) -> Segments:
        """One after the other."""
        if len(segments) == 1:
            rays, distances, ends, counts = segments[0]
            return cls(rays, distances, ends[None], counts[None])
        rays, distances = torch.cat([part.rays for part in segments]), torch.cat([part.distances for part in segments])
        both = torch.stack([*(part.ends for part in segments), *(part.counts for part in segments)])
        return cls(rays, distances, *both.split(len(segments)))


class March:
    """Samples of rays in occupied cells, by :func:`traverse_grids`' rule, front to back, a segment at a time.

    Args:
        origins: of the rays. A ray that is not finite has no samples.
        directions: unit vectors.
        binaries: whether a cell is occupied.
        aabb: box of the grid, smallest corner, then largest corner.
        step_size: length of a step.
        near: distance at which a ray's first step begins; None is 0.
        far: distance beyond which no sample's middle lies; None is everywhere.
        shifts: added to ``near``, in steps.
    """

    def __init__(
        self,
        origins: Float[Tensor, "rays 3"],
        directions: Float[Tensor, "rays 3"],
        binaries: Bool[Tensor, "1 width height depth"],
        aabb: Float[Tensor, "1 6"],
        step_size: float,
        near: Optional[Float[Tensor, "rays"]] = None,
        far: Optional[Float[Tensor, "rays"]] = None,
        shifts: Optional[Float[Tensor, "rays"]] = None,
    ) -> None:
        no_value = origins.new_empty(0)
        no_flag = torch.empty(0, dtype=torch.bool, device=origins.device)
        grid = (binaries.flatten(), *binaries.shape[1:], aabb.flatten())
        planes = (no_value if plane is None else plane for plane in (near, far, shifts))
        rays = (origins.contiguous(), directions.contiguous())
        self.step_size = step_size
        self._inputs = (*grid, *rays, no_value, no_value, no_flag, *planes, step_size)
        self._goes_on = False
        self._come = torch.empty(len(origins), dtype=torch.int32, device=origins.device)
        self._light = no_value
        self._seen = torch.empty(len(origins), dtype=torch.int64, device=origins.device)

    @torch.no_grad()
    def following(self, most: int, least: float = 0.0) -> Segment:
        """The next samples of each ray. Waits for the device.

        Args:
            most: so many of a ray at most; :data:`ALL` takes the rest.
            least: a ray ends where :meth:`pass_through` left a smaller fraction of the light.
        """
        inputs = (*self._inputs, most, self._light, least, int(self._goes_on), self._come)
        few = self._light.new_empty(len(self._come), 0 if most == ALL else most)
        self._goes_on = True
        counts, ends, (_, number) = _count(inputs, few)
        distances, rays = few.new_empty(number), counts.new_empty(number)
        if most == ALL:
            no_value, no_index = few.new_empty(0), counts.new_empty(0)
            no_flag = torch.empty(0, dtype=torch.bool, device=few.device)
            outputs = (counts, ends, torch.empty_like(counts), no_value, no_flag, no_flag, no_index, distances, rays)
            march_rays(len(few), (), (SAMPLES, *inputs, *outputs))
        else:
            pack(len(few), (), (counts[1], ends[1], few, distances, rays))
        return Segment(rays, distances, ends[1], counts[1])

    @torch.no_grad()
    def pass_through(self, segment: Segment, densities: Float[Tensor, "samples"], least: float) -> None:
        """Let light through the samples of a segment.

        Args:
            segment: the last one.
            densities: of its samples.
            least: samples that a smaller fraction of the light reaches are not seen.
        """
        goes_on = len(self._light) > 0
        self._light = self._light if goes_on else self._light.new_empty(len(self._come))
        numbers = (self.step_size, least, int(goes_on))
        samples = (segment.counts, segment.ends, densities.float().contiguous())
        attenuate(len(self._come), (), (*samples, *numbers, self._light, self._seen))

    @torch.no_grad()
    def seen(self, segments: Sequence[Segment]) -> Segment:
        """The samples that are seen; see :meth:`pass_through`. Waits for the device.

        Args:
            segments: all that light was let through.
        """
        joined, ends = Segments.of(segments), self._seen.cumsum(0)
        number = int(ends[-1]) if len(ends) else 0
        distances, rays = joined.distances.new_empty(number), joined.rays.new_empty(number)
        arguments = (joined.ends, joined.counts, joined.distances, self._seen, ends, distances, rays)
        keep_seen(len(ends), (), arguments)
        return Segment(rays, distances, ends, self._seen)


def _count(
    inputs: Tuple[Any, ...], few: Optional[Float[Tensor, "rays most"]] = None
) -> Tuple[Int[Tensor, "2 rays"], Int[Tensor, "2 rays"], Tuple[int, int]]:
    """Edges and samples of each ray, their running totals, and their totals. Waits for the device.

    Args:
        inputs: of the kernel, from the grid to how far the rays have come.
        few: where it has columns the samples are written there.
    """
    origins = inputs[5]
    counts = torch.empty(2, len(origins), dtype=torch.int64, device=origins.device)
    no_value, no_index = origins.new_empty(0), counts.new_empty(0)
    no_flag = torch.empty(0, dtype=torch.bool, device=origins.device)
    nothing = no_index.view(2, 0)
    what, samples = (COUNT, no_value) if few is None or not few.shape[1] else (FEW, few.flatten())
    outputs = (counts, nothing, nothing, no_value, no_flag, no_flag, no_index, samples, no_index)
    march_rays(len(origins), (), (what, *inputs, *outputs))
    ends = counts.cumsum(1)
    return counts, ends, tuple(ends[:, -1].tolist()) if len(origins) else (0, 0)
