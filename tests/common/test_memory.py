import subprocess
import sys

import pytest

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
