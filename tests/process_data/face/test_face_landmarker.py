import zipfile

import cv2
import numpy as np
import pytest
from faces import SIDE, face_image, placed

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.process_data.face import face_landmarker
from nerfblendshape_ns.process_data.face.face_landmarker import FaceLandmarker, Region


@pytest.fixture(scope="module")
def face():
    return face_image()


@pytest.fixture(scope="module")
def landmarks(face, landmarker_path):
    (found,) = FaceLandmarker(landmarker_path)(face)
    return found.landmarks


def test_a_region_is_cut_and_placed_back():
    """Turned by a quarter clockwise: the cut's right is the image's down."""
    region = Region(20.0, 12.0, 8.0, 8.0, np.pi / 2)
    np.testing.assert_allclose(
        region.place(np.array([[0.5, 0.5], [1.0, 0.5], [0.5, 1.0]])), [[20, 12], [20, 16], [16, 12]]
    )
    image = np.zeros((30, 40, 3), np.uint8)
    image[15, 20] = 200  # Below the centre.
    cut = region.cut(image, 8, cv2.BORDER_REPLICATE)
    row, column = np.unravel_index(cut[..., 0].argmax(), (8, 8))
    assert column == 7 and row in (3, 4)
    assert region.moved(1.0, 2.0) == Region(21.0, 14.0, 8.0, 8.0, np.pi / 2)


def test_anchors_are_the_cells_centres():
    anchors = face_landmarker._anchors()
    assert anchors.shape == (896, 2)  # 16 x 16 x 2 and 8 x 8 x 6.
    assert np.allclose(anchors[:4], [[1 / 32, 1 / 32], [1 / 32, 1 / 32], [3 / 32, 1 / 32], [3 / 32, 1 / 32]])
    assert np.allclose(anchors[512:518], 1 / 16) and np.allclose(anchors[-1], 15 / 16)


def test_detections_of_one_face_are_averaged_by_their_scores():
    box = np.array([[0.2, 0.2], [0.4, 0.4], [0.3, 0.3]])
    points = np.stack([box, box + 0.02, box + 0.5])
    first, second = face_landmarker._merge(points, np.array([0.9, 0.6, 0.8]))
    np.testing.assert_allclose(first, box + 0.02 * 0.6 / 1.5)
    np.testing.assert_allclose(second, box + 0.5)


def test_a_face_is_found_where_it_is_and_at_its_size(face, landmarks, landmarker_path):
    landmarker = FaceLandmarker(landmarker_path)
    (moved,) = landmarker(placed(face, 90, 40, SIDE, 360, 420))
    np.testing.assert_allclose(moved.landmarks[:, :2], landmarks[:, :2] + [90, 40], atol=3)
    (doubled,) = landmarker(cv2.resize(face, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))
    np.testing.assert_allclose(doubled.landmarks, 2 * landmarks, atol=6)
    assert doubled.landmarks.dtype == np.float32 and doubled.coefficients.shape == (52,)
    assert landmarker(np.full((200, 300, 3), 128, np.uint8)) == []


def test_a_turned_face_is_measured_in_its_own_axes(face, landmarks, landmarker_path):
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), 25, 1.0)
    turned = cv2.warpAffine(face, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    (found,) = FaceLandmarker(landmarker_path)(turned)
    expected = landmarks[:, :2] @ turn[:, :2].T + turn[:, 2]
    assert np.sqrt(((found.landmarks[:, :2] - expected) ** 2).sum(-1).mean()) < 3


def test_as_many_faces_as_are_asked_for(face, landmarker_path):
    two = np.concatenate([face, face[:, ::-1]], 1)
    assert len(FaceLandmarker(landmarker_path)(two)) == 1
    faces = FaceLandmarker(landmarker_path, num_faces=4)(two)
    assert sorted(bool(found.landmarks[:, 0].mean() > SIDE) for found in faces) == [False, True]


def test_a_video_follows_a_face_and_smooths_it(face, landmarks, landmarker_path):
    landmarker = FaceLandmarker(landmarker_path, video=True)
    noise = np.random.default_rng(0)

    def noisy(shift):
        image = np.roll(face, shift, axis=1).astype(np.float32) + noise.normal(0, 12, face.shape)
        return np.clip(image, 0, 255).astype(np.uint8)

    steady = np.stack([landmarker(noisy(0), 40 * step)[0].landmarks[:, :2] for step in range(1, 16)])
    alone = np.stack([FaceLandmarker(landmarker_path)(noisy(0))[0].landmarks[:, :2] for _ in range(15)])
    assert steady[5:].std(0).mean() < 0.5 * alone[5:].std(0).mean()
    # Nobody there: the face is lost, and found again when it comes back.
    assert landmarker(np.full_like(face, 128), 1000) == [] and landmarker(np.full_like(face, 128), 1040) == []
    (found,) = landmarker(face, 1080)
    np.testing.assert_allclose(found.landmarks[:, :2], landmarks[:, :2], atol=3)
    with pytest.raises(ValueError, match="frame times must grow, and 1080 ms follows 1080 ms"):
        landmarker(face, 1080)


def test_wrong_files_are_named(tmp_path):
    (tmp_path / "page.task").write_text("<html>")
    with pytest.raises(UserError, match="page.task is no Face Landmarker model"):
        FaceLandmarker(tmp_path / "page.task")
    with zipfile.ZipFile(tmp_path / "broken.task", "w") as bundle:
        for name in (face_landmarker.DETECTOR, face_landmarker.MESH, face_landmarker.BLENDSHAPES):
            bundle.writestr(name, b"\x1c\0\0\0TFL3" + bytes(64))
    with pytest.raises(UserError, match="LiteRT cannot run the network in .*broken.task"):
        FaceLandmarker(tmp_path / "broken.task")
