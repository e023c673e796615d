"""Ray marching: numbers worked out by hand, and a brute-force march that looks up every step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from nerfacc import OccGridEstimator, ray_aabb_intersect, traverse_grids
from nerfacc.grid import _ray_aabb_intersect

from nerfblendshape_ns.ops import nerfacc_backend
from nerfblendshape_ns.ops.ray_marching import ALL, March, Segments

nerfacc_backend.install()

UNIT_BOX = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]])


def march_by_brute_force(origins, directions, occupied, box, near, far, step_size):
    """(ray, start, end) of every step whose midpoint lies in an occupied cell."""
    resolution, step_size = np.array(occupied.shape), np.float32(step_size)
    kept = []
    for ray, (origin, direction) in enumerate(zip(origins, directions)):
        for step in itertools.count():
            start = near[ray] + np.float32(step) * step_size
            middle = start + np.float32(0.5) * step_size
            if middle >= far[ray]:
                break
            point = origin + middle * direction
            if (point >= box[:3]).all() and (point <= box[3:]).all():
                cell = ((point - box[:3]) / (box[3:] - box[:3]) * resolution).astype(int)
                if occupied[tuple(np.clip(cell, 0, resolution - 1))]:
                    kept.append((ray, start, start + step_size))
    return np.array(kept).reshape(-1, 3)


def rays_towards_origin(count, seed):
    generator = torch.Generator().manual_seed(seed)
    origins = 2 * torch.randn(count, 3, generator=generator)
    directions = torch.nn.functional.normalize(0.5 * torch.randn(count, 3, generator=generator) - origins, dim=-1)
    origins[0], directions[0] = torch.tensor([0.1, 0.2, -5.0]), torch.tensor([0.0, 0.0, 1.0])  # Along an axis.
    directions[1] = -directions[1]  # Looks away.
    origins[2] = torch.tensor([0.1, 0.2, 0.3])  # Starts inside.
    return origins, directions


@pytest.mark.parametrize("occupied", [0.05, 0.5])
def test_sampling_equals_brute_force(occupied):
    generator = torch.Generator().manual_seed(1)
    estimator = OccGridEstimator([-1.0, -1.0, -1.0, 1.0, 1.0, 1.5], resolution=[8, 10, 7])
    estimator.binaries = torch.rand(estimator.binaries.shape, generator=generator) < occupied
    origins, directions = rays_towards_origin(60, seed=7)
    near, far = 0.3 * torch.rand(60, generator=generator), torch.full((60,), 6.0)
    rays, starts, ends = estimator.sampling(origins, directions, t_min=near, t_max=far, render_step_size=0.05)
    inputs = (origins, directions, estimator.binaries[0], estimator.aabbs[0], near, far)
    expected = march_by_brute_force(*(tensor.numpy() for tensor in inputs), 0.05)
    assert len(expected) > 50
    assert rays.tolist() == expected[:, 0].tolist()
    assert np.abs(torch.stack([starts, ends], dim=-1).numpy() - expected[:, 1:]).max() <= 1e-5


def test_march_by_hand():
    """Cells of half a unit along x, the second one occupied; steps of 0.2 from 0: midpoints 0.7 and 0.9 are inside."""
    binaries = torch.tensor([False, True]).view(1, 2, 1, 1)
    origin, direction = torch.tensor([[0.0, 0.5, 0.5]]), torch.tensor([[1.0, 0.0, 0.0]])
    intervals, samples = traverse_grids(origin, direction, binaries, UNIT_BOX, step_size=0.2)
    assert samples.vals.tolist() == pytest.approx([0.5, 0.7, 0.9])
    assert samples.packed_info.tolist() == [[0, 3]]
    assert samples.ray_indices.tolist() == [0, 0, 0]
    # Neighbouring steps share their edge.
    assert intervals.vals.tolist() == pytest.approx([0.4, 0.6, 0.8, 1.0])
    assert intervals.is_left.tolist() == [True, True, True, False]
    assert intervals.is_right.tolist() == [False, True, True, True]
    assert intervals.packed_info.tolist() == [[0, 4]]


def test_gap_separates_intervals():
    binaries = torch.tensor([True, False, True, False]).view(1, 4, 1, 1)
    origin, direction = torch.tensor([[0.0, 0.5, 0.5]]), torch.tensor([[1.0, 0.0, 0.0]])
    intervals, samples = traverse_grids(origin, direction, binaries, UNIT_BOX, step_size=0.125)
    assert samples.vals.tolist() == [0.0625, 0.1875, 0.5625, 0.6875]
    assert intervals.vals.tolist() == [0.0, 0.125, 0.25, 0.5, 0.625, 0.75]
    assert intervals.is_left.tolist() == [True, True, False, True, True, False]
    assert intervals.is_right.tolist() == [False, True, True, False, True, True]


def test_a_midpoint_that_rounds_to_outside_the_box_does_not_end_the_ray():
    """The first midpoint is where the ray enters, and is computed to lie one bit before the box."""
    origin = torch.tensor([[-2.6422629356384277, 2.3687381744384766, 1.845948576927185]])
    direction = torch.tensor([[0.5593797564506531, -0.7096890211105347, -0.4282940924167633]])
    box = torch.tensor([[-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]])
    enter, leave, _ = ray_aabb_intersect(origin, direction, box)
    near = torch.tensor([0.008780449628829956])
    _, samples = traverse_grids(origin, direction, torch.ones(1, 4, 4, 4).bool(), box, near, step_size=1 / 48)
    assert len(samples.vals) == pytest.approx(48 * float(leave - enter), abs=1)


def test_planes_cut_the_ray():
    binaries = torch.ones(1, 4, 4, 4, dtype=torch.bool)
    origin, direction = torch.tensor([[-1.0, 0.5, 0.5]]), torch.tensor([[1.0, 0.0, 0.0]])
    near, far = torch.tensor([1.25]), torch.tensor([1.75])
    _, samples = traverse_grids(origin, direction, binaries, UNIT_BOX, near, far, step_size=0.125)
    assert samples.vals.tolist() == [1.3125, 1.4375, 1.5625, 1.6875]


def test_rays_that_miss_and_zero_occupancy():
    origins = torch.tensor([[0.5, 0.5, -1.0], [5.0, 5.0, 5.0], [0.5, 0.5, -1.0]])
    directions = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    full = torch.ones(1, 2, 2, 2, dtype=torch.bool)
    _, samples = traverse_grids(origins, directions, full, UNIT_BOX, step_size=0.25)
    assert samples.packed_info.tolist() == [[0, 4], [4, 0], [4, 0]]
    intervals, samples = traverse_grids(origins, directions, ~full, UNIT_BOX, step_size=0.25)
    assert samples.vals.numel() == intervals.vals.numel() == 0
    assert samples.packed_info.tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0])
def test_a_ray_that_leads_nowhere_ends(bad):
    """It was marched for ever."""
    origins, directions = torch.full((3, 3), 0.5), torch.tensor([[0.0, 0.0, 1.0]]).repeat(3, 1)
    origins[1, 0], directions[2] = bad or float("nan"), bad
    full = torch.ones(1, 4, 4, 4, dtype=torch.bool)
    _, samples = traverse_grids(origins, directions, full, UNIT_BOX, step_size=0.1)
    assert samples.packed_info[:, 1].tolist() == [5, 0, 0]
    assert March(origins, directions, full, UNIT_BOX, 0.1).following(ALL).counts.tolist() == [5, 0, 0]


@pytest.mark.parametrize(("distance", "steps"), [(1e5, 4), (1e9, 0), (1e30, 0)])
def test_a_camera_at_any_distance_is_marched_in_no_time(distance, steps):
    """From far away the steps outran the 32 bits that count them, and began anew before the box: no launch ended."""
    origins, directions = torch.tensor([[0.5, 0.5, -distance]]), torch.tensor([[0.0, 0.0, 1.0]])
    full = torch.ones(1, 4, 4, 4, dtype=torch.bool)
    _, samples = traverse_grids(origins, directions, full, UNIT_BOX, step_size=0.25)
    march = March(origins, directions, full, UNIT_BOX, 0.25)
    assert samples.packed_info[:, 1].tolist() == march.following(ALL).counts.tolist() == [steps]


@pytest.mark.parametrize("sizes", [[ALL], [3, 5, ALL], [1] * 60])
def test_the_renderers_march_takes_the_same_steps(sizes):
    """With planes and shifts; in segments it goes on where it was."""
    binaries = torch.rand(1, 8, 10, 7, generator=torch.Generator().manual_seed(1)) < 0.3
    origins, directions = rays_towards_origin(300, seed=7)
    near, far, shifts = (torch.rand(300, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    box = torch.tensor([[-1.0, -1.0, -1.0, 1.0, 1.0, 1.5]])
    planes = near + shifts * 0.05, far + 2.0
    _, expected = traverse_grids(origins, directions, binaries, box, *planes, step_size=0.05)
    march = March(origins, directions, binaries, box, 0.05, near, planes[1], shifts)
    segments = [march.following(size) for size in sizes]
    assert len(march.following(ALL).rays) == 0 and len(expected.vals) > 1000
    left = expected.packed_info[:, 1]
    for size, segment in zip(sizes, segments):
        assert torch.equal(segment.counts, left.clamp(max=size)) and torch.equal(segment.ends, segment.counts.cumsum(0))
        left = left - segment.counts
    joined = Segments.of(segments)
    before = joined.ends[:, -1].cumsum(0) - joined.ends[:, -1]
    for ray in range(300):
        starts = before + joined.ends[:, ray] - joined.counts[:, ray]
        places = [torch.arange(start, start + count) for start, count in zip(starts, joined.counts[:, ray])]
        own = torch.cat(places)
        assert bool((joined.rays[own] == ray).all())
        assert torch.equal(joined.distances[own], expected.vals[expected.ray_indices == ray])


def test_a_ray_ends_where_no_light_is_left():
    """Two rays through ten samples: each sample lets half of the light pass, or all of it."""
    origins, directions = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.5, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]]).repeat(2, 1)
    march = March(origins, directions, torch.ones(1, 4, 4, 4, dtype=torch.bool), UNIT_BOX, 0.1)
    segments = []
    for size in (1, 4, ALL):
        segments.append(march.following(size, 0.1))
        march.pass_through(segments[-1], (segments[-1].rays == 0) * 6.93147181, 0.1)
    # Of the first, 1/32 of the light is left after five samples, and less than 0.1 after four.
    assert [segment.counts.tolist() for segment in segments] == [[1, 1], [4, 4], [0, 5]]
    seen = march.seen(segments)
    assert seen.counts.tolist() == [4, 10] and seen.rays.tolist() == [0] * 4 + [1] * 10
    expected = [0.05 + 0.1 * step for count in (4, 10) for step in range(count)]
    assert seen.distances.tolist() == pytest.approx(expected)


def test_no_rays():
    empty = torch.empty(0, 3)
    estimator = OccGridEstimator([0.0, 0.0, 0.0, 1.0, 1.0, 1.0], resolution=4)
    rays, starts, ends = estimator.sampling(empty, empty, render_step_size=0.1)
    assert rays.numel() == starts.numel() == ends.numel() == 0


def test_box_intersection_equals_torch():
    origins, directions = rays_towards_origin(500, seed=3)
    origins, directions = origins[1:], directions[1:]  # The torch version has 0/0 for the ray along an axis.
    boxes = torch.tensor([[-1.0, -1.0, -1.0, 1.0, 1.0, 1.0], [0.2, -0.5, 0.0, 0.9, 0.5, 3.0]])
    for actual, expected in zip(
        ray_aabb_intersect(origins, directions, boxes, 0.1, 4.0, -1.0),
        _ray_aabb_intersect(origins, directions, boxes, 0.1, 4.0, -1.0),
    ):
        assert torch.allclose(actual.float(), expected.float(), atol=1e-5)


def test_box_intersection_along_an_axis():
    origins = torch.tensor([[0.5, 0.5, -2.0], [1.5, 0.5, -2.0], [0.0, 0.5, 0.5]])
    directions = torch.tensor([[0.0, 0.0, 1.0]]).repeat(3, 1)
    t_mins, t_maxs, hits = ray_aabb_intersect(origins, directions, UNIT_BOX, miss_value=-7.0)
    assert hits.flatten().tolist() == [True, False, True]
    assert t_mins.flatten().tolist() == [2.0, -7.0, -0.5]
    assert t_maxs.flatten().tolist() == [3.0, -7.0, 0.5]


def test_what_cannot_be_marched_is_refused():
    ray, binaries = torch.zeros(1, 3), torch.ones(1, 2, 2, 2).bool()
    with pytest.raises(ValueError, match="positive step size, not 0"):
        traverse_grids(ray, ray, binaries, UNIT_BOX, step_size=0.0)
    with pytest.raises(ValueError, match="one grid in equal steps, not through 1 grids with a cone angle of 0.1"):
        traverse_grids(ray, ray, binaries, UNIT_BOX, cone_angle=0.1)
    with pytest.raises(ValueError, match="not through 2 grids"):
        traverse_grids(ray, ray, binaries.repeat(2, 1, 1, 1), UNIT_BOX.repeat(2, 1))
