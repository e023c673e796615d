"""Directions that colours are asked for: as they are where training looked from, at the edge of that beyond."""

import math

import torch
from torch.nn.functional import normalize

from nerfblendshape_ns.model_components.rendering.view_range import MARGIN, ViewRange

CENTRE = torch.tensor([0.1, -0.2, 0.3])


def position(yaw: float, pitch: float = 0.0, distance: float = 4.0) -> torch.Tensor:
    """Of a camera that sees the head's middle from so many degrees to the side and from above."""
    yaw, pitch = math.radians(yaw), math.radians(pitch)
    away = [math.sin(yaw) * math.cos(pitch), -math.cos(yaw) * math.cos(pitch), math.sin(pitch)]
    return CENTRE + distance * torch.tensor(away)


def poses(*positions: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.cat([torch.eye(3), place[:, None]], 1).flatten() for place in positions])


def rays(place: torch.Tensor, count: int = 6):
    """From a camera towards points about the middle of the head."""
    targets = CENTRE + 0.4 * (torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) - 0.5)
    origins = place.expand(count, 3)
    return origins, normalize(targets - origins, dim=-1)


TRAIN = poses(position(-10), position(0), position(20), position(0, -5), position(0, 5))


def test_within_the_training_range_nothing_changes():
    view_range = ViewRange(TRAIN, CENTRE)
    for place in (position(-10), position(20), position(0, 5), position(3, 2), position(12, 0, distance=9.0)):
        origins, directions = rays(place)
        assert torch.equal(view_range(origins, directions), directions)


def test_beyond_it_the_direction_is_that_of_the_nearest_camera():
    view_range = ViewRange(TRAIN, CENTRE)
    origins, directions = rays(position(50))
    turned = view_range(origins, directions)
    # By hand: turned about the upright axis from 50 to 20 degrees.
    angle = math.radians(-30)
    cosine, sine = math.cos(angle), math.sin(angle)
    about = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(turned, directions @ about.T, atol=5 * MARGIN, rtol=0)
    torch.testing.assert_close(turned.norm(dim=-1), torch.ones(len(turned)))


def test_both_angles_end_at_the_edge():
    view_range, place = ViewRange(TRAIN, CENTRE), position(50, 40)
    turned = view_range(place[None], normalize(CENTRE - place, dim=0)[None])
    torch.testing.assert_close(turned[0], normalize(CENTRE - position(20, 5), dim=0), atol=5 * MARGIN, rtol=0)


def test_rays_of_several_cameras_are_told_apart_and_behind_the_head_nothing_breaks():
    view_range = ViewRange(TRAIN, CENTRE)
    inside, beyond, behind = rays(position(5)), rays(position(-40, 20)), rays(position(179.9))
    origins, directions = (torch.cat(parts) for parts in zip(inside, beyond, behind))
    turned = view_range(origins, directions)
    assert torch.equal(turned[:6], directions[:6])
    torch.testing.assert_close(turned[6:12], view_range(*beyond))
    assert torch.isfinite(turned).all()
    middle = normalize(CENTRE - position(0), dim=0)
    assert bool((behind[1] @ middle < 0).all()) and bool((turned[12:] @ middle > 0.5).all())


def test_one_camera_tells_nothing():
    view_range = ViewRange(poses(position(0)), CENTRE)
    origins, directions = rays(position(80))
    assert torch.equal(view_range(origins, directions), directions)


def test_a_checkpoint_says_the_range_and_one_that_does_not_leaves_it():
    view_range, other = ViewRange(TRAIN, CENTRE), ViewRange(poses(position(-40), position(40)), CENTRE)
    origins, directions = rays(position(30))
    wide = other(origins, directions)
    assert torch.equal(other(origins, directions), wide)
    other.load_state_dict(view_range.state_dict())
    assert torch.equal(other(origins, directions), view_range(origins, directions))
    assert not torch.equal(other(origins, directions), wide)
