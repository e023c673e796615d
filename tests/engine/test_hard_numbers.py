"""Numbers at the edge: losses that are not finite, frames without a head, one training frame, huge coefficients."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest
import torch
from tiny_head import POSE, camera, make
from tiny_runs import TORSO_METHOD, checkpoint, tiny_config
from tiny_torso import make_torso

from nerfblendshape_ns.avatar.avatar import open_avatar
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import load_image, save_image
from nerfblendshape_ns.data.contract import parsing_name
from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState
from nerfblendshape_ns.models.head import HeadModel
from nerfblendshape_ns.recipes.training import run_training

SPLITS = {
    "pipeline.datamanager.dataparser.test_frames": 1,
    "pipeline.datamanager.dataparser.val_frames": 1,
    "steps_per_eval_batch": 6,
    "steps_per_eval_image": 10,
}


@pytest.fixture
def data(data, tmp_path) -> Path:
    """A copy, which may be changed."""
    return Path(shutil.copytree(data, tmp_path / "clip"))


def run(data: Path, output: Path, steps: int = 12, **changes: Any) -> Path:
    return run_training(tiny_config(data, output, **{**SPLITS, "max_num_iterations": steps, **changes}))


def assert_finite_images(run: Path) -> None:
    """Every image that a run renders of its own clip."""
    avatar = open_avatar(run.parent, "cpu")
    assert avatar.track is not None
    for expression, pose in zip(avatar.track.expression, avatar.track.head_pose):
        outputs = avatar.render(DrivingState(expression, pose), avatar.camera_of(pose, 24))
        assert all(bool(value.isfinite().all()) for value in outputs.values())


def weights(run: Path) -> Dict[str, torch.Tensor]:
    state = checkpoint(run)["pipeline"]
    return {name: value for name, value in state.items() if torch.is_tensor(value) and value.is_floating_point()}


@pytest.fixture
def spoil(monkeypatch):
    """Makes the loss of batches of some training frames NaN."""
    losses = HeadModel.get_loss_dict

    def of(frames: range) -> None:
        def spoilt(self, outputs, batch, metrics_dict=None):
            found = losses(self, outputs, batch, metrics_dict)
            if self.training and int(batch["frame_ids"][0]) in frames:
                found["color_loss"] = found["color_loss"] * float("nan")
            return found

        monkeypatch.setattr(HeadModel, "get_loss_dict", spoilt)

    return of


@pytest.mark.parametrize("saved", [2, 100])
def test_a_loss_that_is_not_finite_ends_the_training_and_spoils_no_checkpoint(data, tmp_path, spoil, saved):
    spoil(range(2, 3))
    with pytest.raises(
        UserError, match=r"the loss of frame 2 in step \d+ is not finite, .* nbs-check, or .*\.lr\)\.$"
    ) as told:
        run(data, tmp_path / "runs", 40, steps_per_save=saved)
    step = int(str(told.value).split("in step ")[1].split()[0])
    found = list(tmp_path.glob("runs/**/*.ckpt"))
    assert bool(found) == (saved == 2 and step >= 2)
    for path in found:
        config = path.parents[1] / "config.yml"
        assert checkpoint(config)["step"] < step
        assert all(bool(value.isfinite().all()) for value in weights(config).values())


def test_a_frame_without_a_head(data, tmp_path):
    for frame in (2, 6, 7):  # In training, validation and test.
        labels = data / "parsing" / parsing_name(frame)
        save_image(labels, np.zeros_like(load_image(labels, -1)))
    trained = run(data, tmp_path / "runs")
    assert_finite_images(trained)
    changes = {"pipeline.model.head_run": str(trained.parent), "max_num_iterations": 12}
    assert_finite_images(run_training(tiny_config(data, tmp_path / "torsos", TORSO_METHOD, **SPLITS, **changes)))


def test_one_training_frame(data, tmp_path):
    one = {"pipeline.datamanager.dataparser.test_frames": 5, "pipeline.datamanager.dataparser.val_frames": 2}
    with pytest.raises(UserError, match="no expression coefficient moves in the training frames; .* --basis all"):
        run(data, tmp_path / "runs", **one)
    assert_finite_images(run(data, tmp_path / "all", **one, **{"pipeline.datamanager.dataparser.basis": "all"}))


def test_coefficients_of_a_million(data, tmp_path):
    np.save(data / "expr.npy", np.load(data / "expr.npy") * np.float32(1e6))
    for name in ("expr_min.npy", "expr_max.npy"):
        (data / name).unlink()
    assert_finite_images(run(data, tmp_path / "runs"))


@pytest.mark.parametrize("conditioning", ["blend", "concat"])
@pytest.mark.parametrize("value", [1e6, -1e6, 3e38])
def test_driven_by_huge_coefficients(value, conditioning):
    for model in (make(conditioning=conditioning).eval(), make_torso().eval()):
        outputs = model.render_driven(camera(), DrivingState(torch.full((3,), value), POSE.flatten()))
        for name, image in outputs.items():
            assert bool(image.isfinite().all()), name


@pytest.mark.parametrize("empty", ["cells", "density"])
def test_zero_density_everywhere_is_the_background(empty):
    for model in (make(), make_torso()):
        head = model if isinstance(model, HeadModel) else model.head
        with torch.no_grad():
            if empty == "cells":
                head.occupancy.estimator.binaries.zero_()
            else:
                for parameter in head.field.parameters():
                    parameter.zero_()
                head.field.max_density = 0.0
            if model is not head:
                for parameter in model.field.parameters():
                    parameter.zero_()
        outputs = model.eval().render_driven(camera(), DrivingState(torch.zeros(3), POSE.flatten()))
        for name, image in outputs.items():
            assert bool(image.isfinite().all()), name
        if model is head:
            assert float(outputs["accumulation"].max()) == 0.0 and float(outputs["rgb"].min()) == 1.0
