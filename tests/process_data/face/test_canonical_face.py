import zipfile

import numpy as np
import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.process_data.face.canonical_face import (
    METADATA_MEMBER,
    mirror_permutation,
    read_canonical_face,
)


def symmetric_face():
    """468 points, mirror images of each other at indices i and i + 234."""
    half = np.random.default_rng(0).uniform([0.3, -8, 0], [7, 8, 7], (234, 3))
    return np.concatenate([half, half * [-1, 1, 1]])


def test_mirror_permutation_swaps_sides_and_is_its_own_inverse():
    permutation = mirror_permutation(symmetric_face())
    assert permutation[:3].tolist() == [234, 235, 236]
    assert np.array_equal(permutation[permutation], np.arange(478))


def test_the_canonical_mesh_of_the_model(landmarker_path):
    vertices = read_canonical_face(landmarker_path)
    assert vertices.shape == (468, 3)
    assert np.linalg.norm(vertices[263] - vertices[33]) == pytest.approx(8.89, abs=0.01)
    # The person's left eye is at the image's right; the nose tip is the foremost point.
    assert vertices[263, 0] > 0 and vertices[:, 2].argmax() in (1, 4)
    assert np.array_equal(np.sort(mirror_permutation(vertices)), np.arange(478))


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "broken.task"
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="broken.task holds no canonical face mesh"):
        read_canonical_face(path)


def task_file(path, metadata):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(METADATA_MEMBER, metadata)
    return path


def field(number, kind, content):
    """A field of a protocol buffer; content of kind 2 with its length in front, as a varint of two bytes."""
    length = bytes([len(content) & 0x7F | 0x80, len(content) >> 7]) if kind == 2 else b""
    return bytes([number << 3 | kind]) + length + content


@pytest.mark.parametrize("packed", [False, True])
def test_the_vertices_are_read_out_of_the_protocol_buffer(packed, tmp_path):
    values = np.arange(468 * 5, dtype="<f4")
    if packed:
        floats = field(3, 2, values.tobytes())
    else:
        floats = b"".join(field(3, 5, value.tobytes()) for value in values)
    mesh = field(1, 0, b"\x01") + floats + field(4, 0, b"\x96\x01")
    metadata = field(2, 1, bytes(8)) + bytes([1 << 3 | 2, *varint(len(mesh))]) + mesh
    vertices = read_canonical_face(task_file(tmp_path / "some.task", metadata))
    assert vertices.dtype == np.float64 and np.array_equal(vertices, values.reshape(468, 5)[:, :3])


def varint(value):
    digits = []
    while value >= 128:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return [*digits, value]


@pytest.mark.parametrize("metadata", [b"", b"\x0a", b"\x0a\x05abc", field(1, 2, b"abc"), b"\x0b", b"\x0a\xff"])
def test_damaged_metadata_is_refused(metadata, tmp_path):
    with pytest.raises(UserError, match="some.task holds no canonical face mesh"):
        read_canonical_face(task_file(tmp_path / "some.task", metadata))
