"""What the page makes of its data: references of its scripts."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from typing import Any, Dict, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.web.packing import ALIGNMENT
from nerfblendshape_ns.web.tables import LARGEST


def unpack(block: str) -> Tuple[Dict[str, Any], Dict[str, np.ndarray]]:
    """The reference of ``data.js``, which reads what ``pack`` wrote."""
    raw = gzip.decompress(base64.b64decode(block))
    (length,) = struct.unpack_from("<I", raw)
    head = json.loads(raw[4 : 4 + length])
    start = 4 + length + -(4 + length) % ALIGNMENT
    arrays = {
        name: np.frombuffer(raw, entry["type"], int(np.prod(entry["shape"])), start + entry["offset"]).reshape(
            entry["shape"]
        )
        for name, entry in head["arrays"].items()
    }
    return head["content"], arrays


def dequantise(values: np.ndarray, scales: np.ndarray, offsets: Sequence[int]) -> np.ndarray:
    """The reference of the blend's shader: tables of values that are quantised, or are not and have scales of 1."""
    largest = LARGEST if values.dtype == np.int8 else 1
    return values.astype(np.float32) / largest * np.repeat(scales, np.diff(offsets), axis=1)
