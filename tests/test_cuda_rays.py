"""On a GPU the same rays and pixels as on the CPU; skipped where there is none."""

from __future__ import annotations

from typing import List

import pytest
import torch
from both_devices import assert_close, on_both
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from nerfblendshape_ns.data.datamanager import NerfBlendshapeDataManagerConfig
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.data.pinhole_rays import PinholeRays, image_rays
from nerfblendshape_ns.model_components.rendering.view_range import ViewRange
from nerfblendshape_ns.ops.rigid_motion import move_rays, scene_motion
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")


def test_rays_that_move_with_their_frame():
    generator = torch.Generator().manual_seed(7)
    inputs = [torch.randn(shape, generator=generator) for shape in ((3, 12), (3, 6), (6, 6), (6,), (300, 3), (300, 3))]
    frame = torch.randint(3, (300,), generator=generator).int()

    def run(*tensors: Tensor) -> List[Tensor]:
        *numbers, origins, directions, ray_frame = tensors
        rays = origins.requires_grad_(), directions.requires_grad_()
        motions = scene_motion(*numbers)
        moved = move_rays(*rays, motions, ray_frame)
        return [motions, *moved, *torch.autograd.grad((moved[0] * moved[1]).sum(), rays)]

    assert_close(on_both(run, *inputs, frame), 1e-5)


@pytest.mark.parametrize("whole", [False, True])
def test_rays_of_cameras(whole):
    def run(poses: Tensor, pixels: Tensor) -> List[Tensor]:
        cameras = Cameras(poses, 31.0, 33.0, 11.5, 8.2, 20, 18)
        made = (
            image_rays(cameras[:1], poses.device)
            if whole
            else PinholeRays(cameras, poses.device)(pixels % 2, pixels, {})
        )
        assert made is not None
        return [made.origins, made.directions, made.pixel_area, made.metadata["directions_norm"]]

    generator = torch.Generator().manual_seed(10)
    poses, pixels = torch.randn(2, 3, 4, generator=generator), torch.randint(360, (500,), generator=generator)
    assert_close(on_both(run, poses, pixels), 1e-5)


def test_pixels_of_a_batch(tmp_path):
    """The same draws; a place that rounding puts beside a pixel's border falls to the next."""
    write_dataset(ClipSettings(num_frames=6, width=64, height=64, samples=1), tmp_path / "clip")
    batches = []
    for device in ("cpu", "cuda"):
        parser = NerfBlendshapeDataParserConfig(target="frame")
        options = {"patch_size": 8, "num_patches": 3, "frames_per_batch": 2, "images_on_gpu": True}
        config = NerfBlendshapeDataManagerConfig(data=tmp_path / "clip", dataparser=parser, **options)
        batches.append(config.setup(device=device).next_train(3)[1])
    same = (batches[0]["indices"] == batches[1]["indices"].cpu()).all(1)
    assert float(same.float().mean()) > 0.99
    for name in ("image", "alpha", "torso"):
        torch.testing.assert_close(batches[0][name][same], batches[1][name].cpu()[same])


def test_view_range():
    generator = torch.Generator().manual_seed(11)
    poses, origins = torch.randn(9, 12, generator=generator) * 0.3 + 2.0, torch.randn(500, 3, generator=generator) * 3.0
    directions = torch.nn.functional.normalize(-origins, dim=-1)

    def run(origins: Tensor, directions: Tensor) -> List[Tensor]:
        return [ViewRange(poses, torch.zeros(3)).to(origins.device)(origins, directions)]

    assert_close(on_both(run, origins, directions), 1e-4)
