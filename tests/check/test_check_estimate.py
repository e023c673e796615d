"""The estimate: arithmetic by hand, and one real trial."""

import copy
from typing import Any, cast

import pytest
import torch

from nerfblendshape_ns.check.estimate import (
    CACHE_BYTES,
    Estimate,
    estimate_methods,
    in_words,
    is_head,
    methods,
    working_bytes,
)
from nerfblendshape_ns.check.trial import Trial, part_of, run_trial
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParser, NerfBlendshapeDataParserConfig
from nerfblendshape_ns.method_configs import nerfblendshape_head_small

TRIAL = Trial(
    fixed_seconds=0.01,
    ray_seconds=5e-5,
    table_bytes=40_000_000,
    ray_bytes=70_000,
    fixed_bytes=1_000_000,
    core_fraction=1.0,
)


def estimate(**change) -> Estimate:
    values = {
        "method": "small",
        "width": 128,
        "height": 128,
        "steps": 14_000,
        "step_seconds": 0.03,
        "image_bytes": 200 * 128 * 128 * CACHE_BYTES,
        "state_bytes": 40_000_000,
        "working_bytes": 300_000_000,
        "process_bytes": 1_200_000_000,
        "device": "cpu",
    }
    return Estimate(**{**values, **change})


def test_arithmetic():
    assert TRIAL.step_seconds(512) == pytest.approx(0.01 + 0.0256)
    # A step keeps 1 MB + 512 rays of 70 kB, twice; a rendered chunk a quarter of 16,384 rays.
    assert working_bytes(TRIAL, 512, 128) == 2 * (1_000_000 + 512 * 70_000)
    assert working_bytes(TRIAL, 512, 16_384) == 1_000_000 + 16_384 * 70_000 // 4
    assert estimate().hours == pytest.approx(14_000 * 0.03 / 3600)
    assert estimate().memory_bytes == 1_200_000_000 + 16_384_000 + 340_000_000
    assert estimate(device="cuda").memory_bytes == 340_000_000
    # Twenty minutes of 512²: what is beyond 4 GiB of the images lies in a temporary file.
    long = estimate(image_bytes=36_000 * 512**2 * CACHE_BYTES)
    assert long.memory_bytes == 1_200_000_000 + 2**32 + 340_000_000


def test_words():
    assert in_words(estimate()) == "128x128, 14,000 steps of about 30 ms: 7 minutes; 1.6 GB"
    busy = in_words(estimate(step_seconds=0.09, core_fraction=0.5))
    assert "21 minutes (perhaps 10 minutes on the idle machine)" in busy
    assert in_words(estimate(step_seconds=7.0)).startswith("128x128, 14,000 steps of about 7000 ms: 1.1 days")
    assert in_words(estimate(step_seconds=7.0)).endswith("meant for a GPU")
    assert in_words(estimate(device="cuda")).endswith("0.3 GB on the GPU")


def test_the_methods_that_are_estimated():
    heads = [method.method_name for method in methods() if is_head(method)]
    others = [method.method_name for method in methods() if not is_head(method)]
    assert heads == [f"nerfblendshape-head{size}" for size in ("-small", "-medium", "")]
    assert others == [f"nerfblendshape-torso{size}" for size in ("-small", "-medium", "")]


def outputs_of(root, max_size=48):
    parser = NerfBlendshapeDataParser(NerfBlendshapeDataParserConfig(data=root, max_size=max_size))
    return parser.get_dataparser_outputs(split="train")


def test_part_of_a_split(own_clip):
    root, _ = own_clip(30)
    whole = outputs_of(root)
    part = part_of(whole, torch.tensor([0, 7, 20]))
    assert part.image_filenames == [whole.image_filenames[index] for index in (0, 7, 20)]
    assert part.metadata["img_ids"] == [0, 7, 20] and len(part.cameras) == 3
    torch.testing.assert_close(part.cameras.camera_to_worlds, whole.cameras.camera_to_worlds[[0, 7, 20]])
    torch.testing.assert_close(part.metadata["regions"]["face"], whole.metadata["regions"]["face"][[0, 7, 20]])
    assert len(whole.metadata["img_ids"]) == len(whole.image_filenames)  # The original is left alone.


def test_a_real_trial(own_clip):
    root, _ = own_clip(30)
    method = copy.deepcopy(cast(Any, nerfblendshape_head_small.config))
    model = method.pipeline.model
    model.num_levels, model.log2_table_size, model.occupancy_resolution, model.samples_per_box = 2, 8, 16, 16
    method.pipeline.datamanager.train_num_rays_per_batch = 64
    trial = run_trial(method, outputs_of(root), "cpu")
    assert trial.step_seconds(64) > 0 and trial.ray_seconds >= 0 and trial.fixed_seconds >= 0
    assert 0 < trial.core_fraction <= 1
    # Four moving coefficients: tables of two levels of at most 256 rows and 4 features, Adam's moments, the networks.
    assert 10_000 < trial.table_bytes < 5_000_000 and trial.ray_bytes > 0


@pytest.mark.slow
def test_all_methods_on_a_tiny_clip(own_clip):
    root, _ = own_clip(30)
    section = estimate_methods(NerfBlendshapeDataParserConfig(data=root))
    assert not [finding for finding in section.findings if finding.severity == 2]
    tried = {entry["method"]: entry for entry in section.figures["methods"]}
    small, large = tried["nerfblendshape-head-small"], tried["nerfblendshape-head"]
    assert 0.5 < small["memory_gb"] < large["memory_gb"] and 0 < small["hours"] < large["hours"]
    assert small["parts_gb"]["images"] == pytest.approx(27 * 96 * 96 * 5 / 1e9, abs=5e-4)
    untried = [entry["method"] for entry in section.figures["not_tried"]]
    assert untried == [f"nerfblendshape-torso{size}" for size in ("-small", "-medium", "")]
