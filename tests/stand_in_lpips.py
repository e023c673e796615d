"""LPIPS weights of random numbers, with few channels, in files like the real ones."""

from __future__ import annotations

import pickle
from hashlib import sha256
from pathlib import Path
from typing import Any, Dict, Iterable

import numpy as np
import pytest

from nerfblendshape_ns.model_components.metrics.lpips_weights import FILES, FOLDER_VARIABLE, Backbone, WeightsFile

KERNELS: Dict[Backbone, tuple] = {"alex": (11, 5, 3, 3, 3), "vgg": (3,) * 13}
SCOPES: Dict[Backbone, str] = {"alex": "AlexNet_0", "vgg": "VGG16_0"}


def random_tree(backbone: Backbone, channels: int = 4) -> Dict[str, Any]:
    """Arrays nested as in the real files."""
    draw, inputs = np.random.default_rng(0), 3
    convolutions: Dict[str, Any] = {}
    for index, size in enumerate(KERNELS[backbone]):
        spread = (2.0 / (inputs * size**2)) ** 0.5
        kernel = draw.normal(0.0, spread, (size, size, inputs, channels)).astype(np.float32)
        bias = draw.normal(0.0, 0.1, channels).astype(np.float32)
        convolutions[f"Conv_{index}"] = {"kernel": kernel, "bias": bias}
        inputs = channels
    layers = {
        f"NetLinLayer_{layer}": {"Conv_0": {"kernel": draw.random((1, 1, channels, 1)).astype(np.float32)}}
        for layer in range(5)
    }
    return {SCOPES[backbone]: convolutions, **layers}


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, backbones: Iterable[Backbone] = ("alex", "vgg")) -> None:
    """Write the files and let the package take them for the real ones."""
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    for backbone in backbones:
        content = pickle.dumps(random_tree(backbone))
        name = FILES[backbone].name
        (folder / name).write_bytes(content)
        monkeypatch.setitem(FILES, backbone, WeightsFile(name, sha256(content).hexdigest()))
