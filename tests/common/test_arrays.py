"""Files of several arrays."""

import contextlib

import numpy as np
import pytest
import torch

from nerfblendshape_ns.common.arrays import load_arrays, save_arrays
from nerfblendshape_ns.common.errors import UserError


def test_arrays_come_back(tmp_path):
    save_arrays(tmp_path / "a.npz", one=np.arange(3), two=np.eye(2))
    loaded = load_arrays(tmp_path / "a.npz")
    assert sorted(loaded) == ["one", "two"] and np.array_equal(loaded["two"], np.eye(2))


DAMAGED = {
    "missing": lambda path: None,
    "text": lambda path: path.write_text("no archive"),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "one array": lambda path: np.save(path.open("wb"), np.eye(2)),
    "objects": lambda path: np.savez(path, one=np.array([{}], dtype=object)),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_files_are_reported_in_one_line(tmp_path, kind):
    path = tmp_path / "a.npz"
    if kind != "missing":
        save_arrays(path, one=np.arange(3))
    DAMAGED[kind](path)
    with pytest.raises(
        UserError,
        match=r"a\.npz (cannot be read|holds a ndarray, not) .+; make it again\.$",
    ):
        load_arrays(path, "make it again")


def test_tensors_of_any_kind_become_arrays(tmp_path):
    inner = {"jaw": torch.nn.Parameter(torch.ones(3)), "exp": torch.ones(2, dtype=torch.bfloat16), "id": 4}
    torch.save({"flame": inner}, tmp_path / "a.frame")
    loaded = load_arrays(tmp_path / "a.frame")["flame"]
    assert np.array_equal(loaded["jaw"], np.ones(3)) and loaded["exp"].dtype == np.float32 and loaded["id"] == 4


def test_a_damaged_file_of_torch_is_reported(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"exp": torch.arange(6.0)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 8]) + whole[position + 1 :])
        with contextlib.suppress(UserError):
            load_arrays(path)
