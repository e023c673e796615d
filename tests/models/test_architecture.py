"""The options of the models: how many there are, and what a checkpoint may say of them."""

from dataclasses import fields
from typing import Any

import pytest
from nerfstudio.models.base_model import ModelConfig

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.models.architecture import (
    HeadArchitecture,
    TorsoArchitecture,
    architecture_of,
    check_options,
    read_architecture,
)
from nerfblendshape_ns.models.head import HeadModelConfig
from nerfblendshape_ns.models.torso import TorsoModelConfig


@pytest.mark.parametrize(("config", "most"), [(HeadModelConfig, 34), (TorsoModelConfig, 20)])
def test_there_are_few_options(config, most):
    own = {field.name for field in fields(config)} - {field.name for field in fields(ModelConfig)}
    assert len(own) <= most, sorted(own)


@pytest.mark.parametrize(
    ("config", "options"), [(HeadModelConfig, HeadArchitecture), (TorsoModelConfig, TorsoArchitecture)]
)
def test_what_is_saved_makes_the_same_config(config, options):
    changed = config(num_levels=3, max_resolution=99, frame_code_dim=5)
    again = config(**read_architecture(architecture_of(changed, options), options))
    assert again == changed
    assert "head_run" not in architecture_of(changed, options) and "background" not in architecture_of(changed, options)


WRONG = [
    ("num_levels", True),
    ("num_levels", 3.0),
    ("num_levels", -1),
    ("max_resolution", 2**16),
    ("max_resolution", "64"),
    ("hidden_dim", 60000),
    ("head_pose_scale", float("nan")),
    ("head_pose_scale", float("inf")),
    ("head_pose_scale", False),
    ("face_parts", 1),
    ("conditioning", "blended"),
    ("conditioning", ["blend"]),
    ("implementation", None),
    ("num_levels", 0),
    ("base_resolution", 0),
    ("hidden_dim", 1),
    ("density_layers", 0),
    ("color_layers", 0),
    ("occupancy_resolution", 0),  # Rays through a grid of no cells end the process by a signal.
    ("samples_per_box", 0),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_values_that_an_option_cannot_have_are_refused(name: str, value: Any):
    saved = architecture_of(HeadModelConfig(), HeadArchitecture) | {name: value}
    with pytest.raises(UserError, match=f"names the option {name} = .*, which it cannot have; train or export again"):
        read_architecture(saved, HeadArchitecture)


def test_a_missing_option_is_refused_and_a_foreign_one_left_out():
    saved = architecture_of(TorsoModelConfig(), TorsoArchitecture)
    assert read_architecture(saved | {"_target": "os.abort"}, TorsoArchitecture) == saved
    del saved["deformation"]
    with pytest.raises(UserError, match="its description lacks the option deformation"):
        read_architecture(saved, TorsoArchitecture)


def test_options_that_no_checkpoint_could_be_read_with_are_refused_before_training():
    with pytest.raises(UserError, match=r"^--pipeline.model.max-resolution cannot be 70000; give a value from 0 to"):
        check_options(HeadModelConfig(max_resolution=70000), HeadArchitecture)
    with pytest.raises(UserError, match=r"^--pipeline.model.samples-per-box cannot be 0; give a value from 1 to below"):
        check_options(HeadModelConfig(samples_per_box=0), HeadArchitecture)


@pytest.mark.parametrize("wrong", [{"features_per_level": 3}, {"base_resolution": 16, "max_resolution": 8}])
def test_a_hash_grid_that_cannot_be_is_refused_in_a_sentence(wrong):
    with pytest.raises(UserError, match=r"^the options of the model make no hash grid: A hash grid .*\. Change"):
        HeadModelConfig(**wrong).grid(64)
