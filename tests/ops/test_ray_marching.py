"""Ray marching: numbers worked out by hand, and a brute-force march that looks up every step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nerfacc import OccGridEstimator, ray_aabb_intersect, traverse_grids
from nerfacc.grid import _ray_aabb_intersect

from nerfblendshape_ns.ops import nerfacc_backend
from nerfblendshape_ns.ops.ray_marching import traverse_grids as traverse

nerfacc_backend.install()

UNIT_BOX = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]])


def march_by_brute_force(origins, directions, binaries, aabbs, near, far, step_size, cone_angle):
    """(ray, start, end) of every step whose midpoint lies in an occupied cell of the finest grid around it."""
    resolution = np.array(binaries.shape[1:])
    step_size, cone_angle = np.float32(step_size), np.float32(cone_angle)
    kept = []
    for ray, (origin, direction) in enumerate(zip(origins, directions)):
        t, step = near[ray], 0
        while True:
            if cone_angle == 0:
                t = near[ray] + np.float32(step) * step_size
            length = max(step_size, cone_angle * t)
            middle = t + np.float32(0.5) * length
            if middle >= far[ray]:
                break
            point = origin + middle * direction
            for binary, box in zip(binaries, aabbs):
                if (point >= box[:3]).all() and (point <= box[3:]).all():
                    cell = ((point - box[:3]) / (box[3:] - box[:3]) * resolution).astype(int)
                    if binary[tuple(np.clip(cell, 0, resolution - 1))]:
                        kept.append((ray, t, t + length))
                    break
            t, step = t + length, step + 1
    return np.array(kept).reshape(-1, 3)


def rays_towards_origin(count, seed):
    generator = torch.Generator().manual_seed(seed)
    origins = 2 * torch.randn(count, 3, generator=generator)
    directions = torch.nn.functional.normalize(0.5 * torch.randn(count, 3, generator=generator) - origins, dim=-1)
    origins[0], directions[0] = torch.tensor([0.1, 0.2, -5.0]), torch.tensor([0.0, 0.0, 1.0])  # Along an axis.
    directions[1] = -directions[1]  # Looks away.
    origins[2] = torch.tensor([0.1, 0.2, 0.3])  # Starts inside.
    return origins, directions


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("cone_angle", [0.0, 0.02])
@pytest.mark.parametrize("occupied", [0.05, 0.5])
def test_sampling_equals_brute_force(levels, cone_angle, occupied):
    generator = torch.Generator().manual_seed(levels)
    estimator = OccGridEstimator([-1.0, -1.0, -1.0, 1.0, 1.0, 1.5], resolution=[8, 10, 7], levels=levels)
    estimator.binaries = torch.rand(estimator.binaries.shape, generator=generator) < occupied
    origins, directions = rays_towards_origin(60, seed=7)
    near, far = 0.3 * torch.rand(60, generator=generator), torch.full((60,), 6.0)
    rays, starts, ends = estimator.sampling(
        origins, directions, t_min=near, t_max=far, render_step_size=0.05, cone_angle=cone_angle
    )
    expected = march_by_brute_force(
        *(tensor.numpy() for tensor in (origins, directions, estimator.binaries, estimator.aabbs, near, far)),
        0.05,
        cone_angle,
    )
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


def test_finest_grid_decides():
    """Two nested grids: where the inner one reaches, the outer one's cells do not count."""
    boxes = torch.tensor([[-1.0, -1.0, -1.0, 1.0, 1.0, 1.0], [-2.0, -2.0, -2.0, 2.0, 2.0, 2.0]])
    binaries = torch.stack([torch.zeros(2, 2, 2), torch.ones(2, 2, 2)]).bool()
    origin, direction = torch.tensor([[-3.0, 0.1, 0.1]]), torch.tensor([[1.0, 0.0, 0.0]])
    _, samples = traverse_grids(origin, direction, binaries, boxes, step_size=0.5)
    assert samples.vals.tolist() == [1.25, 1.75, 4.25, 4.75]


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


def test_step_must_be_positive():
    empty = torch.empty(0, 3)
    with pytest.raises(ValueError, match="positive step size, not 0"):
        traverse(
            empty, empty, torch.ones(1, 2, 2, 2, dtype=torch.bool), UNIT_BOX, empty[:, :1], empty[:, :1],
            torch.empty(0, 1, dtype=torch.bool), empty[:, 0], empty[:, 0], 0.0, 0.0, True, True,
        )  # fmt: skip
