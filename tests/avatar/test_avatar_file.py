"""The avatar file: what goes in comes out, and nothing else is let in."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from nerfblendshape_ns.avatar.avatar_file import ENTRY, AvatarFile, Provenance, read_avatar_file, write_avatar_file
from nerfblendshape_ns.common.errors import UserError


def content() -> AvatarFile:
    random = torch.Generator().manual_seed(0)
    tensors = {
        "field.mean": torch.randn(5, 4, generator=random),
        "transposed": torch.randn(2, 3, generator=random).T,
        "occupied": torch.rand(2, 3, 3, generator=random) > 0.5,
        "step": torch.tensor(12),
        "none": torch.zeros(0, 4),
    }
    tensors["shared"] = tensors["field.mean"][1:]
    description = {"kind": "head", "scale": 0.1 + 0.2, "names": ["jawOpen", "Brauen hoch – ü"], "mesh": None}
    return AvatarFile(description, tensors, Provenance(person="Ada", consent="paper of 3 May"))


@pytest.fixture
def path(tmp_path) -> Path:
    write_avatar_file(tmp_path / "ada.avatar", content())
    return tmp_path / "ada.avatar"


def assert_same(again: AvatarFile, before: AvatarFile) -> None:
    assert again.description == before.description and again.provenance == before.provenance
    assert again.tensors.keys() == before.tensors.keys()
    for name, tensor in before.tensors.items():
        assert again.tensors[name].dtype == tensor.dtype and torch.equal(again.tensors[name], tensor), name


def test_round_trip_is_exact(path):
    assert_same(read_avatar_file(path), content())


def test_the_same_avatar_gives_the_same_file(path, tmp_path):
    digest = write_avatar_file(tmp_path / "again.avatar", content())
    assert (tmp_path / "again.avatar").read_bytes() == path.read_bytes()
    assert read_avatar_file(path).digest == digest and len(digest) == 64
    other = content()
    other.tensors["field.mean"][0, 0] += 1e-6
    assert write_avatar_file(tmp_path / "other.avatar", other) != digest


def test_any_program_that_knows_safetensors_reads_the_tensors(path):
    assert torch.equal(load_file(path)["field.mean"], content().tensors["field.mean"])
    with safe_open(path, framework="np") as file:
        assert json.loads(file.metadata()[ENTRY])["provenance"]["person"] == "Ada"


def test_tensors_of_other_types_cannot_be_written(tmp_path):
    broken = content()
    broken.tensors["wave"] = torch.zeros(2, dtype=torch.complex64)
    with pytest.raises(UserError, match="tensor wave is of type torch.complex64"):
        write_avatar_file(tmp_path / "a.avatar", broken)
    assert not list(tmp_path.iterdir())


def test_nothing_half_written_is_left(tmp_path):
    broken = content()
    broken.description["scale"] = float("nan")
    with pytest.raises(ValueError):
        write_avatar_file(tmp_path / "a.avatar", broken)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.3, 0.6, 0.99])
def test_a_truncated_file_is_refused(path, fraction):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(UserError, match=r"ada.avatar is no avatar file, or is truncated or damaged \(.+\); copy it"):
        read_avatar_file(path)


def test_foreign_and_missing_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="none.avatar is not a file; name an avatar file"):
        read_avatar_file(tmp_path / "none.avatar")
    text, arrays, other = tmp_path / "a.txt", tmp_path / "a.npz", tmp_path / "a.safetensors"
    text.write_text("hello, this is no avatar")
    np.savez(arrays, a=np.zeros(3))
    save_file({"a": torch.zeros(3)}, other, {"format": "pt"})
    for foreign in (text, arrays, other):
        with pytest.raises(UserError, match=f"{foreign.name} is no avatar file"):
            read_avatar_file(foreign)


def rewrite(path: Path, tensors: Any = None, **values: Any) -> None:
    """Change the file behind the reader's back."""
    with safe_open(path, framework="pt") as file:
        document = json.loads(file.metadata()[ENTRY])
    save_file({**load_file(path), **(tensors or {})}, path, {ENTRY: json.dumps({**document, **values})})


def test_changes_are_found(path):
    original = path.read_bytes()
    mean = content().tensors["field.mean"]
    mean[2, 2] += 1e-6
    for tensors, values in (
        ({"field.mean": mean}, {}),
        ({"step": torch.tensor(12, dtype=torch.int32)}, {}),
        ({"none": torch.zeros(4, 0)}, {}),
        ({"more": torch.zeros(1)}, {}),
        ({}, {"provenance": {"person": "Eve"}}),
        ({}, {"description": {"kind": "torso"}}),
    ):
        path.write_bytes(original)
        rewrite(path)
        assert_same(read_avatar_file(path), content())
        rewrite(path, tensors, **values)
        with pytest.raises(UserError, match="ada.avatar .* damaged .it does not match its checksum.; copy it again"):
            read_avatar_file(path)


def test_other_versions_are_refused(path):
    rewrite(path, version=9)
    with pytest.raises(UserError, match="of version 9, this nerfblendshape_ns reads 1; use the version that wrote it"):
        read_avatar_file(path)


@pytest.mark.parametrize("entry", ["", "[]", "3", "{}", '{"version": 1}', "[" * 100_000, '{"version": 1, "digest": 3}'])
def test_malformed_metadata_give_one_sentence(path, entry):
    save_file(load_file(path), path, {ENTRY: entry})
    with pytest.raises(UserError, match="ada.avatar is no avatar file, or is truncated or damaged"):
        read_avatar_file(path)


@pytest.mark.parametrize("shape", [[2**62, 4], [10**9], [-1], [5, 5]])
def test_shapes_that_do_not_fit_the_file_are_refused(path, shape):
    """Nothing is allocated for a tensor that the file does not hold."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["field.mean"]["shape"] = shape
    changed = json.dumps(header).encode()
    path.write_bytes(len(changed).to_bytes(8, "little") + changed + data[8 + length :])
    with pytest.raises(UserError, match="truncated or damaged"):
        read_avatar_file(path)


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_anywhere_is_refused_or_harmless(path, seed):
    data = bytearray(path.read_bytes())
    random = np.random.default_rng(seed)
    data[random.integers(len(data))] ^= 1 << int(random.integers(8))
    path.write_bytes(bytes(data))
    try:
        again = read_avatar_file(path)
    except UserError:
        return
    assert_same(again, content())
