"""What a run says of its dataset, from a config that is read and never executed."""

import pytest

from nerfblendshape_ns.avatar.run_config import RunSettings, run_settings


def test_settings_of_a_run(tiny_run):
    run, data, _ = tiny_run
    settings = run_settings(run / "nerfstudio_models" / "step-000000007.ckpt")
    assert settings == RunSettings(data.resolve(), "auto", "tail10", 5, 2)


def test_a_config_is_not_executed(tmp_path):
    marker = tmp_path / "marker"
    (tmp_path / "config.yml").write_text(f'data: !!python/object/apply:os.system ["touch {marker}"]\n')
    settings = run_settings(tmp_path / "step-000000001.ckpt")
    assert not marker.exists() and str(settings.data) == f"touch {marker}"
    for text in ("data: [1, 2]", "[]", "a: {", "pipeline: 3"):
        (tmp_path / "config.yml").write_text(text)
        assert run_settings(tmp_path / "step-000000001.ckpt") == RunSettings()
    for protocol, read in (("last350", "last350"), ("last3", "tail10")):
        text = f"pipeline: {{datamanager: {{dataparser: {{protocol: {protocol}}}}}}}"
        (tmp_path / "config.yml").write_text(text)
        assert run_settings(tmp_path / "step-000000001.ckpt").protocol == read
    assert run_settings(tmp_path / "elsewhere" / "a.avatar") == RunSettings()


@pytest.mark.parametrize("text", ["a: 2001-99-99", "a: !!int abc", "a: !!bool maybe", "[" * 3000])
def test_a_config_of_strange_values_is_taken_for_none(tmp_path, text):
    (tmp_path / "config.yml").write_text(text)
    assert run_settings(tmp_path / "nerfstudio_models" / "step-000000001.ckpt") == RunSettings()
