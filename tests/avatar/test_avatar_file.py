"""The avatar file: what goes in comes out, and nothing else is let in."""

import json
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict

import numpy as np
import pytest

from nerfblendshape_ns.avatar.avatar_file import (
    HEADER,
    AvatarFile,
    Provenance,
    is_avatar_file,
    read_avatar_file,
    read_avatar_header,
    write_avatar_file,
)
from nerfblendshape_ns.common.errors import UserError


def content() -> AvatarFile:
    random = np.random.default_rng(0)
    tensors = {
        "field.mean": random.normal(size=(5, 4)).astype(np.float32),
        "occupied": random.uniform(size=(2, 3, 3)) > 0.5,
        "step": np.array(12, np.int64),
        "none": np.zeros((0, 4), np.float32),
    }
    description = {"kind": "head", "scale": 0.1 + 0.2, "names": ["jawOpen", "Brauen hoch – ü"], "mesh": None}
    return AvatarFile(description, tensors, Provenance(person="Ada", consent="paper of 3 May"))


@pytest.fixture
def path(tmp_path) -> Path:
    write_avatar_file(tmp_path / "ada.avatar", content())
    return tmp_path / "ada.avatar"


def test_round_trip_is_exact(path):
    again, before = read_avatar_file(path), content()
    assert again.description == before.description and again.provenance == before.provenance
    assert again.tensors.keys() == before.tensors.keys()
    for name, array in before.tensors.items():
        assert again.tensors[name].dtype == array.dtype and again.tensors[name].shape == array.shape
        assert again.tensors[name].tobytes() == array.tobytes()


def test_the_same_avatar_gives_the_same_file(path, tmp_path):
    digest = write_avatar_file(tmp_path / "again.avatar", content())
    assert (tmp_path / "again.avatar").read_bytes() == path.read_bytes()
    assert read_avatar_header(path).digest == digest and len(digest) == 64
    other = content()
    other.tensors["field.mean"][0, 0] += 1e-6
    assert write_avatar_file(tmp_path / "other.avatar", other) != digest


def test_the_header_is_read_alone(path):
    header = read_avatar_header(path)
    assert header.provenance.person == "Ada" and header.tensors == {} and header.description["kind"] == "head"


def test_numpy_opens_the_tensors_without_pickle(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist()[0] == HEADER
        with archive.open("tensors/field.mean.npy") as member:
            np.testing.assert_array_equal(np.load(member, allow_pickle=False), content().tensors["field.mean"])


def test_python_objects_cannot_be_written(tmp_path):
    broken = content()
    broken.tensors["object"] = np.array([{}], object)
    with pytest.raises(UserError, match="tensor object is of type object"):
        write_avatar_file(tmp_path / "a.avatar", broken)
    assert not list(tmp_path.iterdir())


def test_nothing_half_written_is_left(tmp_path):
    broken = content()
    broken.description["scale"] = float("nan")
    with pytest.raises(ValueError):
        write_avatar_file(tmp_path / "a.avatar", broken)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.99])
def test_a_file_cut_short_is_refused(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match=r"ada.avatar is (cut short or damaged \(\d+ bytes\)|not an avatar file)"):
        read_avatar_file(path)


def test_foreign_and_missing_files_are_refused(tmp_path):
    missing = tmp_path / "none.avatar"
    with pytest.raises(UserError, match="none.avatar is not a file; name an avatar file"):
        read_avatar_file(missing)
    text, archive, arrays = tmp_path / "a.txt", tmp_path / "a.zip", tmp_path / "a.npz"
    text.write_text("hello")
    with zipfile.ZipFile(archive, "w") as foreign:
        foreign.writestr("readme", "hello")
    np.savez(arrays, a=np.zeros(3))
    for foreign_path in (text, archive, arrays):
        assert not is_avatar_file(foreign_path)
        with pytest.raises(UserError, match="is not an avatar file; name one that nbs-export wrote"):
            read_avatar_file(foreign_path)
    assert not is_avatar_file(missing)


def rewrite(path: Path, change: Callable[[Dict[str, bytes]], None]) -> None:
    """Change members of the archive behind the reader's back."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)


def set_header(path: Path, **values: Any) -> None:
    def change(members: Dict[str, bytes]) -> None:
        members[HEADER] = json.dumps({**json.loads(members[HEADER]), **values}).encode()

    rewrite(path, change)


def test_changed_bytes_are_found(path):
    def change(members: Dict[str, bytes]) -> None:
        data = bytearray(members["tensors/field.mean.npy"])
        data[-1] ^= 1
        members["tensors/field.mean.npy"] = bytes(data)

    rewrite(path, change)
    with pytest.raises(UserError, match="tensor field.mean does not match its checksum"):
        read_avatar_file(path)
    read_avatar_header(path)  # The header itself is whole.


def test_a_changed_header_is_found(path):
    set_header(path, provenance={"person": "Eve"})
    for read in (read_avatar_header, read_avatar_file):
        with pytest.raises(UserError, match="avatar.json does not match its checksum"):
            read(path)


def test_newer_files_ask_for_an_upgrade(path):
    set_header(path, version=9)
    with pytest.raises(UserError, match="of version 9, this nerfblendshape_ns reads 1; upgrade the package"):
        read_avatar_file(path)


def test_other_formats_in_the_same_container_are_refused(path):
    set_header(path, format="something")
    with pytest.raises(UserError, match="is not an avatar file"):
        read_avatar_file(path)


def test_a_missing_tensor_and_a_pickled_one_are_refused(path):
    original = path.read_bytes()
    rewrite(path, lambda members: members.pop("tensors/step.npy") and None)
    with pytest.raises(UserError, match="tensor step cannot be read"):
        read_avatar_file(path)
    path.write_bytes(original)

    def pickled(members: Dict[str, bytes]) -> None:
        import io

        buffer = io.BytesIO()
        np.save(buffer, np.array([{"a": 1}], object), allow_pickle=True)
        members["tensors/step.npy"] = buffer.getvalue()

    rewrite(path, pickled)
    with pytest.raises(UserError, match="tensor step cannot be read"):
        read_avatar_file(path)


def test_a_member_larger_than_declared_is_not_unpacked(path):
    def change(members: Dict[str, bytes]) -> None:
        members["tensors/step.npy"] += b"\0" * 10_000

    rewrite(path, change)
    with pytest.raises(UserError, match="tensor step cannot be read"):
        read_avatar_file(path)


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_byte_anywhere_is_refused_or_harmless(path, seed):
    data = bytearray(path.read_bytes())
    random = np.random.default_rng(seed)
    data[random.integers(len(data))] ^= 1 << int(random.integers(8))
    path.write_bytes(bytes(data))
    try:
        again = read_avatar_file(path)
    except UserError:
        return
    for name, array in content().tensors.items():
        assert again.tensors[name].tobytes() == array.tobytes()
    assert again.provenance == content().provenance
