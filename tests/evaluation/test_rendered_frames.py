"""Which frames are taken, and what is kept of them."""

from __future__ import annotations

import numpy as np
import torch

from nerfblendshape_ns.avatar.avatar import byte_image
from nerfblendshape_ns.common.frame_numbers import spread
from nerfblendshape_ns.evaluation.frames import RenderedFrame, furthest_turned, render_seconds, rendered_frame


def test_spread():
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(3, 10) == [0, 1, 2]
    assert spread(5, 0) == []
    assert spread(5, 1) == [0]


def test_frames_turned_furthest():
    angles = torch.tensor([0.0, 0.3, -0.1, 0.05, -0.4, 0.02])
    poses = torch.zeros(6, 3, 4)
    poses[:, 0, 0] = poses[:, 1, 1] = angles.cos()
    poses[:, 0, 1], poses[:, 1, 0], poses[:, 2, 2] = -angles.sin(), angles.sin(), 1.0
    assert furthest_turned(poses, 2) == [1, 4]
    assert furthest_turned(poses, 99) == [0, 1, 2, 3, 4, 5]


def test_pictures_have_eight_bits():
    assert byte_image(torch.tensor([-0.5, 0.0, 0.5, 1.0, 7.0])).tolist() == [0, 0, 128, 255, 255]


def test_a_frame_is_kept_in_six_bytes_a_pixel():
    outputs = {"rgb": torch.rand(4, 5, 3), "depth": torch.full((4, 5, 1), 1.5), "accumulation": torch.ones(4, 5, 1)}
    frame = rendered_frame(outputs, "a")
    assert frame.render.nbytes + frame.depth.nbytes + frame.opacity.nbytes == 6 * 4 * 5
    assert (frame.depth == 1.5).all() and (frame.opacity == 255).all()


def test_the_psnr_of_a_frame_is_that_of_its_first_row():
    empty = np.zeros((2, 2, 3), np.uint8), np.ones((2, 2, 1), np.float16), np.full((2, 2, 1), 255, np.uint8)
    assert RenderedFrame("a", *empty).psnr is None
    assert RenderedFrame("a", *empty, rows={"whole": {"psnr": 3.0}, "mask": {"psnr": 4.0}}).psnr == 3.0


def test_the_first_render_is_not_timed(monkeypatch):
    """It compiles kernels; the median of the others counts."""
    clock = iter([0.0, 100.0, 0.0, 3.0, 0.0, 1.0, 0.0, 2.0])
    monkeypatch.setattr("nerfblendshape_ns.evaluation.frames.time.perf_counter", lambda: next(clock))

    class Model:
        def get_outputs_for_camera(self, camera):
            return {"rgb": torch.zeros(1)}

    assert render_seconds(Model(), None, repeats=3) == 2.0  # type: ignore[arg-type]
