"""Driving a trained synthetic head by coefficients that no frame of its clip shows, against the renderer's truth."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tiny_runs import tiny_config

from nerfblendshape_ns.avatar.avatar import open_avatar
from nerfblendshape_ns.common.file_io import load_image
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.driving.drive import drive
from nerfblendshape_ns.driving.options import DriveOptions
from nerfblendshape_ns.driving.plan import plan_drive
from nerfblendshape_ns.recipes.datasets import write_synthetic
from nerfblendshape_ns.recipes.training import run_training
from nerfblendshape_ns.synthetic.camera import default_camera
from nerfblendshape_ns.synthetic.dataset import ClipSettings
from nerfblendshape_ns.synthetic.head import synthetic_head
from nerfblendshape_ns.synthetic.motion import talking_motion, unseen_expressions

pytestmark = pytest.mark.slow

QUIET = Console(quiet=True)
CLIP = ClipSettings(num_frames=60, width=48, height=48, fps=12.5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("drive-synthetic")
    write_synthetic(CLIP, root / "clip")
    config = tiny_config(
        root / "clip",
        root / "runs",
        **{
            "max_num_iterations": 1500,
            "pipeline.datamanager.dataparser.test_frames": 6,
            "steps_per_eval_batch": 0,
            "steps_per_eval_image": 0,
            "steps_per_eval_all_images": 0,
        },
    )
    return run_training(config).parent


def psnr(render: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(((render.astype(float) - truth) ** 2).mean() / 255**2))


def camera_to_head(pose: np.ndarray, normalisation: dict) -> np.ndarray:
    """Head space for the normalised camera ``[3, 4]`` of a drive."""
    transform = np.array(normalisation["transform"])
    rotation, shift = transform[:, :3], transform[:, 3]
    full = np.eye(4)
    full[:3, :3] = rotation.T @ pose[:, :3]
    full[:3, 3] = rotation.T @ (pose[:, 3] / normalisation["scale"] - shift)
    return full


def test_unseen_coefficients_are_rendered_nearly_as_well_as_test_frames(trained, tmp_path):
    options = DriveOptions(avatar=trained, output=tmp_path / "test", fps=CLIP.fps)
    drive(options, QUIET)
    avatar = open_avatar(trained)
    assert avatar.track is not None
    plan = plan_drive(options, avatar, QUIET)
    renders = [load_image(path) for path in sorted((tmp_path / "test").glob("*.png"))]
    assert len(renders) == 6
    test = np.mean([psnr(render, plan.driver.image_of(index)) for index, render in enumerate(renders)])

    train_frames = avatar.track.train_frames
    seen = talking_motion(CLIP.num_frames, CLIP.fps, CLIP.seed).expressions[train_frames]
    expressions = unseen_expressions(seen, 6, seed=1)
    np.save(tmp_path / "expr.npy", expressions)
    (tmp_path / "expr_names.json").write_text(json.dumps({"basis": "custom", "names": avatar.source_names}))
    options = replace(options, by=str(tmp_path / "expr.npy"), source_fps=CLIP.fps, output=tmp_path / "unseen")
    drive(options, QUIET)
    plan = plan_drive(options, avatar, QUIET)
    head, scores, wrong = synthetic_head(CLIP.seed), [], []
    truths = []
    for index, expression in enumerate(expressions):
        pose = camera_to_head(plan.poses.camera[index], avatar.description["normalisation"])
        truth = head.render(expression, pose, CLIP.intrinsics, default_camera() @ np.linalg.inv(pose), CLIP.samples)
        truths.append(np.where((truth.labels == Label.HEAD)[..., None], truth.image, 255))
    for index in range(len(expressions)):
        render = load_image(tmp_path / "unseen" / f"{index:06d}.png")
        scores.append(psnr(render, truths[index]))
        wrong.append(psnr(render, truths[(index + 1) % len(truths)]))
    unseen = np.mean(scores)
    assert unseen > test - 4.0 and unseen > 18.0, (unseen, test)
    # Each render is nearer to its own expression than to another's.
    assert np.mean(np.array(scores) > np.array(wrong)) > 0.6 and unseen > np.mean(wrong), (scores, wrong)
