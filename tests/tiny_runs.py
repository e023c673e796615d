"""Short runs of nerfstudio's own tools on a small synthetic clip."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Dict

import cv2
import numpy as np
import torch
from nerfstudio.configs.method_configs import all_methods
from nerfstudio.scripts import train
from nerfstudio.utils import writer

from nerfblendshape_ns.recipes.overrides import apply_overrides

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


def tiny_config(data: Path, output: Path, method: str = METHOD, **changes: Any) -> Any:
    """The config that ``ns-train`` would have made, cut down to seconds."""
    config = copy.deepcopy(all_methods[method])
    config.data, config.output_dir, config.timestamp = data, output, "run"
    apply_overrides(config, {**(TINY if method == METHOD else TINY_TORSO), **changes}, "test")
    return config


def train_run(config: Any) -> Path:
    """Train in this process and leave nothing of nerfstudio's writers behind; the run's ``config.yml``."""
    try:
        train.main(config)
    finally:
        for state in (writer.EVENT_WRITERS, writer.EVENT_STORAGE, writer.GLOBAL_BUFFER):
            state.clear()
    return config.get_base_dir() / "config.yml"


def checkpoint(config_path: Path) -> Dict[str, Any]:
    (path,) = (config_path.parent / "nerfstudio_models").glob("*.ckpt")
    return torch.load(path, map_location="cpu", weights_only=True)


def video_frames(path: Path) -> np.ndarray:
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        good, frame = capture.read()
        if not good:
            return np.array(frames)
        frames.append(frame)
