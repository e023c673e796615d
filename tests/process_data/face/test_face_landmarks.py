import sys

import cv2
import numpy as np
import pytest
from video_files import shared_folder

from nerfblendshape_ns.coefficient_names.arkit import MEDIAPIPE_NAMES
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.process_data.face import landmarks
from nerfblendshape_ns.process_data.face.canonical_face import mirror_permutation, read_canonical_face


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
    vertices = read_canonical_face(landmarker_path)
    assert vertices.shape == (468, 3)
    assert np.linalg.norm(vertices[263] - vertices[33]) == pytest.approx(8.89, abs=0.01)
    # The person's left eye is at the image's right; the nose tip is the foremost point.
    assert vertices[263, 0] > 0 and vertices[:, 2].argmax() in (1, 4)
    assert np.array_equal(np.sort(mirror_permutation(vertices)), np.arange(478))


def test_a_file_that_is_no_model_is_refused(tmp_path):
    pytest.importorskip("mediapipe")
    path = tmp_path / "broken.task"
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="broken.task holds no canonical face mesh"):
        read_canonical_face(path)


def test_the_coefficients_of_the_model_are_those_whose_names_we_write(landmarker_path):
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(landmarker_path)), output_face_blendshapes=True
    )
    clip = shared_folder() / "clips" / "plain_216f_30fps.mp4"
    if not clip.is_file():
        pytest.skip(f"{clip} is not here")
    read, frame = cv2.VideoCapture(str(clip)).read()
    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame[..., ::-1]))
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        (categories,) = landmarker.detect(image).face_blendshapes
    assert read and tuple(category.category_name for category in categories) == MEDIAPIPE_NAMES
