"""The data of a page: JSON and arrays in one compressed block of text.

The block is the base64 of a gzip stream (whose checksum finds damage) of a little-endian uint32, the number of bytes of
the JSON; the JSON, padded with spaces to a multiple of eight bytes; the arrays, each so padded. The JSON is
``{"content": …, "arrays": {NAME: {"type": …, "shape": […], "offset": …}}}``, offsets from the first array on.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
from typing import Any, Mapping

import numpy as np

TYPES = ("uint8", "int8", "float16", "float32")
"""Types of arrays."""
ALIGNMENT = 8


def pack(content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """Write the block.

    Args:
        content: plain data; no number may be infinite or NaN.
        arrays: of :data:`TYPES`.
    """
    table, data, offset = {}, [], 0
    for name, array in arrays.items():
        if array.dtype.name not in TYPES:
            raise ValueError(f"The array {name} is of type {array.dtype}, which a page cannot hold.")
        raw = _padded(np.ascontiguousarray(array).tobytes(), b"\0")
        table[name] = {"type": array.dtype.name, "shape": list(array.shape), "offset": offset}
        data.append(raw)
        offset += len(raw)
    text = json.dumps({"content": content, "arrays": table}, allow_nan=False, separators=(",", ":")).encode()
    head = _padded(struct.pack("<I", len(text)) + text, b" ")
    return base64.b64encode(gzip.compress(head + b"".join(data), 6, mtime=0)).decode()


def _padded(data: bytes, filler: bytes) -> bytes:
    return data + filler * (-len(data) % ALIGNMENT)
