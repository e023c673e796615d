"""What training frames are corrected by, and what follows from it for other frames."""

import torch

from nerfblendshape_ns.model_components.conditioning.pose_correction import PoseCorrection
from nerfblendshape_ns.ops.rigid_motion import scene_motion

FRAMES = 60
POSES = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, -4.0], [0.0, 1.0, 0.0, 0.0]]).flatten().expand(FRAMES, 12)


def example():
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(FRAMES, 6, generator=generator)
    slope = 0.01 * torch.randn(6, 6, generator=generator)
    return codes, slope, 0.002 * torch.randn(FRAMES, 6, generator=generator)


def motion_of(numbers):
    return scene_motion(POSES[: len(numbers)], numbers, torch.eye(6), torch.zeros(6))


def test_training_frames_have_their_own_and_others_what_follows_from_the_pose():
    codes, slope, noise = example()
    correction = PoseCorrection(POSES, codes)
    assert correction.done == 0
    own = codes @ slope + 0.02 + noise
    correction.correct(own)
    assert correction.done == 1
    frames = torch.tensor([3, 41])
    torch.testing.assert_close(correction.of_training(frames), motion_of(own[frames]))
    unseen = torch.randn(2, 6, generator=torch.Generator().manual_seed(1))
    found, expected = correction(POSES[:2], unseen), motion_of(unseen @ slope + 0.02)
    assert float((found - expected).abs().max()) < 0.15 * float((expected - motion_of(torch.zeros(2, 6))).abs().max())


def test_numbers_that_hardly_vary_are_not_stretched():
    """A head that does not turn: what its frames need says nothing of turned ones."""
    codes, _, noise = example()
    codes[:, 0] *= 1e-3
    correction = PoseCorrection(POSES, codes)
    correction.correct(noise)
    far = codes[:1].clone()
    far[:, 0] = 1.0
    still = correction(POSES[:1], codes[:1])
    assert float((correction(POSES[:1], far) - still).abs().max()) < 2e-3


def test_a_state_brings_the_corrections_along():
    codes, slope, _ = example()
    first, second = PoseCorrection(POSES, codes), PoseCorrection(POSES, codes)
    first.correct(codes @ slope)
    second.load_state_dict(first.state_dict())
    assert second.done == 1
    frames = torch.arange(FRAMES)
    torch.testing.assert_close(second.of_training(frames), first.of_training(frames), rtol=0, atol=0)
    torch.testing.assert_close(second(POSES, codes), first(POSES, codes), rtol=0, atol=0)
