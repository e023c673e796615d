"""The coefficients' unit changes nothing: runs with coefficients multiplied by powers of two are bit-equal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from nerfstudio.utils.eval_utils import eval_setup
from tiny_runs import checkpoint, tiny_config

from nerfblendshape_ns.recipes.datasets import write_synthetic
from nerfblendshape_ns.recipes.training import run_training
from nerfblendshape_ns.synthetic.dataset import ClipSettings

pytestmark = pytest.mark.slow

STEPS = 60
RAW = ("expression_source.minimum", "expression_source.maximum", "expression_source.track_expression")
"""What a run keeps in the files' own units."""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "clip"
    write_synthetic(ClipSettings(num_frames=40, width=48, height=48, fps=10), folder)
    return folder


def trained(data: Path, folder: Path, values: np.ndarray, names=None) -> dict:
    """State of a model after :data:`STEPS` steps on ``data`` with other coefficients."""
    saved = checkpoint(run(data, folder, values, names))["pipeline"]
    return {name.removeprefix("_model."): value for name, value in saved.items()}


def run(data: Path, folder: Path, values: np.ndarray, names=None, steps: int = STEPS) -> Path:
    """``config.yml`` of such a run."""
    shutil.copytree(data, folder / "clip")
    np.save(folder / "clip" / "expr.npy", values.astype(np.float32))
    for path in (folder / "clip").glob("expr_m*.npy"):  # Ranges of the coefficients as they were.
        path.unlink()
    if names is not None:
        (folder / "clip" / "expr_names.json").write_text(json.dumps({"basis": "custom", "names": names}))
    options = {
        "max_num_iterations": steps,
        "steps_per_eval_batch": 1000,
        "steps_per_eval_image": 1000,
        "steps_per_eval_all_images": 1000,
        "machine.seed": 3,
        "optimizers.networks.scheduler.max_steps": steps,
        "optimizers.tables.scheduler.max_steps": steps,
        "pipeline.datamanager.dataparser.test_frames": 8,
    }
    return run_training(tiny_config(folder / "clip", folder / "runs", **options))


def assert_same_run(one: dict, other: dict, factors: np.ndarray) -> None:
    assert one.keys() == other.keys()
    assert torch.equal(torch.tensor(factors).float() * other["conditioning.scale"], one["conditioning.scale"])
    for name, value in one.items():
        if not isinstance(value, torch.Tensor) or name == "conditioning.scale":
            continue
        expected = value * torch.tensor(factors).float() if name in RAW else value
        assert torch.equal(expected, other[name]), name


def test_a_common_factor_of_named_coefficients(data, tmp_path):
    values = np.load(data / "expr.npy")
    plain = trained(data, tmp_path / "plain", values)
    for exponent in (-10, 10):
        other = trained(data, tmp_path / str(exponent), values * 2.0**exponent)
        assert_same_run(plain, other, np.full(len(plain["conditioning.scale"]), 2.0**exponent))


def test_a_factor_of_each_coefficient_of_a_signed_unnamed_basis(data, tmp_path):
    random = np.random.default_rng(0)
    values = np.load(data / "expr.npy")
    count = values.shape[1]
    values = (values @ np.linalg.qr(random.normal(size=(count, count)))[0]).astype(np.float32)
    factors = 2.0 ** random.integers(-10, 11, count)
    names = [f"expr_{index:02d}" for index in range(count)]
    plain = trained(data, tmp_path / "plain", values, names)
    assert len(plain["conditioning.scale"]) == count  # None is dropped.
    assert int((plain["expression_source.minimum"] < 0).sum()) > count // 2
    assert_same_run(plain, trained(data, tmp_path / "other", values * factors, names), factors)


def test_factors_that_round_change_the_figures_little(data, tmp_path):
    """Rounding grows like another seed's noise, of which the mean of the whole image and the mask has least."""
    values, figures = np.load(data / "expr.npy"), []
    for factor in (1.0, 0.013, 37.0):
        _, pipeline, _, _ = eval_setup(
            run(data, tmp_path / f"{factor:g}", values * factor, steps=600), test_mode="test"
        )
        metrics = pipeline.get_average_eval_image_metrics()
        figures.append(float(metrics["psnr"] + metrics["psnr_head"]) / 2)
    assert figures[1:] == pytest.approx([figures[0]] * 2, abs=0.4)
