"""nerfstudio's own tools on a run of the head, from training to the viewer.

In one process where possible: importing nerfstudio takes ten seconds, and a dozen tools would spend two minutes on it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import yaml
from nerfstudio.cameras.cameras import CameraType
from nerfstudio.scripts import render
from nerfstudio.scripts.eval import ComputePSNR
from nerfstudio.scripts.viewer import run_viewer
from nerfstudio.utils.eval_utils import eval_setup
from nerfstudio.viewer.utils import CameraState, get_camera
from tiny_runs import METHOD, NUM_FRAMES, NUM_TEST, SIZE, STEPS, checkpoint, measured, tiny_config, video_frames
from waiting import until

from nerfblendshape_ns.engine import trainer as trainer_module
from nerfblendshape_ns.recipes.datasets import write_synthetic
from nerfblendshape_ns.recipes.training import end_curves, run_training
from nerfblendshape_ns.synthetic.dataset import ClipSettings

pytestmark = pytest.mark.slow
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ns-render's paths need the program ffmpeg")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "clip"
    write_synthetic(ClipSettings(num_frames=NUM_FRAMES, width=SIZE, height=SIZE, fps=10), folder)
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    """``config.yml`` of a short run."""
    return run_training(tiny_config(data, tmp_path_factory.mktemp("runs")))


def test_training_leaves_a_run_and_its_curves(trained):
    assert checkpoint(trained)["step"] == STEPS - 1
    assert (trained.parent / "dataparser_transforms.json").exists()
    assert list(trained.parent.glob("events.out.tfevents.*"))


def test_training_resumes(trained, data, tmp_path):
    config = tiny_config(data, tmp_path, load_dir=str(trained.parent / "nerfstudio_models"), max_num_iterations=4)
    assert checkpoint(run_training(config))["step"] == STEPS + 3


def test_eval_writes_the_protocols_metrics(trained, tmp_path):
    ComputePSNR(trained, tmp_path / "eval.json", tmp_path / "images").main()
    document = json.loads((tmp_path / "eval.json").read_text())
    assert document["method_name"] == METHOD
    results = document["results"]
    for name in ("psnr", "ssim", "l1", "psnr_head", "ssim_head"):
        assert np.isfinite(results[name]) and np.isfinite(results[f"{name}_std"]), name
    # Even so short a run is far better than noise; how good one becomes is asked in scripts/test_recipe.py.
    assert results["psnr"] > 10 and 0 < results["ssim"] <= 1
    assert len(list((tmp_path / "images").iterdir())) >= NUM_TEST


def test_the_figures_of_nbs_eval_are_those_of_ns_eval(trained, tmp_path):
    ComputePSNR(trained, tmp_path / "eval.json").main()
    results = json.loads((tmp_path / "eval.json").read_text())["results"]
    rows = measured(trained)
    ours = {**{name: rows["head"][name] for name in ("psnr", "ssim", "l1")}, "psnr_head": rows["mask"]["psnr"]}
    for name, value in ours.items():
        assert value == pytest.approx(results[name], rel=1e-4), name


def test_render_dataset(trained, tmp_path):
    names = ["rgb", "gt-rgb", "raw-depth", "rgba"]
    render.DatasetRender(trained, tmp_path, rendered_output_names=names, image_format="png").main()
    for name in names:
        assert len([path for path in (tmp_path / "test" / name).rglob("*") if path.is_file()]) == NUM_TEST, name
    image = cv2.imread(str(sorted((tmp_path / "test" / "rgb").glob("*.png"))[0]))
    assert image.shape == (SIZE, SIZE, 3)
    assert image[0, 0].min() > 150 and image.min() < 140, "a head on white"


@needs_ffmpeg
def test_render_interpolate(trained, tmp_path):
    render.RenderInterpolated(trained, tmp_path / "path.mp4", interpolation_steps=3).main()
    assert video_frames(tmp_path / "path.mp4").shape == ((NUM_TEST - 1) * 3, SIZE, SIZE, 3)


@needs_ffmpeg
def test_render_spiral(trained, tmp_path):
    render.SpiralRender(trained, tmp_path / "spiral.mp4", seconds=1, frame_rate=4).main()
    assert len(video_frames(tmp_path / "spiral.mp4")) == 4


@needs_ffmpeg
def test_render_camera_path_follows_the_clip(trained, tmp_path):
    """Keyframes that carry a time show the expression of that time, from wherever they look."""
    _, pipeline, _, _ = eval_setup(trained)
    track = pipeline.model.expression_source.track_expression
    start = 0
    end = int((track - track[start]).norm(dim=1).argmax())
    pose = torch.eye(4)
    pose[:3] = pipeline.datamanager.train_dataset.cameras.camera_to_worlds[0]
    times = [start / (NUM_FRAMES - 1), end / (NUM_FRAMES - 1)]
    path = {
        "camera_type": "perspective",
        "render_height": SIZE,
        "render_width": SIZE,
        "fps": 2,
        "seconds": 1,
        "is_cycle": False,
        "camera_path": [
            {"camera_to_world": pose.flatten().tolist(), "fov": 35, "aspect": 1, "render_time": time} for time in times
        ],
    }
    (tmp_path / "path.json").write_text(json.dumps(path))
    options = {"camera_path_filename": tmp_path / "path.json", "output_format": "images", "image_format": "png"}
    render.RenderCameraPath(trained, tmp_path / "frames", **options).main()
    first, second = (cv2.imread(str(image)).astype(float) for image in sorted((tmp_path / "frames").rglob("*.png")))
    assert first.shape == (SIZE, SIZE, 3)
    assert np.abs(first - second).max() > 2, "the expression did not change with time"
    # A camera index fixes the expression, so time no longer matters.
    render.RenderCameraPath(trained, tmp_path / "fixed", camera_idx=0, **options).main()
    first, second = (cv2.imread(str(image)).astype(float) for image in sorted((tmp_path / "fixed").rglob("*.png")))
    assert np.array_equal(first, second)


class _Stop(Exception):
    """Ends the viewer's endless wait."""


def test_viewer_loads_the_run_and_renders_the_clicked_frame(trained, monkeypatch):
    """``ns-viewer`` until it waits for browsers, then what a browser's camera asks of the model."""

    def stop(_: float) -> None:
        raise _Stop

    states = []
    make = run_viewer.ViewerState
    monkeypatch.setattr(
        run_viewer, "ViewerState", lambda *args, **kwargs: states.append(make(*args, **kwargs)) or states[0]
    )
    monkeypatch.setattr(run_viewer, "time", SimpleNamespace(sleep=stop))
    viewer = run_viewer.ViewerConfigWithoutNumRays(websocket_host="127.0.0.1", quit_on_train_completion=True)
    try:
        with pytest.raises(_Stop):
            run_viewer.RunViewer(trained, viewer).main()
        (state,) = states
        model, cameras = state.pipeline.model, state.pipeline.datamanager.train_dataset.cameras
        source = model.expression_source
        track = source.track_expression[source.train_frames]
        other = int((track - track[0]).norm(dim=1).argmax())

        def seen(index: int) -> torch.Tensor:
            callbacks = state.camera_handles[index]._impl.click_cb
            until(lambda: len(callbacks) == 2)  # nerfstudio's own asks the browser to go there.
            callbacks[1](None)
            clicked = CameraState(
                fov=0.6, aspect=1.0, c2w=cameras.camera_to_worlds[0], time=0.0, idx=index,
                camera_type=CameraType.PERSPECTIVE,
            )  # fmt: skip
            with torch.no_grad():
                return model.get_outputs_for_camera(get_camera(clicked, SIZE))["rgb"]

        assert seen(0).shape == (SIZE, SIZE, 3)
        assert torch.equal(seen(0), seen(0))
        assert float((seen(0) - seen(other)).abs().max()) > 0.01, "another frame's expression looks the same"
    finally:
        for state in states:
            state.viser_server.stop()
        end_curves()


def test_training_beside_the_viewer(data, tmp_path):
    config = tiny_config(data, tmp_path, vis="viewer", max_num_iterations=3)
    assert checkpoint(run_training(config))["step"] == 2


def test_the_budget_ends_training_with_a_checkpoint(data, tmp_path, monkeypatch):
    seconds = iter(range(10**6))  # On the real clock the first step of a busy machine may take all of it.
    monkeypatch.setattr(trainer_module, "time", SimpleNamespace(monotonic=lambda: 0.1 * next(seconds)))
    config = tiny_config(data, tmp_path, max_minutes=0.02, max_num_iterations=100000)
    ended = checkpoint(run_training(config))
    assert 0 < ended["step"] < 99999
    # Who goes on without a budget goes on at the rate that the budget had brought about.
    folder = str(config.get_base_dir() / "nerfstudio_models")
    config = tiny_config(data, tmp_path / "on", load_dir=folder, max_num_iterations=2)
    schedule = checkpoint(run_training(config))["schedulers"]["networks"]["lr_lambdas"][0]
    assert ended["schedulers"]["networks"]["lr_lambdas"][0]["budget_progress"] == schedule["budget_progress"] == 1.0


def test_the_command_line(data, tmp_path):
    """The real program, in a process of its own, with nothing said about the device."""
    arguments = [Path(sys.executable).with_name("ns-train"), METHOD, "--data", data]
    arguments += ["--output-dir", tmp_path, "--timestamp", "cli", "--vis", "tensorboard", "--max-num-iterations", 3]
    arguments += ["--pipeline.model.num-levels", 4, "--pipeline.model.conditioning", "concat"]
    arguments += ["nerfblendshape-data", "--test-frames", NUM_TEST]
    done = subprocess.run([str(part) for part in arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    config_path = tmp_path / "clip" / METHOD / "cli" / "config.yml"
    config = yaml.load(config_path.read_text(), Loader=yaml.Loader)
    assert config.pipeline.model.conditioning == "concat"
    assert checkpoint(config_path)["step"] == 2
