"""A head trained on the synthetic clip: its coefficients move what they move in truth, and its file is all it needs."""

import shutil
from typing import Tuple

import cv2
import numpy as np
import pytest
import torch
from tiny_runs import config_with

from nerfblendshape_ns.avatar.avatar import Avatar, open_avatar
from nerfblendshape_ns.avatar.avatar_file import Provenance
from nerfblendshape_ns.avatar.export import export_avatar
from nerfblendshape_ns.avatar.sweep import sweep_avatar
from nerfblendshape_ns.recipes.training import run_training
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset
from nerfblendshape_ns.synthetic.expressions import EXPRESSION_NAMES
from nerfblendshape_ns.synthetic.head import synthetic_head

pytestmark = pytest.mark.slow

CLIP = ClipSettings(num_frames=80, width=80, height=80, fps=10)
SETTINGS = {
    "pipeline.datamanager.train_num_rays_per_batch": 512,
    "pipeline.datamanager.dataparser.test_frames": 3,
    "pipeline.model.num_levels": 6,
    "pipeline.model.log2_table_size": 11,
    "pipeline.model.occupancy_resolution": 32,
    "pipeline.model.occupancy_warmup": 64,
    "pipeline.model.expression_noise": 0.0,
    "optimizers.tables.optimizer.basis_lr_factor": 0.5,
    "max_num_iterations": 1800,
    "steps_per_eval_batch": 10**6,
    "steps_per_eval_image": 10**6,
    "steps_per_eval_all_images": 10**6,
    "machine.device_type": "cpu",
    "vis": "tensorboard",
}


@pytest.fixture(scope="module")
def avatars(tmp_path_factory) -> Tuple[Avatar, Avatar]:
    """The run, trained for half a minute, and the file that is left when run and dataset are gone."""
    folder = tmp_path_factory.mktemp("avatar")
    write_dataset(CLIP, folder / "clip")
    avatar = open_avatar(run_training(config_with(SETTINGS, folder / "clip", folder / "runs")))
    export_avatar(avatar, folder / "synthetic.avatar", Provenance(person="nobody"))
    shutil.rmtree(folder / "clip")
    shutil.rmtree(folder / "runs")
    return avatar, open_avatar(folder / "synthetic.avatar")


def true_picture(avatar: Avatar, expression: np.ndarray) -> np.ndarray:
    """The synthetic head on white at the avatar's median camera, in levels of 255."""
    normalisation = avatar.description["normalisation"]
    transform = np.array(normalisation["transform"])
    pose = avatar.camera.camera_to_worlds[0].double().numpy()
    pose[:, 3] = pose[:, 3] / normalisation["scale"] - transform[:, 3]
    camera_to_head = np.eye(4)
    camera_to_head[:3] = transform[:, :3].T @ pose
    rendering = synthetic_head(CLIP.seed).render(expression, camera_to_head, CLIP.intrinsics, samples=CLIP.samples)
    return np.where((rendering.labels == 1)[..., None], rendering.image, 255).astype(float)


def test_the_file_renders_as_the_run(avatars):
    run, file = avatars
    for share in (0.0, 0.5, 1.0):
        state = run.neutral()
        state.expression = torch.lerp(state.expression, run.maximum, share)
        first = run.render(state, run.camera_of(run.camera.camera_to_worlds[0], 100))
        second = file.render(state, file.camera_of(file.camera.camera_to_worlds[0], 100))
        for name, value in first.items():
            assert torch.equal(second[name], value), name
    assert float(run.camera.fx) == pytest.approx(CLIP.intrinsics.fl_x)


def test_every_coefficient_moves_its_own_region_most(avatars):
    _, avatar = avatars
    assert avatar.names == list(EXPRESSION_NAMES)
    sweep = sweep_avatar(avatar)
    neutral = avatar.neutral().expression.numpy()
    truth = true_picture(avatar, neutral)
    error = np.mean((truth - sweep.neutral) ** 2) / 255**2
    assert -10 * np.log10(error) > 26, "the neutral face itself is not there"
    ratios = {}
    for index, one in enumerate(sweep.coefficients):
        expression = neutral.copy()
        expression[index] = one.maximum
        change = np.abs(true_picture(avatar, expression) - truth).mean(-1)
        region = cv2.dilate((change > 0.25 * np.percentile(change, 99.5)).astype(np.uint8), np.ones((3, 3))) > 0
        elsewhere = sweep.head & ~region
        ratios[one.name] = float(one.heat[region].mean() / one.heat[elsewhere].mean())
    learnt = {one.name: ratios[one.name] for one in sweep.coefficients if one.learnt}
    assert len(learnt) >= 18, [one.reasons for one in sweep.coefficients]
    assert min(learnt.values()) > 1.0, learnt
    assert np.mean(list(learnt.values())) > 1.8, learnt
    assert learnt["jawOpen"] > 4 and learnt["eyeBlinkLeft"] > 1.8 and learnt["eyeBlinkRight"] > 1.8, learnt
    # The clip moves both eyes' gaze together, and the sweep says that the model cannot tell the two apart.
    gaze = next(one for one in sweep.coefficients if one.name == "eyeLookOutLeft")
    assert gaze.alike == "eyeLookInRight" and gaze.likeness > 0.95
