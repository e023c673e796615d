"""Run by its path: becomes another command, which the kernel ends with the process that started it (on Linux).

    python tied.py PARENT COMMAND...

Without this the process of a clip would outlive a worker that is killed, beside the one that another worker starts.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(sys.argv[1]):
            sys.exit("the process that asked for this command has ended")
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell is wanted.
