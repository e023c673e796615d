"""A head trains on FLAME's signed coefficients, read from INSTA's layout: both directions are learnt and kept apart."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from layout_clips import write_insta
from tiny_runs import config_with

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.layouts import read_clip
from nerfblendshape_ns.fields import head_field
from nerfblendshape_ns.recipes.training import end_curves

pytestmark = pytest.mark.slow

STEPS, NUM_FRAMES = 800, 30
TINY = {
    "pipeline.datamanager.train_num_rays_per_batch": 256,
    "pipeline.datamanager.dataparser.max_size": 32,
    "pipeline.datamanager.dataparser.test_frames": 3,
    "pipeline.model.num_levels": 5,
    "pipeline.model.log2_table_size": 10,
    "pipeline.model.occupancy_resolution": 32,
    "pipeline.model.occupancy_warmup": 16,
    "pipeline.model.occupancy_interval": 16,
    "pipeline.model.samples_per_box": 64,
    "pipeline.model.expression_noise": 0.0,
    # After some hundred steps the square loss, the method's own, leaves the head translucent.
    "pipeline.model.color_loss": "l1",
    "max_num_iterations": STEPS,
    "machine.device_type": "cpu",
    "vis": "tensorboard",
}


def write_signed_clip(root):
    """The head is dark where FLAME's first component is -2, bright where it is +2; neutral is between."""
    write_insta(root, NUM_FRAMES, jaw=False)
    first = 2.0 * np.sin(np.linspace(0.3, 14.0, NUM_FRAMES))
    random = np.random.default_rng(0)
    for frame in range(NUM_FRAMES):
        coefficients = np.zeros(100)
        coefficients[0], coefficients[1] = first[frame], 0.05 * random.normal()
        np.savetxt(root / "flame/exp" / f"{frame + 1:05d}.txt", coefficients, fmt="%.8f")
        path = str(root / "images" / f"{frame + 1:05d}.png")
        picture = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        picture[..., :3] = np.where(picture[..., 3:] > 0, 128 + 50 * first[frame], 0).astype(np.uint8)
        cv2.imwrite(path, picture)


def test_both_directions_of_a_signed_basis_are_learnt(tmp_path, monkeypatch):
    monkeypatch.setattr(head_field, "OPACITY_START", 4.0)  # The schedules of the method are for thousands of steps.
    monkeypatch.setattr(head_field, "OPACITY_WARMUP", 1)
    write_signed_clip(tmp_path / "data")
    assert read_clip(tmp_path / "data").basis_id == "flame"
    config = config_with(TINY, tmp_path / "data", tmp_path / "runs")
    config.pipeline.datamanager.data = config.data
    for group in config.optimizers.values():
        group["scheduler"] = None
        if hasattr(group["optimizer"], "basis_lr_factor"):
            group["optimizer"].basis_lr_factor = 1.0
    torch.manual_seed(0)
    trainer = config.setup(local_rank=0, world_size=1)
    try:
        trainer.setup()
        trainer.train()
    finally:
        end_curves()
    model = trainer.pipeline.model.eval()
    source = model.expression_source
    assert list(source.names)[:1] == ["expr_00"]
    assert float(source.minimum[0]) < -1.9 and float(source.maximum[0]) > 1.9
    dataset = trainer.pipeline.datamanager.train_dataset
    camera = dataset.cameras[len(dataset) // 2 : len(dataset) // 2 + 1].to(model.device)
    head = torch.from_numpy(
        cv2.resize((_labels(tmp_path) == Label.HEAD).astype(np.uint8), (32, 32), interpolation=cv2.INTER_NEAREST) > 0
    )
    levels = {}
    for value in (-9.0, -1.5, 0.0, 1.5, 9.0):
        expression = torch.zeros(1, len(source.names))
        expression[0, 0] = value
        camera.metadata["expression"] = expression
        with torch.no_grad():
            levels[value] = float(model.get_outputs_for_camera(camera)["rgb"][head].mean()) * 255
    # True levels are 128 + 50 * coefficient, limited to the training range of about -2 to 2.
    assert levels[-1.5] == pytest.approx(53, abs=25)
    assert levels[0.0] == pytest.approx(128, abs=25)
    assert levels[1.5] == pytest.approx(203, abs=25)
    assert levels[-9.0] < levels[-1.5] < levels[0.0] < levels[1.5] < levels[9.0]
    assert levels[-9.0] == pytest.approx(28, abs=30) and levels[9.0] == pytest.approx(228, abs=30)


def _labels(tmp_path):
    from nerfblendshape_ns.data.frame_images import load_labels

    clip = read_clip(tmp_path / "data")
    return load_labels(clip.frames[len(clip.frames) // 2 - 2].files)
