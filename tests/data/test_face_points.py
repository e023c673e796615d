"""Landmarks and meshes of another scheme than MediaPipe's are never read by MediaPipe's vertex numbers."""

from dataclasses import replace

import numpy as np
import pytest
from layout_clips import landmark_points, write_official, write_radnerf

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.data.layouts import read_clip


@pytest.mark.parametrize("points", [68, 5, 470, 5023])
def test_landmarks_of_another_scheme_are_left_out_with_a_note(own_clip, points):
    root, _ = own_clip(12, mesh=True)
    np.save(root / "landmarks.npy", np.full((12, points, 2), 40.0, np.float32))
    clip = read_clip(root)
    assert clip.landmarks is None and clip.face_mesh is not None
    assert clip.notes == (
        f"{root}/landmarks.npy: {points} landmarks per frame are not MediaPipe's 468 or 478, so they are left out and "
        "the head trains without face motion.",
    )
    outputs = NerfBlendshapeDataParserConfig(data=root).setup().get_dataparser_outputs("train")
    assert outputs.metadata["landmark_tangents"] is None and outputs.metadata["face_mesh"] is not None


@pytest.mark.parametrize("shape", [(12, 468, 2), (12, 478, 3)])
def test_landmarks_of_mediapipe_are_kept(own_clip, shape):
    root, _ = own_clip(12)
    points = np.random.default_rng(0).uniform(30, 60, shape).astype(np.float32)
    np.save(root / "landmarks.npy", points)
    clip = read_clip(root)
    assert clip.notes == ()
    np.testing.assert_array_equal(clip.landmarks, points[..., :2])


@pytest.mark.parametrize(
    "array", [np.zeros((12, 478)), np.zeros((12, 478, 1)), np.full((12, 478, 2), "x"), np.zeros((12, 478, 2), complex)]
)
def test_landmarks_that_are_none(own_clip, array):
    root, _ = own_clip(12)
    np.save(root / "landmarks.npy", array)
    with pytest.raises(UserError, match=r"landmarks.npy holds .* not numbers of shape \[frames, points, 2\]; process"):
        read_clip(root)


@pytest.mark.parametrize("vertices", [5023, 68, 3])
def test_another_mesh_is_refused(own_clip, vertices):
    root, _ = own_clip(12)
    np.save(root / "face_mesh.npy", np.random.default_rng(0).normal(size=(vertices, 3)))
    wanted = (
        f"face_mesh.npy has {vertices} vertices, not the 468 of MediaPipe's face mesh by whose numbers it is read; "
        "save the face with MediaPipe's vertices or remove the file."
    )
    with pytest.raises(UserError, match=wanted):
        read_clip(root)


@pytest.mark.parametrize("mesh", [np.full((468, 3), "x"), np.full((468, 3), np.nan), np.zeros((468, 2)), np.zeros(3)])
def test_a_mesh_that_is_none(own_clip, mesh):
    root, _ = own_clip(12)
    np.save(root / "face_mesh.npy", mesh)
    with pytest.raises(UserError, match=r"face_mesh.npy is not a finite array of numbers of shape \[468, 3\]"):
        read_clip(root)


def test_the_irises_of_a_mesh_are_left_out(own_clip):
    root, _ = own_clip(12)
    mesh = np.random.default_rng(0).normal(size=(478, 3))
    np.save(root / "face_mesh.npy", mesh)
    np.testing.assert_array_equal(read_clip(root).face_mesh, mesh[:468])


def test_no_layout_can_pass_another_scheme_on(own_clip):
    clip = read_clip(own_clip(12)[0])
    with pytest.raises(ValueError, match=r"landmarks of shape \(12, 68, 2\) are not MediaPipe's of 12 frames"):
        replace(clip, landmarks=np.zeros((12, 68, 2)))
    with pytest.raises(ValueError, match=r"landmarks of shape \(11, 478, 2\)"):
        replace(clip, landmarks=np.zeros((11, 478, 2)))
    with pytest.raises(ValueError, match=r"a face mesh of shape \(5023, 3\) is not MediaPipe's"):
        replace(clip, face_mesh=np.zeros((5023, 3)))


def test_68_landmarks_in_text_files_give_rectangles_alone(tmp_path):
    write_radnerf(tmp_path)
    clip = read_clip(tmp_path)
    frame = clip.frames[0]
    assert clip.landmarks is None
    assert frame.face_rect is not None and frame.mouth_rect is not None and len(frame.eye_rects) == 2


@pytest.mark.parametrize("count", [468, 500])
def test_other_numbers_of_landmarks_in_text_files(tmp_path, count):
    """468 are MediaPipe's without the irises; 500 are nobody's that is known, whatever lies at MediaPipe's numbers."""
    write_official(tmp_path)
    for path in (tmp_path / "ori_imgs").glob("*.lms"):
        points = np.concatenate([landmark_points(478)[:468], np.full((max(0, count - 468), 2), 50.0)])
        np.savetxt(path, points, "%f")
    clip = read_clip(tmp_path)
    assert clip.frames[0].face_rect == (33.0, 30.0, 30.0, 36.0)
    if count == 468:
        assert clip.landmarks is not None and clip.landmarks.shape == (len(clip.frames), 468, 2)
        assert clip.frames[0].mouth_rect is not None
    else:
        assert clip.landmarks is None and clip.frames[0].mouth_rect is None


def test_a_first_frame_without_landmarks_does_not_take_those_of_the_others(tmp_path):
    write_official(tmp_path)
    (tmp_path / "ori_imgs" / "3.lms").unlink()
    clip = read_clip(tmp_path)
    assert clip.frames[0].mouth_rect is None and clip.frames[1].mouth_rect is not None
    assert clip.landmarks is not None
    np.testing.assert_array_equal(np.isnan(clip.landmarks).any((1, 2)), np.arange(len(clip.frames)) == 0)
