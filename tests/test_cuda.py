"""On a GPU the same as on the CPU: training runs and checkpoints; skipped where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
import torch
from baselines import mean_picture
from nerfstudio.utils.eval_utils import eval_setup
from test_large_methods import SMALLER_HEAD
from test_large_methods import run as large_run
from tiny_runs import TORSO_METHOD, checkpoint, measured, tiny_config
from torch import Tensor

from nerfblendshape_ns.avatar.avatar import open_avatar
from nerfblendshape_ns.avatar.sweep import sweep_avatar
from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState
from nerfblendshape_ns.recipes.datasets import write_synthetic
from nerfblendshape_ns.recipes.training import run_training
from nerfblendshape_ns.synthetic.dataset import ClipSettings

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A head and a torso of a synthetic clip, trained on the GPU."""
    root = tmp_path_factory.mktemp("cuda")
    data = root / "clip"
    write_synthetic(ClipSettings(num_frames=24, width=64, height=64, fps=10), data)
    head = _train(data, root, "nerfblendshape-head-small", {"max_num_iterations": 400})
    torso = _train(data, root, TORSO_METHOD, {"max_num_iterations": 300, "pipeline.model.head_run": str(head.parent)})
    return data, head, torso


def test_training_on_the_gpu_and_pictures_on_both(runs):
    """Both methods learn the clip; their checkpoints show the same pictures on the CPU as on the GPU."""
    _, head, torso = runs
    for config in (head, torso):
        assert all(bool(torch.isfinite(value).all()) for value in _floats(checkpoint(config)["pipeline"]))
        pictures = []
        for device in ("cpu", "cuda"):
            avatar = open_avatar(config, device=device)
            assert next(avatar.model.parameters()).device.type == avatar.device.type == device
            assert avatar.track is not None
            state = DrivingState(avatar.track.expression[5], head_pose=avatar.track.head_pose[5])
            outputs = avatar.render(state, avatar.camera_of(avatar.track.head_pose[5]))
            pictures.append(outputs["rgb"].cpu())
        assert float((pictures[0] - pictures[1]).abs().mean()) < 1e-3
        _, pipeline, _, _ = eval_setup(config, test_mode="test")
        assert pipeline.device.type == "cuda"
        figures, baseline = measured(config, "train"), mean_picture(pipeline, "train")
        # On the CPU the head is 10.8 dB above the mean training picture in its mask, 4.6 dB on the whole; the torso's
        # run 8.4 dB and 6.0 dB.
        assert figures["mask"]["psnr"] > max(baseline["psnr_head"], baseline["psnr_colour"]) + 6.0, (figures, baseline)
        assert next(iter(figures.values()))["psnr"] > baseline["psnr"] + 3.0, (figures, baseline)


def test_a_head_is_swept_on_the_gpu(runs):
    _, head, _ = runs
    here, there = (sweep_avatar(open_avatar(head, device=device), size=32) for device in ("cpu", "cuda"))
    changes = [[one.change for one in sweep.coefficients] for sweep in (here, there)]
    assert np.allclose(*changes, atol=1.0)


def test_the_large_head_learns_on_the_gpu(runs, tmp_path):
    """Patches, appearance codes and two frames a batch, its images on the GPU."""
    on_gpu = {"machine.device_type": "cuda", "pipeline.datamanager.images_on_gpu": True}
    head = large_run(runs[0], tmp_path, "nerfblendshape-head", **{**SMALLER_HEAD, **on_gpu})
    _, pipeline, _, _ = eval_setup(head, test_mode="test")
    figures, baseline = measured(head), mean_picture(pipeline)
    assert figures["mask"]["psnr"] > max(baseline["psnr_head"], baseline["psnr_colour"]) + 2.0, (figures, baseline)
    manager: Any = pipeline.datamanager
    assert all(part.device.type == "cuda" for part in manager._train_pixels if part is not None)
    rays, batch = manager.next_train(3)
    camera, row, column = batch["indices"].cpu().unbind(-1)
    expected = manager.train_dataset.images[camera, row, column].float() / 255
    torch.testing.assert_close(batch["image"].cpu(), expected)  # A GPU multiplies by 1 / 255.
    assert torch.equal(rays.camera_indices[:, 0].cpu(), camera)


def test_a_run_goes_on_on_the_other_device(runs, tmp_path):
    """A checkpoint of the GPU is resumed on the CPU, and that one on the GPU."""
    data, head, _ = runs
    for device in ("cpu", "cuda"):
        changes = {
            "machine.device_type": device,
            "max_num_iterations": 20,
            "load_dir": head.parent / "nerfstudio_models",
        }
        before = checkpoint(head)["step"]
        head = _train(data, tmp_path / device, "nerfblendshape-head-small", changes)
        assert checkpoint(head)["step"] > before


def _floats(state: Dict[str, Any]) -> List[Tensor]:
    return [value for value in state.values() if isinstance(value, Tensor) and value.is_floating_point()]


def _train(data: Path, output: Path, method: str, changes: Dict[str, Any]) -> Path:
    return run_training(tiny_config(data, output, method, **{"machine.device_type": "cuda", **changes}))
