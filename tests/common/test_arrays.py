"""Files of several arrays."""

import numpy as np
import pytest

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
