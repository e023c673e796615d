"""Short runs of nerfstudio's own tools on a small synthetic clip."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Dict

import cv2
import numpy as np
import torch
from nerfstudio.configs.method_configs import all_methods
from saved_run import save_run

from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset
from nerfblendshape_ns.evaluation.measure import Instruments, measure_frames
from nerfblendshape_ns.evaluation.summary import summarise
from nerfblendshape_ns.evaluation.trained_run import open_run
from nerfblendshape_ns.models.rebuild import load_head
from nerfblendshape_ns.recipes.values import apply_overrides

SIZE, NUM_FRAMES, NUM_TEST, STEPS = 64, 24, 3, 80
METHOD = "nerfblendshape-head-small"
TINY = {
    "pipeline.datamanager.train_num_rays_per_batch": 256,
    "pipeline.datamanager.dataparser.test_frames": NUM_TEST,
    "pipeline.model.num_levels": 6,
    "pipeline.model.log2_table_size": 10,
    "pipeline.model.occupancy_resolution": 32,
    "pipeline.model.occupancy_warmup": 16,
    "pipeline.model.occupancy_interval": 16,
    "max_num_iterations": STEPS,
    "steps_per_eval_batch": 25,
    "steps_per_eval_image": 40,
    "steps_per_eval_all_images": 60,
    "machine.device_type": "cpu",
    "viewer.quit_on_train_completion": True,
    "viewer.websocket_host": "127.0.0.1",
    "vis": "tensorboard",
}


TORSO_METHOD = "nerfblendshape-torso-small"
TINY_TORSO = {name: value for name, value in TINY.items() if "pipeline.model" not in name}


def config_with(settings: Dict[str, Any], data: Path, output: Path, method: str = METHOD) -> Any:
    """The config that ``ns-train`` would have made."""
    config = copy.deepcopy(all_methods[method])
    config.data, config.output_dir, config.timestamp = data, output, "run"
    apply_overrides(config, settings, "test")
    return config


def tiny_config(data: Path, output: Path, method: str = METHOD, **changes: Any) -> Any:
    """The same, cut down to seconds."""
    return config_with({**(TINY if method == METHOD else TINY_TORSO), **changes}, data, output, method)


def untrained_run(config: Any) -> Path:
    """A run as training leaves it, but for the training; the run's folder."""
    config.pipeline.datamanager.data = config.data
    config.save_config()
    config.pipeline.datamanager.dataparser.data = config.data
    outputs = config.pipeline.datamanager.dataparser.setup().get_dataparser_outputs("train")
    model = config.pipeline.model.setup(
        scene_box=outputs.scene_box,
        num_train_data=len(outputs.image_filenames),
        metadata=outputs.metadata,
        device="cpu",
        grad_scaler=None,
    )
    if config.method_name == TORSO_METHOD:
        model.attach_head(load_head(config.pipeline.model.head_run))
    else:
        dataset = NerfBlendshapeDataset(outputs)
        dataset.load()
        model.init_from_visual_hull(dataset)
    folder = config.get_base_dir()
    return save_run(folder, model, step=9, config=(folder / "config.yml").read_text())


def checkpoint(config_path: Path) -> Dict[str, Any]:
    (path,) = (config_path.parent / "nerfstudio_models").glob("*.ckpt")
    return torch.load(path, map_location="cpu", weights_only=True)


def measured(run: Path, split: str = "test") -> Dict[str, Dict[str, float]]:
    """Means over all frames of a split as ``nbs-eval`` has them, by row and metric; no networks, no tracker."""
    opened = open_run(run)
    frames = list(measure_frames(opened, opened.frames(split), split, Instruments()))
    rows = summarise(frames)["rows"]
    return {row: {name: figure["mean"] for name, figure in figures.items()} for row, figures in rows.items()}


def video_frames(path: Path) -> np.ndarray:
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        good, frame = capture.read()
        if not good:
            return np.array(frames)
        frames.append(frame)
