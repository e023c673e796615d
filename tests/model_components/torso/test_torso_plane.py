"""Torso coordinates: a captured pixel for captured rays, one place on the plane for every other camera."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nerfstudio.cameras.cameras import Cameras

from nerfblendshape_ns.model_components.torso.torso_plane import FADE, TorsoPlane, plane_depth, sample_image

INTRINSICS = {"fl_x": 40.0, "fl_y": 42.0, "cx": 15.0, "cy": 13.0}
HEIGHT, WIDTH = 24, 32


def pose_of(angles, position) -> torch.Tensor:
    """Camera-to-world from rotations about x, y, z in turn."""
    matrix = torch.eye(3)
    for axis, angle in enumerate(angles):
        turn, (first, second) = torch.eye(3), [place for place in range(3) if place != axis]
        turn[first, first] = turn[second, second] = math.cos(angle)
        turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
        matrix = turn @ matrix
    return torch.cat([matrix, torch.tensor(position)[:, None]], 1)


def rays_of(pose: torch.Tensor):
    camera = Cameras(pose[None], *(INTRINSICS[name] for name in ("fl_x", "fl_y", "cx", "cy")), WIDTH, HEIGHT)
    rays = camera.generate_rays(0)
    return rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3)


angle = st.floats(-math.pi, math.pi)
offset = st.floats(-3.0, 3.0)
# No new ones in every run, nor fewer where the machine is busy.
same_examples = settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@same_examples
@given(st.tuples(angle, angle, angle), st.tuples(offset, offset, offset), st.floats(0.3, 30.0))
def test_a_captured_ray_has_its_own_pixel_whatever_the_depth(angles, position, depth):
    pose = pose_of(angles, position)
    points = TorsoPlane(INTRINSICS, (HEIGHT, WIDTH), depth)(*rays_of(pose), pose.flatten()[None])
    rows, columns = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    expected = torch.stack([columns / WIDTH, rows / HEIGHT], -1).reshape(-1, 2)
    torch.testing.assert_close(points.coordinates, expected, atol=2e-4, rtol=0)
    assert (points.fade == 1).all() and (points.distance >= depth * 0.999).all()


@same_examples
@given(st.floats(-0.6, 0.6), st.floats(-0.4, 0.4), st.floats(1.0, 5.0))
def test_an_orbiting_camera_sees_the_same_place(yaw, pitch, depth):
    plane = TorsoPlane(INTRINSICS, (HEIGHT, WIDTH), depth)
    captured = pose_of((0.3, -0.2, 0.1), (0.5, 0.2, 1.0))
    place = torch.tensor([[0.3, 0.8]])
    # The point of the plane that the captured camera sees at this place, by the pinhole equation.
    x = (place[0, 0] * WIDTH - INTRINSICS["cx"]) / INTRINSICS["fl_x"] * depth
    y = -(place[0, 1] * HEIGHT - INTRINSICS["cy"]) / INTRINSICS["fl_y"] * depth
    point = captured[:, :3] @ torch.stack([x, y, torch.tensor(-depth)]) + captured[:, 3]
    # Another camera, turned about the point.
    away = captured[:, :3] @ torch.tensor([math.sin(yaw), math.sin(pitch), math.cos(yaw)])
    origin = point + away * 2.0
    direction = torch.nn.functional.normalize(point - origin, dim=0)
    points = plane(origin[None], direction[None], captured.flatten()[None])
    torch.testing.assert_close(points.coordinates, place, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(points.distance[0, 0], (point - origin).norm(), atol=1e-4, rtol=1e-4)


def test_rays_that_miss_fade_out():
    plane = TorsoPlane(INTRINSICS, (HEIGHT, WIDTH), 2.0)
    captured = pose_of((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)).flatten()[None]
    backward, sideways = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    for direction in (backward, sideways):
        points = plane(torch.zeros(1, 3), direction, captured)
        assert points.fade.item() == 0.0 and points.distance.item() == 0.0
        assert torch.isfinite(points.coordinates).all()
    # Half way through the margin right of the picture.
    column = 1.0 + FADE / 2
    x = (column * WIDTH - INTRINSICS["cx"]) / INTRINSICS["fl_x"]
    direction = torch.nn.functional.normalize(torch.tensor([[x, 0.0, -1.0]]), dim=-1)
    assert plane(torch.zeros(1, 3), direction, captured).fade.item() == pytest.approx(0.5, abs=1e-3)


def test_depth_is_the_median_along_the_viewing_axis():
    poses = torch.stack([pose_of((0.0, 0.0, 0.0), (0.0, 0.0, z)) for z in (2.0, 3.0, 10.0)]).flatten(1)
    # The cameras look along -z, so a point at z = -1 is 3, 4 and 11 before them.
    assert plane_depth(poses, torch.tensor([0.4, 0.1, -1.0])) == pytest.approx(4.0)


def test_plate_at_pixel_centres_and_beyond_the_border():
    generator = torch.Generator().manual_seed(0)
    plate = torch.randint(0, 256, (4, 6, 3), generator=generator, dtype=torch.uint8)
    centres = torch.tensor([[0.5 / 6, 0.5 / 4], [2.5 / 6, 3.5 / 4], [9.0, 9.0]])
    expected = torch.stack([plate[0, 0], plate[3, 2], plate[3, 5]]) / 255
    torch.testing.assert_close(sample_image(plate, centres), expected, atol=1e-5, rtol=0)


@same_examples
@given(st.tuples(angle, angle, angle), st.tuples(offset, offset, offset), st.floats(0.3, 30.0))
def test_nothing_moves_in_the_reference_frame(angles, position, depth):
    pose = pose_of(angles, position).flatten()
    places = torch.rand(20, 2, generator=torch.Generator().manual_seed(0))
    plane = TorsoPlane(INTRINSICS, (HEIGHT, WIDTH), depth)
    torch.testing.assert_close(plane.moved_with_head(places, pose[None], pose), places, atol=2e-4, rtol=0)


def test_moved_points_are_fixed_to_the_head():
    # The camera moved right by 0.5 shows the head further left: before that, its points were further right.
    plane, upright = TorsoPlane(INTRINSICS, (HEIGHT, WIDTH), 2.0), torch.eye(3)
    reference = torch.cat([upright, torch.tensor([[0.0], [0.0], [2.0]])], 1).flatten()
    moved = torch.cat([upright, torch.tensor([[0.5], [0.0], [2.0]])], 1).flatten()
    places = torch.tensor([[0.4, 0.3], [0.6, 0.9]])
    expected = torch.tensor([[40.0 * 0.5 / 2.0 / WIDTH, 0.0]] * 2)
    torch.testing.assert_close(plane.moved_with_head(places, moved[None], reference[None]) - places, expected)
    # The other way, and with a frame for each ray.
    onward = plane.moved_with_head(places, reference[None], torch.stack([moved, reference])) - places
    torch.testing.assert_close(onward, -expected * torch.tensor([[1.0], [0.0]]))


@same_examples
@given(st.floats(-0.5, 0.5), st.floats(-0.4, 0.4), st.floats(-0.3, 0.3))
def test_moved_points_are_where_the_reference_camera_sees_them(yaw, pitch, roll):
    plane = TorsoPlane(INTRINSICS, (HEIGHT, WIDTH), 3.0)
    reference, captured = pose_of((0.1, -0.2, 0.0), (0.3, 0.1, 3.2)), pose_of((pitch, yaw, roll), (0.2, 0.4, 3.0))
    origins, directions = rays_of(captured)
    points = plane(origins, directions, captured.flatten()[None])
    scene = origins + points.distance * directions
    local = (scene - reference[:, 3]) @ reference[:, :3]
    columns = INTRINSICS["cx"] - INTRINSICS["fl_x"] * local[:, 0] / local[:, 2]
    rows = INTRINSICS["cy"] + INTRINSICS["fl_y"] * local[:, 1] / local[:, 2]
    seen = local[:, 2] < -0.5
    moved = plane.moved_with_head(points.coordinates, captured.flatten()[None], reference.flatten())
    expected = torch.stack([columns / WIDTH, rows / HEIGHT], -1)
    torch.testing.assert_close(moved[seen], expected[seen], atol=2e-3, rtol=1e-3)
