"""Canonical positions and parts of the head: as the same arithmetic in plain torch, forward and backward."""

from __future__ import annotations

from typing import Optional, Tuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nerfblendshape_ns.ops import canonical
from nerfblendshape_ns.ops.canonical import FaceMap, Marched, canonical_positions

BOX = torch.tensor([[-0.8, -0.9, -1.0], [0.8, 0.9, 1.1]])


def displacement(fields: Tensor, frame: Tensor, point: Tensor) -> Tensor:
    values = [
        functional.grid_sample(
            field.permute(3, 0, 1, 2)[None], point[None, None, None] * 2 - 1, padding_mode="border", align_corners=True
        )[0, :, 0, 0].T
        for field in fields
    ]
    return torch.stack(values)[frame.long(), torch.arange(len(point))]


def reference(unit: Tensor, fields: Tensor, frame: Tensor) -> Tensor:
    """Four Anderson steps of depth one; gradients pass to ``unit`` unchanged and to ``fields`` by the last look-up."""
    unit = unit.clamp(0.0, 1.0)
    with torch.no_grad():
        canonical = last_change = unit
        last_step: Optional[Tensor] = None
        for _ in range(4):
            step = unit - displacement(fields, frame, canonical) - canonical
            change = step
            if last_step is not None:
                difference = step - last_step
                factor = (difference * step).sum(1, keepdim=True)
                factor = factor / (difference * difference).sum(1, keepdim=True).clamp_min(1e-12)
                change = step - factor.clamp(-2.0, 0.9) * (last_change + difference)
            canonical, last_step, last_change = (canonical + change).clamp(0.0, 1.0), step, change
    moved = displacement(fields, frame, canonical)
    return canonical + (unit - unit.detach()) - (moved - moved.detach())


def scene(frames: int = 3, samples: int = 2000) -> Tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Origins, directions, distances, rays, frames of the rays, displacement fields of ± 0.04."""
    generator = torch.Generator().manual_seed(0)
    origins = torch.tensor([0.0, -3.0, 0.0]) + 0.1 * torch.randn(200, 3, generator=generator)
    directions = torch.tensor([0.0, 1.0, 0.0]) + 0.25 * torch.randn(200, 3, generator=generator)
    rays = torch.randint(200, (samples,), generator=generator).sort().values
    distances = 1.8 + 2.4 * torch.rand(samples, generator=generator)
    ray_frame = torch.randint(frames, (200,), generator=generator, dtype=torch.int32)
    coarse = 0.08 * (torch.rand(frames, 3, 4, 4, 4, generator=generator) - 0.5)
    fields = functional.interpolate(coarse, (12, 12, 12), mode="trilinear", align_corners=True)
    return origins, functional.normalize(directions, dim=1), distances, rays, ray_frame, fields.permute(0, 2, 3, 4, 1)


def unit_of(origins: Tensor, directions: Tensor, distances: Tensor, rays: Tensor) -> Tensor:
    return (origins[rays] + directions[rays] * distances[:, None] - BOX[0]) / (BOX[1] - BOX[0])


def assert_same_positions(ours: Tensor, theirs: Tensor) -> None:
    """Within 1e-6, but for a few whose secant's quotient is one of rounding errors, as after a clamped step."""
    error = (ours - theirs).detach().abs().amax(1)
    assert float((error < 1e-6).float().mean()) > 0.995 and float(error.max()) < 1e-5


def test_positions_and_gradients_are_those_of_torch():
    origins, directions, distances, rays, ray_frame, fields = scene()
    weights = torch.randn(len(rays), 3, generator=torch.Generator().manual_seed(1))
    results = []
    for fused in (True, False):
        leaves = [tensor.clone().requires_grad_() for tensor in (origins, directions, fields)]
        if fused:
            marched = Marched(leaves[1], distances, rays, BOX)
            found, rows = canonical_positions(leaves[0], marched, ray_frame, 3, leaves[2])
            assert torch.equal(rows, ray_frame[rays])
        else:
            found = reference(unit_of(leaves[0], leaves[1], distances, rays), leaves[2], ray_frame[rays])
        (found * weights).sum().backward()
        results.append([found.detach(), *(leaf.grad for leaf in leaves)])
    inside = unit_of(origins, directions, distances, rays)
    assert 0.1 < float(((inside < 0) | (inside > 1)).any(1).float().mean()) < 0.9  # Some are clamped.
    (positions, *gradients), (expected, *expected_gradients) = results
    assert_same_positions(positions, expected)
    assert float((positions - inside.clamp(0, 1)).abs().max()) > 0.02
    for ours, theirs in zip(gradients, expected_gradients):
        assert float((ours - theirs).abs().max()) < 1e-5 * float(theirs.abs().max())


def test_points_in_the_box_without_rays():
    fields, frame = scene()[5], torch.arange(600, dtype=torch.int32) % 3
    points = 1.2 * torch.rand(600, 3, generator=torch.Generator().manual_seed(2)) - 0.1
    points.requires_grad_()
    found, rows = canonical_positions(points, None, frame, 3, fields)
    assert_same_positions(found, reference(points, fields, frame))
    assert torch.equal(rows, frame)
    found.sum().backward()
    assert torch.equal(points.grad, ((points >= 0) & (points <= 1)).float())


def test_without_motion_and_without_samples():
    points = torch.tensor([[0.2, 0.3, 0.4], [-1.0, 0.5, 7.0]])
    found, rows = canonical_positions(points)
    assert torch.equal(found, torch.tensor([[0.2, 0.3, 0.4], [0.0, 0.5, 1.0]])) and rows.tolist() == [0, 0]
    origins, directions, distances, rays, ray_frame, fields = scene()
    none = Marched(directions.requires_grad_(), distances[:0], rays[:0], BOX)
    found, rows = canonical_positions(origins, none, ray_frame, 3, fields.requires_grad_())
    assert found.shape == (0, 3) and len(rows) == 0
    found.sum().backward()
    assert directions.grad is not None and not bool(directions.grad.any())


def test_not_a_number_stays_inside_the_grid():
    fields = scene()[5]
    found, _ = canonical_positions(torch.full((5, 3), float("nan")), fields=fields, face=halves())
    assert found.shape == (5, 3)


def halves(seed: Optional[int] = None, blur: float = 0.0) -> FaceMap:
    """The face is where x > 0.5 and y < 0.7, with a ramp at 0.3 in the third column of four; its border is z = 0.4."""
    weights = torch.tensor([[0.0, 0.0, 0.3, 1.0]]).expand(2, 4).contiguous()
    draw = None if seed is None else torch.tensor([seed], dtype=torch.int32)
    return FaceMap(weights, torch.tensor(0.7), torch.tensor(0.4), blur, draw)


def test_each_sample_finds_its_part():
    points = torch.tensor([[0.8, 0.5, 0.3], [0.8, 0.5, 0.5], [0.8, 0.8, 0.3], [0.2, 0.5, 0.3], [0.6, 0.5, 0.3]])
    frame = torch.tensor([0, 1, 0, 1, 0], dtype=torch.int32)
    # Two frames: lower face, upper face, behind the face, beside it, on the lesser half of the ramp.
    assert canonical_positions(points, None, frame, 2, face=halves())[1].tolist() == [2, 5, 0, 1, 0]


def test_borders_are_drawn_for_each_sample():
    ramp = torch.tensor([[0.6, 0.5, 0.3]]).expand(4000, 3)
    shares = [float((canonical_positions(ramp, face=halves(seed))[1] > 0).float().mean()) for seed in range(2)]
    assert shares == pytest.approx([0.3, 0.3], abs=0.03) and shares[0] != shares[1]
    border = torch.tensor([[0.9, 0.5, 0.43]]).expand(4000, 3)  # One standard deviation above it.
    lower = (canonical_positions(border, face=halves(0, blur=0.03))[1] == 1).float().mean()
    assert float(lower) == pytest.approx(0.159, abs=0.02)


def test_a_first_call_in_inference_mode_does_not_spoil_training():
    canonical._absent.cache_clear()
    points = torch.rand(5, 3)
    with torch.inference_mode():
        canonical_positions(points)
    points.requires_grad_()
    canonical_positions(points)[0].sum().backward()
    assert points.grad is not None
