"""The pose of a painted ball is found again from its image alone."""

import math

import numpy as np
import pytest
import torch
from nerfstudio.cameras.cameras import Cameras
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.model_components.rendering import pose_fit
from nerfblendshape_ns.model_components.rendering.pose_fit import fit_pose, pose_step

POSE = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, -4.0], [0.0, 1.0, 0.0, 0.0]])


class Ball:
    """A painted ellipsoid on white, rendered by intersection."""

    renders = 0

    def get_outputs_for_camera(self, camera):
        self.renders += 1
        camera.metadata = None
        rays = camera.generate_rays(camera_indices=0)
        radii = torch.tensor([0.7, 0.8, 0.9])
        origin, direction = rays.origins / radii, rays.directions / radii
        a, b = (direction**2).sum(-1), (origin * direction).sum(-1)
        root = b**2 - a * ((origin**2).sum(-1) - 1)
        distance = (-b - root.clamp_min(0).sqrt()) / a
        points = rays.origins + rays.directions * distance[..., None]
        phases = torch.stack([7 * points[..., 0] + 1, 6 * points[..., 2], 5 * (points[..., 0] + points[..., 2])], -1)
        color = 0.4 + 0.3 * torch.sin(phases)
        opacity = torch.sigmoid(60 * root)[..., None]  # A soft outline, as of an image.
        rgb = opacity * color + 1 - opacity
        return {"rgb": rgb, "accumulation": opacity, "depth": distance[..., None]}


def camera(pose, size):
    focal = 1.6 * size
    return Cameras(pose[None].float(), focal, focal, size / 2, size / 2, size, size)


def moved(angles, shift):
    """The camera round a head that turned by angles (degrees) and shifted."""
    turn = torch.from_numpy(Rotation.from_euler("xyz", angles, degrees=True).as_matrix()).float()
    return torch.cat([turn @ POSE[:, :3], (turn @ POSE[:, 3:] + torch.tensor(shift)[:, None])], dim=1)


def degrees_between(first, second):
    cosine = 0.5 * (float(torch.trace(first[:, :3] @ second[:, :3].T)) - 1)
    return math.degrees(math.acos(min(1.0, cosine)))


@pytest.mark.parametrize("width, height", [(388, 388), (342, 512), (512, 342), (96, 96)])
def test_a_pose_that_is_right_stays_at_every_size(width, height):
    model = Ball()
    given = Cameras(POSE[None].float(), 450.0, 450.0, width / 2, height / 2, width, height)
    image = model.get_outputs_for_camera(given[0:1])["rgb"]
    given.camera_to_worlds = fit_pose(model.get_outputs_for_camera, given, image)[None]
    error = float(((model.get_outputs_for_camera(given)["rgb"] - image) ** 2).mean())
    assert error < 2e-5, "47 dB"


@pytest.mark.parametrize("size", [96, 200])
def test_a_moved_head_is_found(size):
    model, true = Ball(), moved((2.0, -3.0, 1.5), (0.03, 0.1, -0.02))
    image = model.get_outputs_for_camera(camera(true, size))["rgb"]
    found = fit_pose(model.get_outputs_for_camera, camera(POSE, size), image)
    assert found.shape == (3, 4) and found.dtype == torch.float32
    assert degrees_between(POSE, true) > 3.5
    assert degrees_between(found, true) < 0.15
    # As far as the surface's place in the image: a turn about the camera and a shift look alike.
    errors = [
        float(((model.get_outputs_for_camera(camera(pose, size))["rgb"] - image) ** 2).mean()) for pose in (POSE, found)
    ]
    assert errors[1] < 1e-2 * errors[0]


def test_a_pose_that_is_right_stays_and_an_empty_image_is_no_reason_to_move():
    model = Ball()
    image = model.get_outputs_for_camera(camera(POSE, 64))["rgb"]
    found = fit_pose(model.get_outputs_for_camera, camera(POSE, 64), image)
    np.testing.assert_allclose(found, POSE, atol=1e-4)
    far = torch.cat([POSE[:, :3], torch.tensor([[50.0], [-4.0], [0.0]])], dim=1)
    np.testing.assert_array_equal(fit_pose(model.get_outputs_for_camera, camera(far, 64), image), far)


def test_it_never_gets_worse():
    """Noise has no pose that explains it; every pose that is tried must help."""
    model, random = Ball(), torch.rand(48, 48, 3, generator=torch.Generator().manual_seed(0))
    errors = [
        float(((model.get_outputs_for_camera(camera(pose, 48))["rgb"] - random) ** 2).mean())
        for pose in (POSE, fit_pose(model.get_outputs_for_camera, camera(POSE, 48), random))
    ]
    assert errors[1] <= errors[0]


def test_one_step_follows_the_inside_of_the_head_not_its_outline(monkeypatch):
    """An image whose inside is of a shifted head, and whose outline stayed."""
    model, shifted = Ball(), POSE.clone()
    shifted[0, 3] = 0.03
    still, moved = (model.get_outputs_for_camera(camera(pose, 96)) for pose in (POSE, shifted))
    solid = (still["accumulation"][..., 0] > 0.5).float()[None, None]
    inside = -torch.nn.functional.max_pool2d(-solid, 9, 1, 4)[0, 0, ..., None] > 0
    image = torch.where(inside, moved["rgb"], still["rgb"])
    errors = []
    for outline in (pose_fit.OUTLINE, 1.0):
        monkeypatch.setattr(pose_fit, "OUTLINE", outline)
        found, explained = pose_fit.pose_step(model.get_outputs_for_camera, camera(POSE, 96), image)
        seen = model.get_outputs_for_camera(camera(found, 96))["rgb"]
        errors.append(float(((seen - moved["rgb"]) * inside).abs().mean()))
        assert 0.2 < explained < 1.0
    before = float(((still["rgb"] - moved["rgb"]) * inside).abs().mean())
    assert errors[0] < 0.4 * before and errors[0] < 0.7 * errors[1], (before, errors)


@pytest.mark.parametrize("size", [96, 200])
def test_what_is_before_the_head_has_no_say(size):
    model, true = Ball(), moved((2.0, -3.0, 1.5), (0.03, 0.1, -0.02))
    image = model.get_outputs_for_camera(camera(true, size))["rgb"]
    seen = torch.ones(size, size, dtype=torch.bool)
    seen[size // 3 : size // 2, size // 3 : 2 * size // 3] = False
    image[~seen] = torch.tensor([0.9, 0.1, 0.1])
    show = model.get_outputs_for_camera
    assert degrees_between(fit_pose(show, camera(POSE, size), image), true) > 0.5
    assert degrees_between(fit_pose(show, camera(POSE, size), image, seen), true) < 0.15
    once, explained = pose_step(show, camera(POSE, size), image, seen)
    assert degrees_between(once, true) < 2.0 and explained > 0.5
    nothing = torch.zeros_like(seen)
    hidden, explained = pose_step(show, camera(POSE, size), image, nothing)
    assert explained == 0.0
    for found in (hidden, fit_pose(show, camera(POSE, size), image, nothing)):
        torch.testing.assert_close(found, camera(POSE, size).camera_to_worlds[0])
