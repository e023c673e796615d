"""nerfstudio's checkpoints load with ``weights_only=True`` once the package is imported."""

import numpy as np
import torch

import nerfblendshape_ns  # noqa: F401


def test_numpy_scalars_of_a_scheduler_load(tmp_path):
    torch.save({"_last_lr": [np.float64(1e-3), np.float32(2.0)], "steps": np.int64(3)}, tmp_path / "state.ckpt")
    state = torch.load(tmp_path / "state.ckpt", weights_only=True)
    assert state["_last_lr"] == [1e-3, 2.0]
    assert state["steps"] == 3
