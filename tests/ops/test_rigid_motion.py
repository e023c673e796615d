"""Rays that move rigidly with their frame, against SciPy's rotations."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.ops.rigid_motion import move_rays, scene_motion


def poses(count, seed=0):
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(count, random_state=seed).as_matrix()
    return np.concatenate([rotation, rng.normal(size=(count, 3, 1))], axis=2)


def test_what_a_camera_sees_is_taken_to_what_the_moved_one_sees():
    rng = np.random.default_rng(1)
    pose, inputs, linear, offset = poses(3), rng.normal(size=(3, 6)), 0.3 * rng.normal(size=(6, 6)), rng.normal(size=6)
    tensors = (torch.from_numpy(part).float() for part in (pose.reshape(3, 12), inputs, linear, offset))
    motions = scene_motion(*tensors).view(3, 3, 4).double().numpy()
    for frame in range(3):
        numbers = inputs[frame] @ linear + offset
        change = np.eye(4)
        change[:3, :3], change[:3, 3] = Rotation.from_rotvec(numbers[:3]).as_matrix(), numbers[3:]
        camera = np.vstack([pose[frame], [0, 0, 0, 1]])
        expected = camera @ change @ np.linalg.inv(camera)
        np.testing.assert_allclose(motions[frame], expected[:3], atol=2e-5)


def test_no_change_is_no_motion():
    still = (torch.zeros(2, 6), torch.zeros(6, 6), torch.zeros(6))
    motions = scene_motion(torch.from_numpy(poses(2).reshape(2, 12)).float(), *still)
    torch.testing.assert_close(motions.view(2, 3, 4), torch.eye(4)[:3].expand(2, 3, 4), atol=1e-6, rtol=0)


def test_rays_follow_their_frame_and_gradients_come_back():
    generator = torch.Generator().manual_seed(0)
    motions = torch.from_numpy(poses(2).reshape(2, 12)).float()
    frame = torch.tensor([0, 1, 1, 0, 1], dtype=torch.int32)
    rays = [torch.randn(5, 3, generator=generator, requires_grad=True) for _ in range(2)]
    weights = [torch.randn(5, 3, generator=generator) for _ in range(2)]

    def reference(origins, directions):
        matrices = motions.view(2, 3, 4)[frame.long()]
        turned = [(matrices[:, :, :3] @ part[..., None])[..., 0] for part in (origins, directions)]
        return turned[0] + matrices[:, :, 3], turned[1]

    results = []
    for moved in (move_rays(*rays, motions, frame), reference(*rays)):
        loss = sum((part * weight).sum() for part, weight in zip(moved, weights))
        results.append((*moved, *torch.autograd.grad(loss, rays)))
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs)
    single = move_rays(*rays, motions[1:], None)
    torch.testing.assert_close(single[0][1], results[0][0][1])
    torch.testing.assert_close(single[1][2], results[0][1][2])
