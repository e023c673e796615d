import sys

import numpy as np
import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.process_data.face import landmarks
from nerfblendshape_ns.process_data.face.canonical_face import (
    EYE_CORNER_DISTANCE,
    LEFT_EYE_CORNER,
    RIGHT_EYE_CORNER,
    RIGID_LANDMARKS,
    face_from_landmarks,
    mirror_permutation,
    read_canonical_face,
    similarity,
)


def test_missing_mediapipe_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(UserError, match=r"pip install 'nerfblendshape-ns\[track\]' in Python 3.10 or 3.11"):
        landmarks.require_mediapipe()


def symmetric_face():
    """468 points, mirror images of each other at indices i and i + 234."""
    half = np.random.default_rng(0).uniform([0.3, -8, 0], [7, 8, 7], (234, 3))
    return np.concatenate([half, half * [-1, 1, 1]])


def test_mirror_permutation_swaps_sides_and_is_its_own_inverse():
    permutation = mirror_permutation(symmetric_face())
    assert permutation[:3].tolist() == [234, 235, 236]
    assert np.array_equal(permutation[permutation], np.arange(478))


def test_the_canonical_mesh_of_the_model(landmarker_path):
    vertices = read_canonical_face(landmarker_path).vertices
    assert vertices.shape == (468, 3)
    assert np.linalg.norm(vertices[LEFT_EYE_CORNER] - vertices[RIGHT_EYE_CORNER]) == pytest.approx(8.89, abs=0.01)
    # The person's left eye is at the image's right; the nose tip is the foremost point.
    assert vertices[LEFT_EYE_CORNER, 0] > 0 and vertices[:, 2].argmax() in (1, 4)
    assert np.array_equal(np.sort(mirror_permutation(vertices)), np.arange(478))


def test_a_file_that_is_no_model_is_refused(tmp_path):
    pytest.importorskip("mediapipe")
    path = tmp_path / "broken.task"
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="broken.task holds no canonical face mesh"):
        read_canonical_face(path)


def test_similarity_is_recovered():
    from scipy.spatial.transform import Rotation

    source = np.random.default_rng(0).normal(size=(20, 3))
    rotation = Rotation.from_euler("xyz", [10, 40, -20], degrees=True).as_matrix()
    scale, found, translation = similarity(source, 2.5 * source @ rotation.T + [1, 2, 3])
    assert scale == pytest.approx(2.5)
    assert np.allclose(found, rotation) and np.allclose(translation, [1, 2, 3])


def test_a_reference_face_comes_from_the_clips_own_landmarks():
    """Turned, scaled and shifted copies of one face give that face back, upright and in centimetres."""
    from scipy.spatial.transform import Rotation

    face = symmetric_face()
    face[[RIGHT_EYE_CORNER, LEFT_EYE_CORNER]] = [[-4.45, 3, 3], [4.45, 3, 3]]
    face[[10, 152]] = [[0, 8, 5], [0, -8, 5]]
    turns = Rotation.from_euler("yxz", np.random.default_rng(1).uniform(-20, 20, (12, 3)), degrees=True).as_matrix()
    scales = np.linspace(20, 30, 12)[:, None, None]
    seen = scales * (face @ turns.transpose(0, 2, 1)) * [1, -1, -1] + [250.0, 260.0, 10.0]
    vertices = face_from_landmarks(seen).vertices
    assert np.linalg.norm(vertices[LEFT_EYE_CORNER] - vertices[RIGHT_EYE_CORNER]) == pytest.approx(EYE_CORNER_DISTANCE)
    expected = face - face[RIGID_LANDMARKS].mean(0)
    assert np.abs(vertices - expected).max() < 0.02
