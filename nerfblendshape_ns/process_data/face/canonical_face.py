"""MediaPipe's face topology: the canonical mesh inside the model file, and numbers of landmarks."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Iterator, Tuple

import numpy as np

from nerfblendshape_ns.common.arrays import DAMAGED_ZIP
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import MESH_POINTS

NUM_LANDMARKS = 478
METADATA_MEMBER = "geometry_pipeline_metadata_landmarks.binarypb"

# fmt: off
RIGID_LANDMARKS = np.array([
    1, 2, 4, 5, 6, 8, 9, 10, 21, 33, 50, 54, 98, 108, 109, 116, 123, 127, 129, 133, 151, 162, 168, 195, 197, 227, 234,
    251, 263, 280, 284, 297, 327, 332, 337, 338, 345, 346, 352, 356, 358, 362, 389, 447, 454, 103, 67, 117,
])
# fmt: on
"""Forehead, temples, nose bridge and tip, eye corners and the sides of the face: they move least with expression."""
BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
"""The person's right and left brow."""
NOSE_TIP = 1
IRIS_MIRROR = np.array([473, 476, 475, 474, 477, 468, 471, 470, 469, 472])
"""Mirror images of the ten iris landmarks 468 to 477: centre, then four points around it, of right and left eye."""


def read_canonical_face(landmarker: Path) -> np.ndarray:
    """Read the canonical mesh from the geometry metadata inside a ``face_landmarker.task`` file.

    Returns:
        Vertices, float64 ``[468, 3]`` in centimetres: x to the image's right for a frontal face, y up, z out of the
        face.

    Raises:
        UserError: the file holds no such metadata.
    """
    try:
        with zipfile.ZipFile(landmarker) as archive:
            metadata = archive.read(METADATA_MEMBER)
        mesh = dict(_fields(metadata))[1]
        # Floats one by one or packed; a vertex is a position (3) and a texture coordinate (2).
        values = b"".join(content for number, content in _fields(mesh) if number == 3)
        return np.frombuffer(values, dtype="<f4").astype(np.float64).reshape(MESH_POINTS, 5)[:, :3]
    except (OSError, KeyError, IndexError, ValueError, *DAMAGED_ZIP) as error:
        raise UserError(f"{landmarker} holds no canonical face mesh ({error}); fetch the model again.") from error


def _fields(message: bytes) -> Iterator[Tuple[int, bytes]]:
    """Number and content of each field of a protocol buffer; that of an integer is left empty."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    while position < len(message):
        key = varint()
        kind = key & 7
        if kind == 0:
            varint()
            yield key >> 3, b""
            continue
        size = varint() if kind == 2 else {1: 8, 5: 4}[kind]
        if position + size > len(message):
            raise ValueError("the message ends too early")
        yield key >> 3, message[position : position + size]
        position += size


def mirror_permutation(vertices: np.ndarray) -> np.ndarray:
    """Which landmark each landmark becomes in a mirrored image.

    Args:
        vertices: the canonical mesh ``[468, 3]``, symmetric about x = 0.

    Returns:
        int ``[478]``: ``mirrored[permutation]`` are the landmarks in the usual order.
    """
    distances = np.linalg.norm(vertices[:, None] * np.array([-1.0, 1.0, 1.0]) - vertices[None], axis=-1)
    return np.concatenate([distances.argmin(1), IRIS_MIRROR])
