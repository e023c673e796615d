"""What a run says of its dataset, from a config that is read and never executed."""

import json

import numpy as np
import pytest

from nerfblendshape_ns.avatar.run_config import RunSettings, run_settings, run_test_frames


def test_settings_of_a_run(tiny_run):
    run, data, _ = tiny_run
    settings = run_settings(run / "nerfstudio_models" / "step-000000007.ckpt")
    assert settings == RunSettings(data.resolve(), "auto")


def test_a_config_is_not_executed(tmp_path):
    marker = tmp_path / "marker"
    (tmp_path / "config.yml").write_text(f'data: !!python/object/apply:os.system ["touch {marker}"]\n')
    settings = run_settings(tmp_path / "step-000000001.ckpt")
    assert not marker.exists() and str(settings.data) == f"touch {marker}"
    for text in ("data: [1, 2]", "[]", "a: {", "pipeline: 3"):
        (tmp_path / "config.yml").write_text(text)
        assert run_settings(tmp_path / "step-000000001.ckpt") == RunSettings()
    assert run_settings(tmp_path / "elsewhere" / "a.avatar") == RunSettings()


@pytest.mark.parametrize("text", ["a: 2001-99-99", "a: !!int abc", "a: !!bool maybe", "[" * 3000])
def test_a_config_of_strange_values_is_taken_for_none(tmp_path, text):
    (tmp_path / "config.yml").write_text(text)
    assert run_settings(tmp_path / "nerfstudio_models" / "step-000000001.ckpt") == RunSettings()


def test_test_frames_are_those_of_the_run_s_split(tmp_path):
    """Frame numbers have a gap between 3 and 7, as where data preparation dropped frames."""
    checkpoint, train = tmp_path / "nerfstudio_models" / "step-000000001.ckpt", np.array([1, 2, 3])
    assert run_test_frames(checkpoint, 6, train).tolist() == [0, 4, 5], "nothing tells validation from test frames"
    split = {"protocol": "radnerf", "train": [2, 3, 7], "val": [8], "test": [1, 9]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    assert run_test_frames(checkpoint, 6, train).tolist() == [0, 5]
    assert run_test_frames(checkpoint, 7, train).tolist() == [0, 4, 5, 6], "of another clip"
    assert run_test_frames(checkpoint, 6, np.array([1, 2])).tolist() == [0, 3, 4, 5], "of another run"
    for record in (
        [],
        {},
        split | {"val": "x"},
        split | {"test": None},
        split | {"train": [[2], [3, 7]]},
        split | {"val": [1e300]},
    ):
        (tmp_path / "split.json").write_text(json.dumps(record))
        assert run_test_frames(checkpoint, 6, train).tolist() == [0, 4, 5], record
