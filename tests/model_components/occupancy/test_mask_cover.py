"""Cells for every pixel of the masks, also where masks and poses disagree."""

from types import SimpleNamespace
from typing import Any, List

import pytest
import torch
from nerfstudio.cameras.cameras import Cameras

from nerfblendshape_ns.data.pinhole_rays import PinholeRays
from nerfblendshape_ns.model_components.occupancy.expression_occupancy import ExpressionOccupancy
from nerfblendshape_ns.model_components.occupancy.mask_cover import STRIDE, cover_masks, find_missed
from nerfblendshape_ns.model_components.occupancy.visual_hull import agreement, head_region

FRAMES, SIZE = 40, 64


def occupancy() -> ExpressionOccupancy:
    box = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    return ExpressionOccupancy(box, 32, 0.03, torch.tensor([[0.0], [1.0]]))


def camera_to_worlds(degrees: torch.Tensor) -> torch.Tensor:
    """Cameras 4 away from the origin, which look at it from these angles about z, with z up."""
    angles = degrees.deg2rad()
    cosine, sine, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    right, back = torch.stack([cosine, sine, zero], -1), torch.stack([sine, -cosine, zero], -1)
    up = torch.tensor([0.0, 0.0, 1.0]).expand_as(right)
    return torch.stack([right, up, back, 4.0 * back], -1)


class Clip(SimpleNamespace):
    """The part of a dataset that the hull reads."""

    def __len__(self) -> int:
        return len(self.alpha)


def drawn_head(wrong: List[int]) -> Any:
    """A head (an ellipsoid with a bun on its side) that turns by 60 degrees; the poses of wrong frames are 8 degrees
    off, and their camera is 0.2 too high."""
    poses = camera_to_worlds(torch.linspace(-30, 30, FRAMES))
    cameras = Cameras(poses, 100.0, 100.0, SIZE / 2, SIZE / 2, SIZE, SIZE)
    frame, row, column = torch.ones(FRAMES, SIZE, SIZE).nonzero(as_tuple=True)
    rays = PinholeRays(cameras)(frame, row * SIZE + column, {})
    shown = torch.zeros(len(frame), dtype=torch.bool)
    for centre, radii in (([0.0, 0.0, 0.0], [0.5, 0.6, 0.7]), ([0.6, 0.1, 0.5], [0.15, 0.15, 0.15])):
        origins, directions = (
            (rays.origins - torch.tensor(centre)) / torch.tensor(radii),
            rays.directions / torch.tensor(radii),
        )
        directions = directions / directions.norm(dim=-1, keepdim=True)
        shown |= torch.linalg.cross(origins, directions).norm(dim=-1) < 1.0
    poses = poses.clone()
    poses[wrong] = camera_to_worlds(torch.linspace(-30, 30, FRAMES)[wrong] + 8.0)
    poses[wrong, 2, 3] += 0.2
    alpha = 255 * shown.view(FRAMES, SIZE, SIZE).to(torch.uint8)
    cameras = Cameras(poses, 100.0, 100.0, SIZE / 2, SIZE / 2, SIZE, SIZE)
    return Clip(cameras=cameras, alpha=alpha, metadata={"img_ids": list(range(100, 100 + FRAMES))})


def without_cell(clip: Any, grid: ExpressionOccupancy) -> torch.Tensor:
    """Fraction of each mask's pixels whose rays meet no allowed cell, every ray marched."""
    fractions = []
    for index in range(len(clip)):
        row, column = (clip.alpha[index] > 127).nonzero(as_tuple=True)
        rays = PinholeRays(clip.cameras)(torch.full_like(row, index), row * SIZE + column, {})
        fractions.append((~grid.meets(grid.allowed, rays.origins, rays.directions)).float().mean())
    return torch.stack(fractions)


def test_every_mask_is_seen_whole_though_poses_disagree():
    wrong = [17, 31]
    clip, grid = drawn_head(wrong), occupancy()
    # Above the middle 95 % of 40 masks must hold a point: the two that disagree may not have their way.
    region = head_region(grid, clip, None)
    grid.start_from(region.allowed)
    assert without_cell(clip, grid).max() == 0.0
    sound = occupancy()
    sound.start_from(head_region(sound, drawn_head([]), None).allowed)
    assert region.allowed.sum() <= 1.1 * sound.allowed.sum()
    # What is reported is what the hull itself lacks.
    worst = region.outside.topk(2).indices.sort().values.tolist()
    assert worst == wrong and region.outside[wrong].min() > 0.01
    others = torch.ones(FRAMES, dtype=torch.bool)
    others[wrong] = False
    assert region.outside[others].max() < 0.002


def test_a_ray_is_given_what_most_masks_hold():
    grid, clip = occupancy(), drawn_head([])
    clip.alpha = torch.zeros(FRAMES, SIZE, SIZE, dtype=torch.uint8)
    clip.alpha[0, 20, 32] = 255
    centres = grid.cell_centers()
    votes = 1.0 - (centres - torch.tensor([0.0, 0.3, 0.4])).norm(dim=1) / 4
    nothing, front = torch.zeros(32**3, dtype=torch.bool), centres[:, 1] < 0.5
    added, fractions = cover_masks(grid, clip, nothing, front, votes)
    assert fractions.tolist() == [1.0] + [0.0] * (FRAMES - 1)
    assert int(added.sum()) == 7  # One cell and those that share a side with it.
    rays = PinholeRays(clip.cameras)(torch.zeros(1, dtype=torch.long), torch.tensor([20 * SIZE + 32]), {})
    along = (centres - rays.origins) @ rays.directions[0]
    beside = (centres - rays.origins - along[:, None] * rays.directions).norm(dim=1)
    best = votes[beside < 0.02].max()
    assert votes[added].mean() == pytest.approx(float(best), abs=0.02)


def test_missed_pixels_are_found_as_far_as_they_reach():
    masks = torch.zeros(2, 40, 40, dtype=torch.bool)
    masks[:, 4:36, 4:36] = True
    lost = torch.zeros_like(masks)
    lost[0, 4:20, 10:31] = True  # From the outline far inside.
    lost[1, 12 : 12 + STRIDE, 13 : 13 + STRIDE] = True  # A hole, no smaller than the lattice.
    asked = []

    def meets(pixels: torch.Tensor) -> torch.Tensor:
        asked.append(len(pixels))
        return ~lost[tuple(pixels.T)]

    assert torch.equal(find_missed(masks, meets), lost & masks)
    assert sum(asked) < masks.sum()
    assert not find_missed(masks, lambda pixels: torch.ones(len(pixels), dtype=torch.bool)).any()
    assert not find_missed(torch.zeros_like(masks), meets).any()


def test_the_frame_that_agrees_least_is_named():
    sentence = agreement(torch.tensor([0.0, 0.073, 0.01]), [3, 94, 95])
    assert "frame 94" in sentence and "7.3%" in sentence
    assert agreement(torch.tensor([0.0, 9e-4, 0.0]), [3, 94, 95]).startswith("Visual hull: all 3 masks agree")
