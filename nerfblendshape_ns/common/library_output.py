"""Filters what libraries print about themselves: exact messages that no user can act on.

Warnings are filtered from the import of this package on. Its own tools import it first; nerfstudio's do when they look
for plugins, by when ``torch.jit.script`` has warned once. A filter of the user's, such as ``python -W error``, has
precedence.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Sequence, Tuple, Type

LIBRARY_WARNINGS: Tuple[Tuple[str, Type[Warning], str], ...] = (
    # nerfstudio 1.1.5 uses what newer torch releases deprecate.
    (
        r"Using a non-tuple sequence for multidimensional indexing is deprecated",
        UserWarning,
        r"nerfstudio\.cameras\.cameras",
    ),
    # ns-render interpolate and spiral.
    (
        r"To copy construct from a tensor, it is recommended to use sourceTensor\.detach\(\)\.clone\(\)",
        UserWarning,
        r"nerfstudio\.cameras\.camera_utils",
    ),
    (
        r"`torch\.cuda\.amp\.GradScaler\(args\.\.\.\)` is deprecated\.",
        FutureWarning,
        r"nerfstudio\.engine\.trainer",
    ),
    (
        r"`torch\.cuda\.amp\.custom_(fwd|bwd)\(args\.\.\.\)` is deprecated\.",
        FutureWarning,
        r"nerfstudio\.field_components\.activations",
    ),
    # nerfstudio writes losses to TensorBoard as they are.
    (
        r"Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior\.",
        UserWarning,
        r"nerfstudio\.utils\.writer",
    ),
    # nerfstudio and nerfacc call it; the warning names torch's module as its place.
    (
        r"`torch\.jit\.script` is deprecated\. Please switch to `torch\.compile` or `torch\.export`\.$",
        FutureWarning,
        r"torch\.jit\._script",
    ),
)
"""Start of the message, category, and the module that the warning names as its place (regular expressions)."""

LITERT_LINES: Tuple[bytes, ...] = (rb"INFO: Created TensorFlow Lite XNNPACK delegate for CPU\.\n",)
"""What LiteRT's native code writes to stderr at its start (regular expressions); no setting turns it off."""

WARP_WITHOUT_DRIVER = (
    rb"Warp CUDA warning: Could not find or load the NVIDIA CUDA driver\. GPU execution will not be available\.\n"
)
"""What Warp's native code writes to stderr without libcuda, at every log level (a regular expression)."""

WARP_ON_OLD_PYTHON = rb"Warp FutureWarning: Support for Python 3\.10 is deprecated .*\n"
"""What Warp writes on Python 3.10, for which pip chooses a release of Warp that supports it (a regular expression)."""

PCI_DEVICES = Path("/sys/bus/pci/devices")
WSL_GPU = Path("/dev/dxg")

# Two threads must not redirect stderr at the same time.
_stderr_lock = threading.RLock()


def ignore_library_warnings() -> None:
    """Filter :data:`LIBRARY_WARNINGS`; filters that exist have precedence."""
    for message, category, module in LIBRARY_WARNINGS:
        warnings.filterwarnings("ignore", message, category, rf"{module}$", append=True)


@contextmanager
def without_lines(lines: Sequence[bytes]) -> Iterator[None]:
    """Drop lines that native code writes to stderr inside the context; everything else is written when it ends.

    Args:
        lines: regular expressions of whole lines, line end included.
    """
    with _stderr_lock, tempfile.TemporaryFile() as written:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            written.seek(0)
            rest = written.read()
            for line in lines:
                rest = re.sub(line, b"", rest)
            with open(2, "wb", closefd=False) as stream:
                stream.write(rest)


def nvidia_gpu_possible() -> bool:
    """Whether this machine has a GPU of NVIDIA's, with or without a driver; True where that cannot be determined."""
    if not sys.platform.startswith("linux") or not PCI_DEVICES.is_dir() or WSL_GPU.exists():
        return True
    for device in PCI_DEVICES.glob("*"):
        vendor, kind = ((device / name).read_text(encoding="ascii").strip() for name in ("vendor", "class"))
        if vendor == "0x10de" and kind.startswith("0x03"):  # A display controller.
            return True
    return False
