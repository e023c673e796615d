"""Pixels of a batch are found in images of any size; how they are drawn is tested with the sampler."""

import torch

from nerfblendshape_ns.ops.pixel_sampling_kernels import gather


def test_pixels_of_more_than_two_gibibytes():
    """The memory is reserved and not touched, but for one pixel."""
    width, height, frames = 512, 512, 2800
    images = torch.empty(frames, width * height * 3, dtype=torch.uint8)
    alphas = torch.empty(frames, width * height, dtype=torch.uint8)
    last = width * height - 1
    images[-1, 3 * last :], alphas[-1, last] = torch.tensor([51, 102, 204], dtype=torch.uint8), 255
    frame, camera = torch.tensor([frames - 1]), torch.empty(1, dtype=torch.long)
    indices, image, alpha = torch.empty(1, 3, dtype=torch.long), torch.empty(1, 3), torch.empty(1)
    where = (width, frame, torch.zeros(1, dtype=torch.int32), torch.tensor([last]))
    nothing = torch.empty(0, 4, dtype=torch.uint8), torch.empty(0, 4)
    gather(1, (), (*where, images, alphas, nothing[0], camera, indices, image, alpha, nothing[1]))
    assert indices.tolist() == [[frames - 1, 511, 511]] and camera.tolist() == [frames - 1]
    torch.testing.assert_close(image, torch.tensor([[0.2, 0.4, 0.8]]))
    assert alpha.tolist() == [1.0]
