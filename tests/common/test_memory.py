"""Memory of freed arrays, and arrays that lie in files."""

import errno
import os
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from nerfblendshape_ns.common import memory
from nerfblendshape_ns.common.errors import UserError

CODE = """
import resource, sys
import numpy as np
from nerfblendshape_ns.common.memory import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    first, second, third = np.ones(10**5), np.ones(10**5), np.ones(10**5)
    del first, second, third
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_memory_of_freed_arrays_is_used_again():
    def faults(*words):
        return int(subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, check=True).stdout)

    # Without it about 120,000.
    assert faults("keep") < 2000


def test_an_array_in_a_temporary_file_lives_as_long_as_it_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    array = memory.uninitialised((3, 5), np.float32, in_memory=False)
    array[:] = np.arange(15).reshape(3, 5)
    part = array[1:]
    del array
    np.testing.assert_array_equal(part, np.arange(5, 15).reshape(2, 5))
    assert not list(tmp_path.iterdir()), "it has no name that could be left behind"
    assert type(memory.uninitialised((2,), np.uint8, in_memory=True)) is np.ndarray


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve room on a disk")
def test_no_room_for_a_temporary_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(UserError, match=r"and memory have no room for 1125899\.9 GB \(.+\); free as much"):
        memory.uninitialised((2**50,), np.uint8, in_memory=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve room on a disk")
def test_memory_is_used_where_the_disk_has_no_room(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert type(memory.uninitialised((3,), np.uint8, in_memory=False)) is np.ndarray
