"""nerfstudio's checkpoints load with ``weights_only=True`` once the models are imported."""

import numpy as np
import torch

import nerfblendshape_ns.models  # noqa: F401


def test_numpy_scalars_of_a_scheduler_load(tmp_path):
    torch.save({"_last_lr": [np.float64(1e-3), np.float32(2.0)], "steps": np.int64(3)}, tmp_path / "state.ckpt")
    state = torch.load(tmp_path / "state.ckpt", weights_only=True)
    assert state["_last_lr"] == [1e-3, 2.0]
    assert state["steps"] == 3


def test_reading_an_expression_file_leaves_them_allowed(tmp_path):
    from nerfblendshape_ns.common.arrays import load_arrays

    torch.save({"exp": np.zeros((2, 3), np.float32)}, tmp_path / "track.pt")
    assert load_arrays(tmp_path / "track.pt")["exp"].shape == (2, 3)
    test_numpy_scalars_of_a_scheduler_load(tmp_path)
